/*
 * Good images with one field changed, in both footers where it is the footers', checksums put right where there are
 * any: the one named finding, at the place of that field, and the disk still reads as it did.
 */
import { describe, expect, test } from 'vitest';
import type { PatchVdiError } from '../../src/errors.js';
import type { Finding } from '../../src/findings.js';
import { MIB } from '../../src/units.js';
import {
  FOOTER_BYTES,
  contentOf,
  makeDynamic,
  makeFixed,
  makeFooter,
  offsetOf,
  patternOf,
  seal,
  setField,
  type FieldValue,
  type HandMade,
} from './hand-made.js';
import { memoryReader, openCollecting, readDisk } from './readers.js';
import { FOOTER_FIELDS, HEADER_FIELDS } from './specification.js';

/** Room behind the BAT, so that a block can be moved a little without lying on anything else. */
const GOOD: HandMade = {
  sizeBytes: 10 * MIB,
  blocks: [{ block: 0 }, { block: 2, sectors: [0, 1, 4095] }, { block: 3 }],
  footer: { 'Disk Geometry Cylinders': 301, 'Disk Geometry Heads': 4, 'Disk Geometry Sectors Per Track': 17 },
};
const good = makeDynamic(GOOD);
const content = contentOf(GOOD);
const END = good.length - FOOTER_BYTES;
const HEADER = FOOTER_BYTES;
const TABLE = 1536;
/** 2020-06-01, half a year after the time stamp of the images. */
const NOW_SECONDS = 1_590_969_600;
const CLOCK = { nowSeconds: NOW_SECONDS };

type Region = readonly [from: number, to: number];
const AT_END: Region = [END, END + FOOTER_BYTES];
const AT_START: Region = [0, FOOTER_BYTES];
const OF_HEADER: Region = [HEADER, HEADER + 1024];

function changed(
  regions: readonly Region[],
  name: string,
  value: FieldValue,
  bytes: Uint8Array = good,
): Buffer {
  const copy = Buffer.from(bytes);
  for (const [from, to] of regions) {
    const fields = from === HEADER ? HEADER_FIELDS : FOOTER_FIELDS;
    setField(fields, copy.subarray(from, to), name, value);
    if (name !== 'Checksum') seal(fields, copy.subarray(from, to));
  }
  return copy;
}

const inFooters = (name: string, value: FieldValue): Buffer => changed([AT_START, AT_END], name, value);
const inHeader = (name: string, value: FieldValue): Buffer => changed([OF_HEADER], name, value);
const endField = (name: string): number => END + offsetOf(FOOTER_FIELDS, name);
const headerField = (name: string): number => HEADER + offsetOf(HEADER_FIELDS, name);

function withTable(...entries: ReadonlyArray<readonly [block: number, sector: number]>): Buffer {
  const copy = Buffer.from(good);
  for (const [block, sector] of entries) copy.writeUInt32BE(sector, TABLE + 4 * block);
  return copy;
}

/** Where the good image has its blocks: the first behind the BAT, each of a bitmap and 2 MiB. */
const STRIDE = 4097;
const FIRST = 4;
const fileSectors = good.length / 512;

async function findingsOf(bytes: Uint8Array): Promise<Finding[]> {
  return (await openCollecting(memoryReader(bytes), CLOCK)).findings;
}

test('before any change nothing is found', async () => {
  const { disk, codes } = await openCollecting(memoryReader(good), CLOCK);
  expect(codes).toEqual([]);
  expect((await readDisk(disk)).equals(content)).toBe(true);
});

type Row = readonly [
  what: string,
  bytes: Uint8Array,
  code: string,
  severity: Finding['severity'],
  offset: number,
];

const ZEROS = Buffer.alloc(512);

describe('what is changed is found, and nothing else; the content stays', () => {
  test.each<Row>([
    // The footers, together
    [
      'features without the reserved bit',
      inFooters('Features', 0),
      'vhd-features',
      'warning',
      endField('Features'),
    ],
    [
      'features that nobody knows',
      inFooters('Features', 0x80000002),
      'vhd-features',
      'warning',
      endField('Features'),
    ],
    [
      'a later format',
      inFooters('File Format Version', 0x00020000),
      'vhd-format-version',
      'error',
      endField('File Format Version'),
    ],
    [
      'a header elsewhere',
      inFooters('Data Offset', 4096),
      'vhd-data-offset',
      'error',
      endField('Data Offset'),
    ],
    [
      'a header outside the file',
      inFooters('Data Offset', 2n ** 63n),
      'vhd-data-offset',
      'error',
      endField('Data Offset'),
    ],
    [
      'a header that is the footer',
      inFooters('Data Offset', 0),
      'vhd-data-offset',
      'error',
      endField('Data Offset'),
    ],
    [
      'a footer of tomorrow',
      inFooters('Time Stamp', 0xffffffff),
      'vhd-time-stamp',
      'warning',
      endField('Time Stamp'),
    ],
    [
      'an original size beyond numbers',
      inFooters('Original Size', 2n ** 60n),
      'vhd-original-size',
      'warning',
      endField('Original Size'),
    ],
    [
      'a geometry beyond the disk',
      inFooters('Disk Geometry Cylinders', 302),
      'vhd-geometry',
      'warning',
      endField('Disk Geometry Cylinders'),
    ],
    [
      'no unique id',
      inFooters('Unique Id', new Uint8Array(16)),
      'vhd-unique-id',
      'warning',
      endField('Unique Id'),
    ],
    ['a saved state', inFooters('Saved State', 1), 'vhd-saved-state', 'warning', endField('Saved State')],
    [
      'reserved bytes in use',
      inFooters('Reserved', Uint8Array.of(0, 1)),
      'vhd-reserved',
      'warning',
      endField('Reserved'),
    ],
    [
      'the last reserved byte in use',
      inFooters('Reserved', Buffer.alloc(427).fill(1, 426)),
      'vhd-reserved',
      'warning',
      endField('Reserved'),
    ],
    [
      'blktap 1.3 without a batmap',
      tapdisk(0x00010003),
      'vhd-batmap-missing',
      'warning',
      endField('Creator Version'),
    ],
    // One footer
    [
      'a checksum of the end',
      changed([AT_END], 'Checksum', 5),
      'vhd-footer-checksum',
      'error',
      endField('Checksum'),
    ],
    [
      'a checksum of the copy',
      changed([AT_START], 'Checksum', 5),
      'vhd-footer-copy-checksum',
      'error',
      offsetOf(FOOTER_FIELDS, 'Checksum'),
    ],
    [
      'both checksums alike',
      changed([AT_START, AT_END], 'Checksum', 5),
      'vhd-footer-checksum',
      'error',
      endField('Checksum'),
    ],
    [
      'no cookie at the end',
      changed([AT_END], 'Cookie', 'conectiy'),
      'vhd-footer-missing',
      'error',
      endField('Cookie'),
    ],
    [
      'no cookie of the copy',
      changed([AT_START], 'Cookie', 'conectiy'),
      'vhd-footer-copy-missing',
      'error',
      0,
    ],
    ['no footer at the end', cleared(AT_END), 'vhd-footer-missing', 'error', END],
    ['no copy', cleared(AT_START), 'vhd-footer-copy-missing', 'error', 0],
    [
      'an end of no type',
      changed([AT_END], 'Disk Type', 0),
      'vhd-footers-disagree',
      'error',
      offsetOf(FOOTER_FIELDS, 'Disk Type'),
    ],
    [
      'a copy of no type',
      changed([AT_START], 'Disk Type', 6),
      'vhd-footers-disagree',
      'error',
      offsetOf(FOOTER_FIELDS, 'Disk Type'),
    ],
    [
      'a copy of another type',
      changed([AT_START], 'Disk Type', 4),
      'vhd-footers-disagree',
      'error',
      offsetOf(FOOTER_FIELDS, 'Disk Type'),
    ],
    ...FOOTER_FIELDS.filter(({ name }) => !['Cookie', 'Checksum', 'Disk Type'].includes(name)).map(
      ({ name, offset, size }): Row => [
        `a copy with another ${name}`,
        changed([AT_START], name, Buffer.alloc(Math.min(size, 426)).fill(3)),
        'vhd-footers-disagree',
        'error',
        offset,
      ],
    ),
    // The header
    ['another cookie', inHeader('Cookie', 'cxsparsf'), 'vhd-header-cookie', 'error', headerField('Cookie')],
    ['a wrong checksum', inHeader('Checksum', 5), 'vhd-header-checksum', 'error', headerField('Checksum')],
    [
      'a later version',
      inHeader('Header Version', 0x00020000),
      'vhd-header-version',
      'error',
      headerField('Header Version'),
    ],
    [
      'a next structure',
      inHeader('Data Offset', 4096),
      'vhd-header-data-offset',
      'warning',
      headerField('Data Offset'),
    ],
    [
      'the short form of no next structure',
      inHeader('Data Offset', 0xffffffff),
      'vhd-header-data-offset',
      'warning',
      headerField('Data Offset'),
    ],
    [
      'a BAT that is too long',
      inHeader('Max Table Entries', 7),
      'vhd-max-table-entries',
      'warning',
      headerField('Max Table Entries'),
    ],
    [
      'a BAT of 16 GiB',
      inHeader('Max Table Entries', 0xffffffff),
      'vhd-max-table-entries',
      'warning',
      headerField('Max Table Entries'),
    ],
    // Bytes that no structure has
    [
      '4 KiB before the footer',
      Buffer.concat([good.subarray(0, END), Buffer.alloc(4096), good.subarray(END)]),
      'vhd-unaccounted-bytes',
      'warning',
      END,
    ],
  ])('%s', async (_what, bytes, code, severity, offset) => {
    const { disk, findings } = await openCollecting(memoryReader(bytes), CLOCK);
    expect(findings).toMatchObject([{ code, severity, offset, space: 'file' }]);
    expect((await readDisk(disk)).equals(content)).toBe(true);
  });

  test.each<[string, Uint8Array]>([
    ['a temporary disk', inFooters('Features', 3)],
    [
      'another creator, which is sized by its geometry, when that rounds down',
      inFooters('Creator Application', 'vpc '),
    ],
    ['another system', inFooters('Creator Host OS', 'Mac ')],
    ['an original size', inFooters('Original Size', 4 * MIB)],
    [
      'a geometry that is too small, of a creator that is not sized by it',
      inFooters('Disk Geometry Heads', 0),
    ],
    ['parent fields of a disk that has no parent', inHeader('Parent Unique ID', Buffer.alloc(16, 7))],
    ['a BAT of one entry more, as Xen Orchestra writes it', inHeader('Max Table Entries', 6)],
    ['a parent time', inHeader('Parent Time Stamp', 7)],
    ['a parent name', inHeader('Parent Unicode Name', Buffer.from('\0x'))],
    ['parent locators', inHeader('Parent Locator Entries', Buffer.alloc(192, 0xff))],
    ["the header's reserved bytes", inHeader('Reserved 2', Buffer.alloc(256, 1))],
    ['a hidden disk of blktap', changed([AT_START, AT_END], 'Reserved', Uint8Array.of(1))],
    [
      '7 sectors before the footer',
      Buffer.concat([good.subarray(0, END), Buffer.alloc(3584), good.subarray(END)]),
    ],
  ])('nothing is found in %s', async (_what, bytes) => {
    const { disk, codes } = await openCollecting(memoryReader(bytes), CLOCK);
    expect(codes).toEqual([]);
    expect((await readDisk(disk)).equals(content)).toBe(true);
  });
});

function cleared([from, to]: Region): Buffer {
  const copy = Buffer.from(good);
  copy.set(ZEROS.subarray(0, to - from), from);
  return copy;
}

function tapdisk(version: number): Buffer {
  const named = changed([AT_START, AT_END], 'Creator Application', 'tap\0');
  return changed([AT_START, AT_END], 'Creator Version', version, named);
}

test('early blktap hid disks without a new checksum, which libvhd takes for good', async () => {
  const hidden = Buffer.from(tapdisk(0x00010001));
  for (const [from] of [AT_START, AT_END]) hidden[from + offsetOf(FOOTER_FIELDS, 'Reserved')] = 1;
  const { disk, codes } = await openCollecting(memoryReader(hidden), CLOCK);
  expect(codes).toEqual([]);
  expect(disk.footer.hidden).toBe(true);

  const ofOthers = Buffer.from(good);
  for (const [from] of [AT_START, AT_END]) ofOthers[from + offsetOf(FOOTER_FIELDS, 'Reserved')] = 1;
  expect((await findingsOf(ofOthers)).map(({ code }) => code)).toEqual(['vhd-footer-checksum']);
});

test('two damaged footers that differ are two findings', async () => {
  const bytes = changed([AT_END], 'Checksum', 5, changed([AT_START], 'Checksum', 6));
  expect((await findingsOf(bytes)).map(({ code }) => code)).toEqual([
    'vhd-footer-checksum',
    'vhd-footer-copy-checksum',
  ]);
});

describe('the BAT', () => {
  test.each<readonly [string, Uint8Array, string, Finding['severity'], number]>([
    ['a block past the end', withTable([3, fileSectors]), 'vhd-block-outside', 'error', 3],
    [
      'a block that ends past the end',
      withTable([3, FIRST + 2 * STRIDE + 2]),
      'vhd-block-outside',
      'error',
      3,
    ],
    ['a block at the end of numbers', withTable([2, 0xfffffffe]), 'vhd-block-outside', 'error', 2],
    ['a block on the footer', withTable([3, FIRST + 2 * STRIDE + 1]), 'vhd-block-in-structure', 'error', 3],
    ['a block on the footer copy', withTable([0, 0]), 'vhd-block-in-structure', 'error', 0],
    ['a block on the header', withTable([0, 1]), 'vhd-block-in-structure', 'error', 0],
    ['a block on the BAT', withTable([0, 3]), 'vhd-block-in-structure', 'error', 0],
    ['two blocks at one place', withTable([2, FIRST]), 'vhd-blocks-overlap', 'error', 2],
    ['a third at the same place', withTable([1, FIRST + STRIDE]), 'vhd-blocks-overlap', 'error', 2],
    ['a block a sector too early', withTable([3, FIRST + 2 * STRIDE - 1]), 'vhd-blocks-overlap', 'error', 3],
    [
      'blocks that changed places',
      withTable([0, FIRST + STRIDE], [2, FIRST]),
      'vhd-blocks-backward',
      'warning',
      0,
    ],
    [
      'a last block that is not used',
      withTable([3, 0xffffffff]),
      'vhd-unaccounted-bytes',
      'warning',
      (FIRST + 2 * STRIDE) * 128 - TABLE / 4,
    ],
  ])('%s', async (_what, bytes, code, severity, block) => {
    expect(await findingsOf(bytes)).toMatchObject([{ code, severity, offset: TABLE + 4 * block }]);
  });

  test('of many damaged entries there is one finding, with their number', async () => {
    const findings = await findingsOf(withTable([0, fileSectors], [2, fileSectors + 5000], [3, 0xfffffff0]));
    expect(findings).toMatchObject([{ code: 'vhd-block-outside', found: expect.stringContaining('3 such') }]);
  });

  test('blocks that are outside are an error to those who read them, and to nobody else', async () => {
    const { disk } = await openCollecting(memoryReader(withTable([3, fileSectors], [0, 0])));
    await disk.readInto(new Uint8Array(4 * MIB), 2 * MIB);
    await expect(disk.readInto(new Uint8Array(1), 6 * MIB)).rejects.toMatchObject({ kind: 'image' });
    await expect(disk.readInto(new Uint8Array(1), 0)).rejects.toMatchObject({
      kind: 'image',
      context: { offset: TABLE },
    });
  });

  test('that is too short for the disk is an error, and reading what it lacks another', async () => {
    const { disk, findings } = await openCollecting(memoryReader(inHeader('Max Table Entries', 3)));
    expect(findings).toMatchObject([
      {
        code: 'vhd-max-table-entries',
        severity: 'error',
        offset: headerField('Max Table Entries'),
        found: 'max_table_entries 3',
        expected: '5 for a disk of this size',
      },
    ]);
    await disk.readInto(new Uint8Array(6 * MIB), 0);
    await expect(disk.readInto(new Uint8Array(1), 6 * MIB)).rejects.toMatchObject({ kind: 'image' });
    await expect(disk.readInto(new Uint8Array(1), 8 * MIB)).rejects.toMatchObject({ kind: 'image' });
  });

  test('on the header is named, once', async () => {
    const findings = await findingsOf(inHeader('Table Offset', 1024));
    expect(findings.filter(({ code }) => code === 'vhd-structures-overlap')).toMatchObject([
      { structure: 'block allocation table', offset: 1024, severity: 'error' },
    ]);
  });
});

describe('sizes', () => {
  test('a disk of no size has one finding', async () => {
    const bytes = makeDynamic({ sizeBytes: 0, header: { 'Max Table Entries': 5 } });
    expect(await findingsOf(bytes)).toMatchObject([{ code: 'vhd-size-zero', severity: 'error' }]);
  });

  test('beyond 2040 GiB there is a warning', async () => {
    const size = 2040 * 1024 * MIB + 2 * MIB;
    const footer = { 'Current Size': size, 'Disk Geometry Cylinders': 1 };
    const bytes = makeFooter(2, size, footer);
    const findings = await findingsOf(Buffer.concat([Buffer.alloc(512), bytes]));
    expect(findings.map(({ code }) => code)).toEqual(['vhd-size-limit', 'vhd-fixed-size']);
    expect(await findingsOf(makeDynamic({ sizeBytes: size }))).toMatchObject([{ code: 'vhd-size-limit' }]);
  });

  test('a fixed disk with more data than it says has a warning', async () => {
    const data = patternOf(1, 0, 8192);
    const bytes = Buffer.concat([data, makeFooter(2, 4096)]);
    const { disk, findings } = await openCollecting(memoryReader(bytes));
    expect(findings).toMatchObject([{ code: 'vhd-fixed-size', severity: 'warning', offset: 8192 + 48 }]);
    expect((await readDisk(disk)).equals(data.subarray(0, 4096))).toBe(true);
  });

  test('a fixed disk with a wrong checksum is still a disk', async () => {
    const data = patternOf(1, 0, 8192);
    const { disk, findings } = await openCollecting(memoryReader(makeFixed(data, { Checksum: 1 })));
    expect(findings).toMatchObject([{ code: 'vhd-footer-checksum', offset: 8192 + 64 }]);
    expect((await readDisk(disk)).equals(data)).toBe(true);
  });

  test('a fixed disk whose footer leads somewhere has a warning', async () => {
    const findings = await findingsOf(makeFixed(Buffer.alloc(512), { 'Data Offset': 512 }));
    expect(findings).toMatchObject([{ code: 'vhd-data-offset', severity: 'warning', offset: 512 + 16 }]);
    expect(await findingsOf(makeFixed(Buffer.alloc(512), { 'Data Offset': 0xffffffff }))).toEqual([]);
  });

  test.each([
    ['too large, of a creator that is sized by it', 'vpc ', 302, 'error'],
    ['too small, of a creator that is sized by it', 'vpc ', 300, 'warning'],
    ['of zeros, of a creator that is sized by it', 'vbox', 0, 'warning'],
    ['too large, of another', 'd2v ', 302, 'warning'],
  ])('a geometry %s', async (_what, creator, cylinders, severity) => {
    const bytes = makeDynamic({
      sizeBytes: 10 * MIB,
      footer: { ...GOOD.footer, 'Creator Application': creator, 'Disk Geometry Cylinders': cylinders },
    });
    expect(await findingsOf(bytes)).toMatchObject([
      { code: 'vhd-geometry', severity, offset: 512 + 1024 + 512 + 56 },
    ]);
  });

  test('the largest geometry stands for none', async () => {
    const largest = {
      'Disk Geometry Cylinders': 65535,
      'Disk Geometry Heads': 16,
      'Disk Geometry Sectors Per Track': 255,
    };
    expect(await findingsOf(makeDynamic({ sizeBytes: 10 * MIB, footer: largest }))).toEqual([]);
  });
});

describe('nothing can be read, says an error, of', () => {
  test.each<[string, Uint8Array, number | undefined, string]>([
    ['no footer at all', Buffer.alloc(4096), 3584, 'at the end'],
    ['an empty file', Buffer.alloc(0), undefined, 'no room for it'],
    [
      'footers of no type',
      inFooters('Disk Type', 5),
      END,
      'disk_type 5 at the end, disk_type 5 at the start',
    ],
    [
      'a fixed disk at the start only',
      changed([AT_START], 'Disk Type', 2, cleared(AT_END)),
      END,
      'disk_type 2 (fixed)',
    ],
    [
      'a disk of 2^63 bytes',
      inFooters('Current Size', 2n ** 63n),
      endField('Current Size'),
      'current_size 9223372036854775808',
    ],
    ['a disk that needs too many entries', inFooters('Current Size', 2n ** 52n), TABLE, '2147483648 entries'],
    ['blocks of nothing', inHeader('Block Size', 0), headerField('Block Size'), 'block_size 0'],
    ['blocks of half a sector', inHeader('Block Size', 256), headerField('Block Size'), 'block_size 256'],
    ['blocks of 3 MiB', inHeader('Block Size', 3 * MIB), headerField('Block Size'), 'block_size 3145728'],
    [
      'a BAT at the end of the file',
      inHeader('Table Offset', good.length),
      headerField('Table Offset'),
      `table_offset ${good.length}`,
    ],
    [
      'a BAT outside numbers',
      inHeader('Table Offset', 2n ** 64n - 1n),
      headerField('Table Offset'),
      'table_offset 18446744073709551615',
    ],
    [
      'no header',
      changed([OF_HEADER], 'Cookie', 'nonsense', inHeader('Checksum', 5)).fill(0, HEADER, HEADER + 8),
      endField('Data Offset'),
      'data_offset 512',
    ],
    ['blktap 0.1', tapdisk(0x00000001), endField('Creator Version'), 'version 0.1'],
  ])('%s', async (_what, bytes, offset, found) => {
    const error: PatchVdiError = await openCollecting(memoryReader(bytes)).then(
      () => expect.unreachable('it was opened'),
      (reason: unknown) => reason as PatchVdiError,
    );
    expect(error).toMatchObject({ kind: 'image', context: { path: 'folder/child.vhd' } });
    expect(error.context.offset).toBe(offset);
    expect(error.context.found).toContain(found);
  });
});
