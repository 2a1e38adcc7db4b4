/* What the fuzzer and the worst images have found: one test for each defect that there was. */
import { describe, expect, test } from 'vitest';
import { compareImages } from '../../src/inspect/compare.js';
import type { Image } from '../../src/inspect/image.js';
import { openImage } from '../../src/inspect/open-image.js';
import { inspectImage } from '../../src/inspect/report.js';
import { EXTENT_MAGIC, MODE_TYPE_DIRECTORY, extentHeader } from '../../src/ext/layout.js';
import { GIB, KIB, MIB } from '../../src/units.js';
import {
  PATCH_INODE,
  extentNode,
  folderBlock,
  leaf,
  makeExt,
  sizeFields,
  type HandMadeExt,
  type InodeFields,
  type Piece,
} from '../fuzz/hand-made-ext.js';
import { SparseBytes } from '../fuzz/sparse-bytes.js';
import { WatchedReader } from '../fuzz/watched-reader.js';

const BLOCK_BYTES = 4 * KIB;
const small: HandMadeExt = { blockBytes: BLOCK_BYTES, blockCount: 4096, blocksPerGroup: 8 * BLOCK_BYTES };

/** Opened in memory, within bounds of reads. */
async function opened(
  wish: HandMadeExt,
  more: readonly Piece[] = [],
): Promise<{ image: Image; reader: WatchedReader }> {
  const { sizeBytes, pieces } = makeExt(wish);
  const bytes = SparseBytes.ofZeros(sizeBytes);
  for (const { offset, bytes: content } of [...pieces, ...more]) bytes.write(offset, content);
  const reader = new WatchedReader(bytes, { calls: 100_000, bytes: GIB });
  return { image: await openImage(reader), reader };
}

const codes = (image: Image): string[] => image.findings.map(({ code }) => code);

async function listed(image: Image): Promise<string[]> {
  const paths: string[] = [];
  for await (const { path } of (await image.filesystem()).list()) paths.push(path);
  return paths;
}

async function firstBytes(image: Image): Promise<number> {
  for await (const bytes of (await image.patch()).stream()) return bytes.length;
  return 0;
}

describe('a file with more holes than a disk has bytes', () => {
  const limit = GIB;

  test('is not read: a few bytes of map would cost hours', async () => {
    const { image } = await opened({ ...small, patch: sizeFields(limit + 1) });
    const wrong = {
      kind: 'image',
      context: { found: `a file of ${limit + 1} bytes, most of them in holes` },
    };
    await expect(firstBytes(image)).rejects.toMatchObject(wrong);
    expect((await inspectImage(image)).patch).toMatchObject({
      size: limit + 1,
      layout: { holeBytes: limit + 1 },
    });
  });

  test('is read up to 1 GiB', async () => {
    const { image } = await opened({ ...small, patch: sizeFields(limit) });
    expect(await firstBytes(image)).toBe(MIB);
  });

  test('is not compared, nor are many of them', async () => {
    const { image: one } = await opened({ ...small, patch: sizeFields(2 ** 43) });
    await expect(compareImages(one, one)).rejects.toMatchObject({ kind: 'image' });
    const inodes = new Map<number, InodeFields>(
      [13, 14].map((number) => [
        number,
        { i_mode: 0o100_755, i_block: extentNode(0, []), ...sizeFields(limit) },
      ]),
    );
    const entries = [
      ['a', 13],
      ['b', 14],
    ] as const;
    const { image: two } = await opened({ ...small, inodes, entries });
    await expect(compareImages(two, two)).rejects.toMatchObject({
      kind: 'image',
      message: 'the files are far larger than their file system',
    });
  });
});

test.for([0, 1])(
  'an extent tree node with room for %i entries is damaged, as e2fsprogs has it',
  async (most) => {
    const node = extentNode(0, []);
    node.set(extentHeader.encode({ eh_magic: EXTENT_MAGIC, eh_entries: 0, eh_max: most, eh_depth: 0 }));
    const { image } = await opened({ ...small, patch: { ...sizeFields(5000), i_block: node } });
    expect((await inspectImage(image)).healthy).toBe(false);
    expect(codes(image)).toContain('extent-node-capacity');
  },
);

describe('names that are no UTF-8', () => {
  const withNames = (...names: readonly string[]) =>
    opened({ ...small, entries: names.map((name) => [name, PATCH_INODE] as const) });

  test('are compared like others', async () => {
    const [one, other] = [await withNames('caf\u00e9'), await withNames('caf\u00e9')];
    expect(await compareImages(one.image, other.image)).toMatchObject({ same: true });
  });

  test('are not taken for each other', async () => {
    const [one, other] = [
      await withNames('caf\u00e9', 'caf\u00e8'),
      await withNames('caf\u00e9', 'caf\u00ea'),
    ];
    const { same, differences } = await compareImages(one.image, other.image);
    expect(same).toBe(false);
    expect(differences).toHaveLength(2);
  });

  test('nor is one name that stands there twice', async () => {
    const { image } = await withNames('patch', 'patch');
    const { same, complete, damage } = await compareImages(image, image);
    expect({ same, complete }).toEqual({ same: false, complete: false });
    expect(damage.a.map(({ code }) => code)).toContain('directory-entry-twice');
  });
});

describe('folders', () => {
  const mode = MODE_TYPE_DIRECTORY + 0o755;
  const blocks = 3000;

  test('that share their blocks are not read again and again', async () => {
    const free = makeExt(small).freeBlock;
    const wide = {
      i_mode: mode,
      i_size_lo: blocks * BLOCK_BYTES,
      i_block: extentNode(0, [leaf(0, blocks, free)]),
    };
    const inodes = new Map<number, InodeFields>([
      [13, wide],
      [14, wide],
      [15, wide],
      [16, wide],
    ]);
    const entries = [
      ['a', 13],
      ['b', 14],
      ['c', 15],
      ['d', 16],
    ] as const;
    const { image, reader } = await opened({ ...small, inodes, entries });
    expect(await listed(image)).toEqual(['a', 'b']);
    expect(codes(image)).toContain('directory-blocks');
    expect(reader.calls).toBeLessThan(2 * small.blockCount);
    expect(await compareImages(image, image)).toMatchObject({ same: false, complete: false });
  });

  test('of more than 64 MiB are refused', async () => {
    const { image, reader } = await opened({ ...small, root: { i_size_lo: 64 * MIB + BLOCK_BYTES } });
    const report = await inspectImage(image);
    expect(report.patch).toBeUndefined();
    expect(report.findings).toContainEqual(
      expect.objectContaining({ code: 'patch-unreadable', expected: `at most ${64 * MIB}` }),
    );
    expect(reader.calls).toBeLessThan(20);
  });

  test('in circles make a listing that is told apart from a whole one', async () => {
    const free = makeExt(small).freeBlock;
    const loop = { i_mode: mode, i_size_lo: BLOCK_BYTES, i_block: extentNode(0, [leaf(0, 1, free)]) };
    const block = folderBlock(
      [
        ['.', 13],
        ['..', 2],
        ['again', 13],
      ],
      BLOCK_BYTES,
    );
    const wish = { ...small, inodes: new Map([[13, loop]]), entries: [['a', 13]] as const };
    const { image } = await opened(wish, [{ offset: free * BLOCK_BYTES, bytes: block }]);
    expect(await listed(image)).toEqual(['a', 'a/again']);
    expect(await compareImages(image, image)).toMatchObject({ same: false, complete: false });
  });
});

test('bitmaps of small groups are read as far as they go', async () => {
  const wish = { blockBytes: 64 * KIB, blockCount: 4096, blocksPerGroup: 8, alternateBitmaps: true };
  const { image, reader } = await opened(wish);
  await inspectImage(image, { thorough: true });
  // 512 groups: two bitmaps of 64 KiB each would be 64 MiB.
  expect(reader.bytes).toBeLessThan(MIB);
});

test('more groups than a disk of 2 TiB has with the smallest blocks are refused before their bitmaps are read', async () => {
  const groups = 2 ** 18 + 1;
  const { image } = await opened({ blockBytes: KIB, blockCount: groups * 8 + 1, blocksPerGroup: 8 });
  await expect(image.filesystem()).rejects.toMatchObject({
    kind: 'image',
    context: { found: `${groups} groups`, expected: `${groups - 1} at most` },
  });
});
