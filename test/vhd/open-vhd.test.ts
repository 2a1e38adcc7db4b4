/* One fact or fault of a VHD a test, over the same makers of disks: long, as the list of them is. */
import { describe, expect, test } from 'vitest';
import { MIB } from '../../src/units.js';
import { looksLikeVhd } from '../../src/vhd/open-vhd.js';
import {
  UNIQUE_ID,
  contentOf,
  makeDynamic,
  makeFixed,
  makeFooter,
  patternOf,
  type HandMade,
} from './hand-made.js';
import { memoryReader, openCollecting, readDisk } from './readers.js';

const KIB = 1024;

describe('a dynamic disk put together by hand', () => {
  const layouts: ReadonlyArray<readonly [string, HandMade, string[]]> = [
    ['without a block', { sizeBytes: 8 * MIB }, []],
    ['with its first block', { sizeBytes: 8 * MIB, blocks: [{ block: 0 }] }, []],
    ['with its last block', { sizeBytes: 8 * MIB, blocks: [{ block: 3 }] }, []],
    ['with all blocks', { sizeBytes: 4 * MIB, blocks: [{ block: 0 }, { block: 1 }] }, []],
    ['with blocks that descend', { sizeBytes: 6 * MIB, blocks: [{ block: 2 }, { block: 1 }] }, []],
    ['with block 0 last', { sizeBytes: 6 * MIB, blocks: [1, 2, 0].map((block) => ({ block })) }, []],
    [
      'with block 0 amid the others',
      { sizeBytes: 6 * MIB, blocks: [1, 0, 2].map((block) => ({ block })) },
      [],
    ],
    [
      'with block 0 last, and the others backward',
      { sizeBytes: 6 * MIB, blocks: [2, 1, 0].map((block) => ({ block })) },
      [],
    ],
    ['whose last block is partly behind the end', { sizeBytes: 3 * MIB, blocks: [{ block: 1 }] }, []],
    [
      'with single sectors',
      {
        sizeBytes: 4 * MIB,
        blocks: [
          { block: 0, sectors: [0, 1, 7, 8, 9, 15, 16, 4094, 4095] },
          { block: 1, sectors: [] },
        ],
      },
      [],
    ],
    [
      'of 512 KiB blocks',
      { sizeBytes: 2 * MIB, blockBytes: 512 * KIB, blocks: [{ block: 1 }, { block: 3, sectors: [1, 1023] }] },
      ['vhd-block-size'],
    ],
    [
      'of 4 KiB blocks, whose bitmaps are a byte of a sector',
      { sizeBytes: 16 * KIB, blockBytes: 4 * KIB, blocks: [{ block: 0, sectors: [0, 7] }, { block: 2 }] },
      ['vhd-block-size'],
    ],
    [
      'of blocks of a sector',
      {
        sizeBytes: 8 * 512,
        blockBytes: 512,
        blocks: [{ block: 1 }, { block: 2, sectors: [] }, { block: 3 }],
      },
      ['vhd-block-size'],
    ],
    [
      'of 16 MiB blocks',
      { sizeBytes: 20 * MIB, blockBytes: 16 * MIB, blocks: [{ block: 1, sectors: [0, 8191] }] },
      ['vhd-block-size'],
    ],
    [
      'whose size is no whole sector',
      { sizeBytes: 2 * MIB + 100, blocks: [{ block: 1 }] },
      ['vhd-size-unaligned'],
    ],
  ];

  test.each(layouts)('%s', async (_name, parts, expected) => {
    const { disk, codes } = await openCollecting(memoryReader(makeDynamic(parts)));
    expect(codes).toEqual(expected);
    expect(disk.kind).toBe('dynamic');
    expect(disk.sizeBytes).toBe(parts.sizeBytes);
    expect(disk.allocatedBlockCount).toBe(parts.blocks?.length ?? 0);
    expect((await readDisk(disk)).equals(contentOf(parts))).toBe(true);
    if (parts.sizeBytes <= 8 * MIB) {
      const pieces = parts.sizeBytes > 64 * KIB ? 5000 : 97;
      expect((await readDisk(disk, pieces)).equals(contentOf(parts))).toBe(true);
    }
  });
});

test('the facts of footer and header are those of the file', async () => {
  const bytes = makeDynamic({
    sizeBytes: 10 * MIB,
    footer: {
      Features: 3,
      'Creator Application': 'vs  ',
      'Creator Version': 0x00020003,
      'Creator Host OS': 'Mac ',
      'Original Size': 6 * MIB,
      'Disk Geometry Cylinders': 301,
      'Disk Geometry Heads': 4,
      'Disk Geometry Sectors Per Track': 17,
      'Saved State': 1,
      Reserved: Uint8Array.of(1),
    },
  });
  const { disk, codes } = await openCollecting(memoryReader(bytes));
  expect(codes).toEqual(['vhd-saved-state']);
  expect(disk.name).toBe('folder/child.vhd');
  expect(disk.footer).toEqual({
    features: 3,
    fileFormatVersion: 0x00010000,
    dataOffset: 512,
    // 2020-01-01T00:00:00Z
    createdSeconds: 1_577_836_800,
    creatorApplication: 'vs',
    creatorVersion: 0x00020003,
    creatorHostOs: 'Macintosh',
    originalSize: 6 * MIB,
    currentSize: 10 * MIB,
    geometry: { cylinders: 301, heads: 4, sectorsPerTrack: 17 },
    diskType: 3,
    checksum: bytes.readUInt32BE(64),
    uniqueId: Uint8Array.from(UNIQUE_ID),
    savedState: true,
    hidden: true,
  });
  expect(disk.header).toEqual({
    headerVersion: 0x00010000,
    blockBytes: 2 * MIB,
    maxTableEntries: 5,
    tableOffset: 1536,
    parentUniqueId: new Uint8Array(16),
    parentCreatedSeconds: 946_684_800,
    parentUnicodeName: '',
    parentLocators: [],
    hasBatmap: false,
  });
});

test('a creator that is nothing to print is escaped', async () => {
  const { disk } = await openCollecting(
    memoryReader(
      makeFixed(Buffer.alloc(1024), { 'Creator Application': '\x1b[\\\xff', 'Creator Host OS': '\x07abc' }),
    ),
  );
  expect(disk.footer.creatorApplication).toBe('\\x1b[\\x5c\\xff');
  expect(disk.footer.creatorHostOs).toBe('\\x07abc');
});

describe('a fixed disk', () => {
  const data = patternOf(1, 0, 1 * MIB);

  test('is what stands in front of the footer', async () => {
    const { disk, codes } = await openCollecting(memoryReader(makeFixed(data)));
    expect(codes).toEqual([]);
    expect(disk).toMatchObject({
      kind: 'fixed',
      sizeBytes: MIB,
      header: undefined,
      allocatedBlockCount: undefined,
    });
    expect([...disk.allocatedRuns()]).toEqual([{ offset: 0, length: MIB }]);
    expect((await readDisk(disk, 4097)).equals(data)).toBe(true);
  });

  test('of old Virtual PC has a footer of 511 bytes', async () => {
    const { disk, codes } = await openCollecting(memoryReader(makeFixed(data).subarray(0, -1)));
    expect(codes).toEqual([]);
    expect((await readDisk(disk)).equals(data)).toBe(true);
  });

  test('of a length that is odd by chance still has its 512 bytes', async () => {
    const odd = Buffer.concat([data, Buffer.alloc(511, 7)]);
    const { disk, codes } = await openCollecting(memoryReader(makeFixed(odd)));
    expect(codes).toEqual(['vhd-size-unaligned']);
    expect((await readDisk(disk)).equals(odd)).toBe(true);
  });

  test('may start with anything, such as the word of a footer', async () => {
    const strange = Buffer.from(data);
    strange.write('conectix', 0, 'latin1');
    const { disk, codes } = await openCollecting(memoryReader(makeFixed(strange)));
    expect(codes).toEqual([]);
    expect((await readDisk(disk)).equals(strange)).toBe(true);
  });

  test('that is shorter than it says reads up to its footer, and not a byte of that', async () => {
    const bytes = Buffer.concat([data, makeFooter(2, MIB + 512)]);
    const { disk, findings } = await openCollecting(memoryReader(bytes));
    expect(findings).toMatchObject([
      { code: 'vhd-fixed-size', severity: 'error', offset: MIB + 48, found: `current_size ${MIB + 512}` },
    ]);
    const target = Buffer.alloc(MIB);
    await disk.readInto(target, 0);
    expect(target.equals(data)).toBe(true);
    await expect(disk.readInto(Buffer.alloc(2), MIB - 1)).rejects.toMatchObject({
      kind: 'image',
      context: { offset: MIB },
    });
  });
});

test('a dynamic disk of old Virtual PC has a footer of 511 bytes at its end', async () => {
  const parts: HandMade = { sizeBytes: 4 * MIB, blocks: [{ block: 1 }] };
  const reader = memoryReader(makeDynamic(parts).subarray(0, -1));
  expect(await looksLikeVhd(reader)).toBe(true);
  const { disk, codes } = await openCollecting(reader);
  expect(codes).toEqual([]);
  expect((await readDisk(disk)).equals(contentOf(parts))).toBe(true);
});

describe('looksLikeVhd', () => {
  const dynamic = makeDynamic({ sizeBytes: 4 * MIB });
  const fixed = makeFixed(Buffer.alloc(4096));

  test.each<[string, Uint8Array, boolean, boolean]>([
    ['a dynamic one', dynamic, true, true],
    ['a dynamic one without its end', dynamic.subarray(0, -512), true, true],
    ['a dynamic one without its start', dynamic.subarray(512), true, false],
    ['a fixed one', fixed, true, false],
    ['a fixed one with a short footer', fixed.subarray(0, -1), true, false],
    ['a raw disk', Buffer.alloc(8192, 'x'), false, false],
    ['a file of 511 bytes', Buffer.alloc(511), false, false],
    ['a footer of 511 bytes and nothing else', fixed.subarray(4096, -1), true, false],
    ['an empty file', Buffer.alloc(0), false, false],
  ])('%s: of a file and of a stream', async (_name, bytes, ofFile, ofStream) => {
    const reader = memoryReader(bytes);
    expect(await looksLikeVhd(reader)).toBe(ofFile);
    expect(reader.reads.length).toBeLessThanOrEqual(3);
    if (bytes.length >= 512) expect(await looksLikeVhd(memoryReader(bytes, { stream: true }))).toBe(ofStream);
  });
});

describe('reading', () => {
  test('past the end of the disk is an error that says where it ends', async () => {
    const { disk } = await openCollecting(memoryReader(makeDynamic({ sizeBytes: 4 * MIB })));
    for (const [length, offset] of [
      [1, 4 * MIB],
      [2, 4 * MIB - 1],
      [1, -1],
      [1, 0.5],
      [1, 2 ** 60],
    ] as const) {
      await expect(disk.readInto(new Uint8Array(length), offset)).rejects.toMatchObject({ kind: 'image' });
    }
    await disk.readInto(new Uint8Array(0), 4 * MIB);
  });

  test('of what is nowhere costs nothing; of whole blocks one read and a bitmap each', async () => {
    const parts: HandMade = {
      sizeBytes: 64 * MIB,
      blocks: [3, 4, 5, 6].map((block) => ({ block })),
    };
    const reader = memoryReader(makeDynamic(parts));
    const { disk } = await openCollecting(reader);
    // footer copy, footer, header, BAT; a block stands right behind the BAT, so nothing is there to look for
    expect(reader.reads.map(({ length }) => length)).toEqual([512, 512, 1024, 128]);

    reader.reads.length = 0;
    await disk.readInto(new Uint8Array(6 * MIB), 0);
    await disk.readInto(new Uint8Array(50 * MIB), 14 * MIB);
    expect(reader.reads).toEqual([]);

    const target = Buffer.alloc(64 * MIB);
    await disk.readInto(target, 0);
    expect(target.equals(contentOf(parts))).toBe(true);
    const lengths = reader.reads.map(({ length }) => length);
    expect(lengths.filter((length) => length === 2 * MIB)).toHaveLength(4);
    expect(lengths.filter((length) => length === 512)).toHaveLength(4);
    expect(lengths).toHaveLength(8);

    reader.reads.length = 0;
    for (let at = 6 * MIB; at < 14 * MIB; at += MIB) await disk.readInto(target.subarray(0, MIB), at);
    // All bitmaps are known by now.
    expect(reader.reads.map(({ length }) => length)).toEqual(Array.from({ length: 8 }, () => MIB));
  });

  test('remembers no more than 64 bitmaps', async () => {
    const blocks = Array.from({ length: 65 }, (_, block) => ({ block }));
    const reader = memoryReader(makeDynamic({ sizeBytes: 65 * 4096, blockBytes: 4096, blocks }));
    const { disk } = await openCollecting(reader);
    await readDisk(disk, 4096);
    reader.reads.length = 0;
    await disk.readInto(new Uint8Array(1), 64 * 4096);
    expect(reader.reads.map(({ length }) => length)).toEqual([1]);
    await disk.readInto(new Uint8Array(1), 0);
    expect(reader.reads.map(({ length }) => length)).toEqual([1, 512, 1]);
  });

  test('of runs of sectors costs one read for each', async () => {
    const parts: HandMade = {
      sizeBytes: 4 * MIB,
      blocks: [{ block: 0, sectors: [1, 2, 3, 100, 101, 4095] }],
    };
    const reader = memoryReader(makeDynamic(parts));
    const { disk } = await openCollecting(reader);
    reader.reads.length = 0;
    await disk.readInto(new Uint8Array(4 * MIB), 0);
    // The second looks at sector 0, whose bit is 0: there is data, and no need to look further.
    expect(reader.reads.map(({ length }) => length)).toEqual([512, 512, 3 * 512, 2 * 512, 512]);
  });

  test('several at a time gives each its own', async () => {
    const parts: HandMade = { sizeBytes: 16 * MIB, blocks: [5, 0, 3].map((block) => ({ block })) };
    const { disk } = await openCollecting(memoryReader(makeDynamic(parts)));
    const expected = contentOf(parts);
    const offsets = Array.from({ length: 200 }, (_, index) => (index * 7_654_321) % (16 * MIB - 5000));
    const targets = await Promise.all(
      offsets.map(async (offset) => {
        const target = Buffer.alloc(5000);
        await disk.readInto(target, offset);
        return target.equals(expected.subarray(offset, offset + 5000));
      }),
    );
    expect(targets.every(Boolean)).toBe(true);
  });

  test('stops with the reason of the signal', async () => {
    const abort = new AbortController();
    const options = { abortSignal: abort.signal };
    const { disk } = await openCollecting(memoryReader(makeDynamic({ sizeBytes: 4 * MIB })), options);
    abort.abort(new Error('enough'));
    await expect(disk.readInto(new Uint8Array(1), 0)).rejects.toThrow('enough');
    await expect(openCollecting(memoryReader(makeFixed(Buffer.alloc(512))), options)).rejects.toThrow(
      'enough',
    );
  });
});

describe('a stream', () => {
  const parts: HandMade = { sizeBytes: 8 * MIB, blocks: [{ block: 0 }, { block: 2, sectors: [0, 5, 6] }] };

  test('is read from front to back, without a word about its end', async () => {
    const { disk, codes } = await openCollecting(memoryReader(makeDynamic(parts), { stream: true }));
    expect(codes).toEqual([]);
    expect((await readDisk(disk, 4 * MIB)).equals(contentOf(parts))).toBe(true);
  });

  test('with a batmap, too', async () => {
    const bytes = makeDynamic({ ...parts, behindTable: Buffer.from('tdbatmap') });
    const { disk } = await openCollecting(memoryReader(bytes, { stream: true }));
    expect(disk.header?.hasBatmap).toBe(true);
    expect((await readDisk(disk, 3 * MIB)).equals(contentOf(parts))).toBe(true);
  });

  test('whose size is not known can also be read anywhere', async () => {
    const { disk, codes } = await openCollecting(memoryReader(makeDynamic(parts), { sizeUnknown: true }));
    expect(codes).toEqual([]);
    expect((await readDisk(disk)).equals(contentOf(parts))).toBe(true);
  });

  test('cannot be a fixed disk', async () => {
    const reader = memoryReader(makeFixed(Buffer.alloc(4096)), { stream: true });
    await expect(openCollecting(reader)).rejects.toMatchObject({ kind: 'image', context: { offset: 0 } });
  });
});

test('the runs of a disk are its blocks, merged and cut at its end', async () => {
  const blocks = [0, 1, 4, 6, 7].map((block) => ({ block, sectors: [] }));
  const { disk } = await openCollecting(memoryReader(makeDynamic({ sizeBytes: 15 * MIB, blocks })));
  expect([...disk.allocatedRuns()]).toEqual([
    { offset: 0, length: 4 * MIB },
    { offset: 8 * MIB, length: 2 * MIB },
    { offset: 12 * MIB, length: 3 * MIB },
  ]);
  expect([...disk.allocatedRuns()]).toHaveLength(3);
});
