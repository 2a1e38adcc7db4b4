/* Maps that are small on the disk and endless to walk: each ends after few reads, in little memory. */
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { fileExtents } from '../../src/ext/file-extents.js';
import { filePieces } from '../../src/ext/file-pieces.js';
import type { ExtFilesystem } from '../../src/ext/filesystem.js';
import type { RawInode } from '../../src/ext/inode.js';
import {
  DIRECT_BLOCK_COUNT,
  EXTENT_MAGIC,
  INODE_FLAG_EXTENTS,
  MODE_TYPE_REGULAR,
  extentHeader,
  extentIndex,
  extentLeaf,
  inode,
} from '../../src/ext/layout.js';
import { KIB, MIB, TIB } from '../../src/units.js';
import { requireTool } from '../oracles/require-tool.js';
import { formatSample } from '../oracles/sample-image.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { setU32 } from './damage.js';
import { WITHOUT_CHECKSUMS, openImage } from './images.js';

const BLOCK_BYTES = 4 * KIB;
const PER_NODE = 340;
const NUMBERS_PER_BLOCK = BLOCK_BYTES / 4;
/** Of the disk on which most of these stand: 2^31 blocks, 8 TiB. */
const BLOCK_COUNT = 2 ** 31;
const INODE = 12;

beforeEach((context) => requireTool(context, 'mke2fs'));

interface Counted {
  readonly filesystem: ExtFilesystem;
  readonly reads: () => number;
}

/** A disk on which block `n` holds what `blockAt(n)` says; all inodes read as zeros. */
async function diskOf(blockAt: (block: number) => Uint8Array, blockCount = BLOCK_COUNT): Promise<Counted> {
  const image = formatSample(join(temporaryFolder(), 'sample.raw'), 16 * MIB, '-O', WITHOUT_CHECKSUMS);
  const filesystem = await openImage(image);
  let reads = 0;
  const read = (offset: number, length: number): Promise<Uint8Array> => {
    reads += 1;
    if (length !== BLOCK_BYTES) return Promise.resolve(new Uint8Array(length));
    return Promise.resolve(blockAt(offset / BLOCK_BYTES));
  };
  const superblock = { ...filesystem.superblock, blockCount };
  return { filesystem: { ...filesystem, superblock, read, report: () => undefined }, reads: () => reads };
}

function node(depth: number, entries: readonly Uint8Array[], sizeBytes = BLOCK_BYTES): Uint8Array {
  const bytes = new Uint8Array(sizeBytes);
  const header = { eh_magic: EXTENT_MAGIC, eh_entries: entries.length, eh_max: 4, eh_depth: depth };
  bytes.set(extentHeader.encode({ ...header, eh_max: sizeBytes === BLOCK_BYTES ? PER_NODE : 4 }));
  entries.forEach((entry, at) => bytes.set(entry, extentHeader.sizeBytes + at * extentLeaf.sizeBytes));
  return bytes;
}

const index = (fileBlock: number, child: number): Uint8Array =>
  extentIndex.encode({ ei_block: fileBlock, ei_leaf_lo: child });
const leaf = (fileBlock: number, fsBlock: number, blockCount = 1): Uint8Array =>
  extentLeaf.encode({ ee_block: fileBlock, ee_len: blockCount, ee_start_lo: fsBlock });

function fileOf(block: Uint8Array, flags: number, sizeBytes = 4 * TIB): RawInode {
  return inode.decode(
    inode.encode({
      i_mode: MODE_TYPE_REGULAR,
      i_links_count: 1,
      i_flags: flags,
      i_size_lo: sizeBytes % 2 ** 32,
      i_size_high: Math.floor(sizeBytes / 2 ** 32),
      i_block: block,
    }),
  );
}

async function walkAll(filesystem: ExtFilesystem, raw: RawInode): Promise<number> {
  let count = 0;
  for await (const extent of fileExtents(filesystem, INODE, raw)) count += extent.blockCount > 0 ? 1 : 0;
  return count;
}

describe('extent trees', () => {
  test('of 340^5 leaves, all of them the same block: the second way to it ends the walk', async () => {
    const span = (depth: number): number => 4 ** depth;
    // Block 100 + d is the only node of depth d; it names the one below it 340 times.
    const { filesystem, reads } = await diskOf((block) => {
      const depth = block - 100;
      const entries = Array.from({ length: PER_NODE }, (_, at) =>
        depth === 0 ? leaf(at, 500) : index(at * span(depth), block - 1),
      );
      return node(depth, entries);
    });
    const raw = fileOf(node(5, [index(0, 104)], 60), INODE_FLAG_EXTENTS);
    await expect(walkAll(filesystem, raw)).rejects.toMatchObject({ kind: 'image' });
    expect(reads()).toBeLessThan(10);
  });

  test('a cycle ends where the depth does not fit', async () => {
    const { filesystem, reads } = await diskOf((block) => node(4, [index(0, block)]));
    const raw = fileOf(node(5, [index(0, 100)], 60), INODE_FLAG_EXTENTS);
    await expect(walkAll(filesystem, raw)).rejects.toMatchObject({ kind: 'image' });
    expect(reads()).toBe(2);
  });

  test('that maps the same disk blocks again and again ends with the size of the disk', async () => {
    const { filesystem, reads } = await diskOf((block) => {
      const first = (block - 100) * PER_NODE * 32_768;
      return node(
        0,
        Array.from({ length: PER_NODE }, (_, at) => leaf(first + at * 32_768, 1000, 32_768)),
      );
    }, 40_000);
    const root = [0, 1, 2, 3].map((at) => index(at * PER_NODE * 32_768, 100 + at));
    const raw = fileOf(node(1, root, 60), INODE_FLAG_EXTENTS);
    await expect(walkAll(filesystem, raw)).rejects.toMatchObject({
      context: { found: 'a file of more than 40000 blocks' },
    });
    expect(reads()).toBe(1);
  });

  test('of a million extents are walked in the memory of a few', async () => {
    const LEVEL = 10;
    // Blocks 10 to 19: nodes of depth 1; blocks from 1000: leaves, each of 340 single blocks with gaps between them.
    const { filesystem } = await diskOf((block) => {
      if (block < 1000) {
        const first = (block - LEVEL) * PER_NODE;
        const children = Array.from({ length: PER_NODE }, (_, at) => first + at);
        return node(
          1,
          children.map((at) => index(at * PER_NODE, 1000 + at)),
        );
      }
      const first = (block - 1000) * PER_NODE;
      return node(
        0,
        Array.from({ length: PER_NODE }, (_, at) => leaf(first + at, 1_000_000 + 2 * (first + at))),
      );
    });
    const depth1 = Array.from({ length: 9 }, (_, at) => index(at * PER_NODE ** 2, LEVEL + at));
    const top = node(2, depth1);
    const inner = filesystem.read;
    const read = (offset: number, length: number): Promise<Uint8Array> =>
      offset === 5 * BLOCK_BYTES ? Promise.resolve(top) : inner(offset, length);
    const raw = fileOf(node(3, [index(0, 5)], 60), INODE_FLAG_EXTENTS);
    let most = 0;
    const before = process.memoryUsage().heapUsed;
    let count = 0;
    for await (const { blockCount } of fileExtents({ ...filesystem, read }, INODE, raw)) {
      count += blockCount;
      if (count % 50_000 === 0) most = Math.max(most, process.memoryUsage().heapUsed - before);
    }
    expect(count).toBe(9 * PER_NODE ** 2);
    // An array of them would be more than 100 bytes each.
    expect(most).toBeLessThan(96 * MIB);
  });
});

describe('block maps', () => {
  function numbers(first: number, count = NUMBERS_PER_BLOCK): Uint8Array {
    const bytes = new Uint8Array(BLOCK_BYTES);
    for (let at = 0; at < count; at += 1) setU32(bytes, at * 4, first + at);
    return bytes;
  }
  const rootOf = (values: Readonly<Record<number, number>>): Uint8Array => {
    const bytes = new Uint8Array(60);
    for (const [at, value] of Object.entries(values))
      setU32(bytes, (DIRECT_BLOCK_COUNT + Number(at)) * 4, value);
    return bytes;
  };
  const again = (block: number): Uint8Array => {
    const bytes = new Uint8Array(BLOCK_BYTES);
    for (let at = 0; at < BLOCK_BYTES; at += 4) setU32(bytes, at, block);
    return bytes;
  };

  test.for([
    ['that names itself', (block: number) => again(block)],
    [
      'that names one block again and again',
      (block: number) => (block === 102 ? new Uint8Array(BLOCK_BYTES) : again(block + 1)),
    ],
  ] as const)('a tree of three levels %s', async ([, blockAt]) => {
    const { filesystem, reads } = await diskOf(blockAt);
    await expect(walkAll(filesystem, fileOf(rootOf({ 2: 100 }), 0))).rejects.toMatchObject({ kind: 'image' });
    expect(reads()).toBeLessThan(5);
  });

  test('two blocks that lead to each other', async () => {
    const { filesystem, reads } = await diskOf((block) => numbers(block === 100 ? 101 : 100, 1));
    await expect(walkAll(filesystem, fileOf(rootOf({ 2: 100 }), 0))).rejects.toMatchObject({ kind: 'image' });
    expect(reads()).toBeLessThan(5);
  });

  test('2^30 blocks by way of 2^20 empty ones', async () => {
    // Every block of the second level names the same 1024 empty blocks.
    const { filesystem, reads } = await diskOf((block) => {
      if (block === 100) return numbers(1000);
      return block < 10_000 ? numbers(10_000) : new Uint8Array(BLOCK_BYTES);
    });
    await expect(walkAll(filesystem, fileOf(rootOf({ 2: 100 }), 0))).rejects.toMatchObject({
      context: { found: 'more than 65536 indirect blocks without a number' },
    });
    expect(reads()).toBeLessThan(66_000);
  });

  test('and on a small disk no more than it has blocks', async () => {
    const { filesystem, reads } = await diskOf((block) => {
      if (block === 100) return numbers(1000);
      return block < 10_000 ? numbers(10_000) : new Uint8Array(BLOCK_BYTES);
    }, 12_000);
    await expect(walkAll(filesystem, fileOf(rootOf({ 2: 100 }), 0))).rejects.toMatchObject({ kind: 'image' });
    expect(reads()).toBeLessThanOrEqual(12_000);
  });

  test('a tree behind the end of the file is not looked at', async () => {
    const { filesystem, reads } = await diskOf((block) => again(block));
    expect(await walkAll(filesystem, fileOf(rootOf({ 0: 100, 1: 100, 2: 100 }), 0, 12 * BLOCK_BYTES))).toBe(
      0,
    );
    expect(reads()).toBe(0);
  });
});

describe('sizes', () => {
  test('a hole of 16 TiB is one piece, and no read', async () => {
    const { filesystem, reads } = await diskOf(() => new Uint8Array(BLOCK_BYTES));
    const pieces = [];
    const raw = { ...fileOf(node(0, [], 60), INODE_FLAG_EXTENTS, 16 * TIB) };
    for await (const piece of filePieces(filesystem, INODE, raw)) pieces.push(piece);
    expect(pieces).toEqual([{ fileOffset: 0, length: 16 * TIB, diskOffset: undefined }]);
    expect(reads()).toBe(0);
  });

  test.for([16 * TIB + 1, 2 ** 53, 2 ** 63, 2 ** 64 - 2 ** 32])(
    'of %d bytes is refused',
    async (sizeBytes) => {
      const { filesystem } = await diskOf(() => new Uint8Array(BLOCK_BYTES));
      const raw = fileOf(node(0, [], 60), INODE_FLAG_EXTENTS, sizeBytes);
      const attempt = async () => {
        for await (const piece of filePieces(filesystem, INODE, raw)) expect(piece).toBeUndefined();
      };
      await expect(attempt()).rejects.toMatchObject({ kind: 'image', message: 'inode 12 is damaged' });
    },
  );
});
