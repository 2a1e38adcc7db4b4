/* Damaged extent trees and folders: each is one named error of kind `image`, and nothing hangs. */
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { readDirectory } from '../../src/ext/directory.js';
import type { ExtFilesystem } from '../../src/ext/filesystem.js';
import { readInode } from '../../src/ext/inode.js';
import { readFileMap, type FileMap } from '../../src/ext/file-extents.js';
import {
  ROOT_INODE_NUMBER,
  directoryEntryHead,
  extentHeader,
  extentIndex,
  extentLeaf,
  inode,
} from '../../src/ext/layout.js';
import type { StructValues } from '../../src/struct.js';
import { KIB, MIB } from '../../src/units.js';
import { requireTool } from '../oracles/require-tool.js';
import { formatSample } from '../oracles/sample-image.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { WITHOUT_CHECKSUMS, openImage } from './images.js';

const BLOCK_BYTES = 4 * KIB;
const IMAGE_BLOCKS = 4096;
const MAGIC = 0xf30a;
const USES_EXTENTS = 0x80000;
/** A block of the sample image where the tests put their own nodes. */
const NODE_BLOCK = 3000;

type Header = Partial<StructValues<typeof extentHeader.rows>>;

beforeEach((context) => requireTool(context, 'mke2fs'));

/** The sample image, with some blocks replaced in memory. */
async function openWith(blocks: ReadonlyMap<number, Uint8Array>): Promise<ExtFilesystem> {
  const image = formatSample(join(temporaryFolder(), 'sample.raw'), 16 * MIB, '-O', WITHOUT_CHECKSUMS);
  const filesystem = await openImage(image);
  const read = async (offset: number, length: number): Promise<Uint8Array> => {
    const block = blocks.get(offset / BLOCK_BYTES);
    return block?.subarray(0, length) ?? filesystem.read(offset, length);
  };
  return { ...filesystem, read };
}

function node(sizeBytes: number, header: Header, entries: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(sizeBytes);
  const defaults = { eh_magic: MAGIC, eh_entries: entries.length, eh_max: 340, eh_depth: 0 };
  bytes.set(extentHeader.encode({ ...defaults, ...header }));
  entries.forEach((entry, index) => bytes.set(entry, extentHeader.sizeBytes + index * extentLeaf.sizeBytes));
  return bytes;
}

const leaf = (fileBlock: number, length: number, fsBlock: number): Uint8Array =>
  extentLeaf.encode({ ee_block: fileBlock, ee_len: length, ee_start_lo: fsBlock });
const index = (fileBlock: number, child: number): Uint8Array =>
  extentIndex.encode({ ei_block: fileBlock, ei_leaf_lo: child });

/** Reads a file whose inode has this root, in an image that has these blocks. */
async function mapOf(
  header: Header,
  entries: readonly Uint8Array[],
  blocks: ReadonlyMap<number, Uint8Array> = new Map(),
): Promise<FileMap> {
  const root = node(60, { eh_max: 4, ...header }, entries);
  const raw = inode.encode({ i_flags: USES_EXTENTS, i_size_lo: MIB, i_block: root });
  return readFileMap(await openWith(blocks), inode.decode(raw));
}

describe('an extent tree', () => {
  test('that is right is read', async () => {
    const blocks = new Map([[NODE_BLOCK, node(BLOCK_BYTES, {}, [leaf(0, 5, 100), leaf(5, 32_773, 200)])]]);
    expect(await mapOf({ eh_depth: 1 }, [index(0, NODE_BLOCK)], blocks)).toEqual({
      extents: [
        { fileBlock: 0, fsBlock: 100, blockCount: 5, unwritten: false },
        { fileBlock: 5, fsBlock: 200, blockCount: 5, unwritten: true },
      ],
      treeBlocks: [NODE_BLOCK],
    });
  });

  test('is read also where block numbers need more than 32 bits', async () => {
    const filesystem = await openWith(new Map());
    const child = node(BLOCK_BYTES, {}, [
      extentLeaf.encode({ ee_block: 0, ee_len: 5, ee_start_lo: 7, ee_start_hi: 3 }),
    ]);
    const childBlock = 2 * 2 ** 32 + 9;
    const read = (offset: number, length: number): Promise<Uint8Array> => {
      expect([offset, length]).toEqual([childBlock * BLOCK_BYTES, BLOCK_BYTES]);
      return Promise.resolve(child);
    };
    const superblock = { ...filesystem.superblock, blockCount: 2 ** 36 };
    const root = node(60, { eh_max: 4, eh_depth: 1 }, [
      extentIndex.encode({ ei_block: 0, ei_leaf_lo: 9, ei_leaf_hi: 2 }),
    ]);
    const raw = inode.decode(inode.encode({ i_flags: USES_EXTENTS, i_size_lo: MIB, i_block: root }));
    expect(await readFileMap({ ...filesystem, superblock, read }, raw)).toEqual({
      extents: [{ fileBlock: 0, fsBlock: 3 * 2 ** 32 + 7, blockCount: 5, unwritten: false }],
      treeBlocks: [childBlock],
    });
  });

  test.for([
    ['another magic', { eh_magic: 0 }, [leaf(0, 1, 9)], 'magic 0x0, 1 entries, depth 0'],
    ['more entries than fit', { eh_entries: 5 }, [], 'magic 0xf30a, 5 entries, depth 0'],
    ['the most entries there can be', { eh_entries: 0xffff }, [], '65535 entries'],
    ['more levels than ext4 allows', { eh_depth: 6 }, [index(0, 9)], 'depth 6'],
    ['endlessly many levels', { eh_depth: 0xffff }, [index(0, 9)], 'depth 65535'],
  ] as const)('with %s is refused', async ([, header, entries, found]) => {
    await expect(mapOf(header, entries)).rejects.toMatchObject({
      kind: 'image',
      message: 'an extent tree node is damaged',
      context: { found: expect.stringContaining(found) as unknown },
    });
  });

  test.for([
    ['an extent of no blocks', [leaf(0, 0, 9)], '0 blocks at 9 for file block 0'],
    ['an extent past the end', [leaf(0, 2, IMAGE_BLOCKS - 1)], '2 blocks at 4095'],
    ['an extent far past the end', [leaf(0, 1, 0xffffffff)], '1 blocks at 4294967295'],
    ['two extents for one block', [leaf(0, 5, 9), leaf(4, 5, 100)], '5 blocks at 100 for file block 4'],
    ['extents in the wrong order', [leaf(7, 1, 9), leaf(0, 1, 100)], 'for file block 0'],
  ] as const)('with %s is refused', async ([, entries, found]) => {
    await expect(mapOf({}, entries)).rejects.toMatchObject({
      kind: 'image',
      message: 'an extent is damaged',
      context: { found: expect.stringContaining(found) as unknown },
    });
  });

  test.for([
    ['without entries', { eh_depth: 1, eh_entries: 0 }, [], 0],
    ['with a child before its own place', { eh_depth: 1 }, [index(7, NODE_BLOCK)], 3],
    ['with a child behind its own place', { eh_depth: 1 }, [index(0, NODE_BLOCK), index(3, 9)], 3],
    ['with children in the wrong order', { eh_depth: 1 }, [index(7, NODE_BLOCK), index(7, 9)], 7],
  ] as const)('%s is refused', async ([, header, entries, firstBlock]) => {
    const child = node(BLOCK_BYTES, {}, [leaf(firstBlock, 1, 100)]);
    const attempt = mapOf(header, entries, new Map([[NODE_BLOCK, child]]));
    await expect(attempt).rejects.toMatchObject({
      kind: 'image',
      message: expect.stringMatching(/^an extent.* is damaged$/) as unknown,
    });
  });

  test('with an extent that ends behind the last file block is refused', async () => {
    await expect(mapOf({}, [leaf(0xffffffff, 2, 100)])).rejects.toMatchObject({
      kind: 'image',
      context: { found: '2 blocks at 100 for file block 4294967295' },
    });
  });

  test('that maps more blocks than the file system has is refused', async () => {
    const entries = [0, 1, 2].map((turn) => leaf(turn * 2000, 2000, 1000));
    await expect(mapOf({}, entries)).rejects.toMatchObject({
      kind: 'image',
      context: { found: 'a file of more than 4096 blocks' },
    });
  });

  test('whose child lies past the end is refused', async () => {
    await expect(mapOf({ eh_depth: 1 }, [index(0, IMAGE_BLOCKS)])).rejects.toMatchObject({
      kind: 'image',
      message: 'an extent index is damaged',
      context: { found: 'tree block 4096' },
    });
  });

  test('that goes in a circle is refused: no level is its own child', async () => {
    const circle = node(BLOCK_BYTES, { eh_depth: 1 }, [index(0, NODE_BLOCK)]);
    const attempt = mapOf({ eh_depth: 2 }, [index(0, NODE_BLOCK)], new Map([[NODE_BLOCK, circle]]));
    await expect(attempt).rejects.toMatchObject({
      kind: 'image',
      message: 'an extent tree node is damaged',
      context: { found: 'magic 0xf30a, 1 entries, depth 1', offset: NODE_BLOCK * BLOCK_BYTES },
    });
  });

  test('that meets an empty leaf again and again is refused, not walked for ever', async () => {
    const empty = node(BLOCK_BYTES, { eh_depth: 0 }, []);
    const many = node(
      BLOCK_BYTES,
      { eh_depth: 1 },
      Array.from({ length: 340 }, () => index(0, NODE_BLOCK)),
    );
    const blocks = new Map([
      [NODE_BLOCK, empty],
      [NODE_BLOCK + 1, many],
    ]);
    await expect(mapOf({ eh_depth: 2 }, [index(0, NODE_BLOCK + 1)], blocks)).rejects.toMatchObject({
      kind: 'image',
      message: 'an extent index is damaged',
      context: { found: 'file blocks 0 to 0' },
    });
  });

  test('whose child has another depth than its parent says is refused', async () => {
    const deep = node(BLOCK_BYTES, { eh_depth: 3 }, [index(0, NODE_BLOCK + 1)]);
    await expect(
      mapOf({ eh_depth: 1 }, [index(0, NODE_BLOCK)], new Map([[NODE_BLOCK, deep]])),
    ).rejects.toMatchObject({
      kind: 'image',
      message: 'an extent tree node is damaged',
      context: { expected: expect.stringContaining('depth 0') as unknown },
    });
  });
});

interface Entry {
  readonly inode: number;
  readonly rec_len: number;
  readonly name_len: number;
}

/** Reads a folder of one block with these entries, one behind the other. */
async function listingOf(entries: readonly Entry[], size: Record<string, number> = {}) {
  const block = new Uint8Array(BLOCK_BYTES);
  let at = 0;
  for (const entry of entries) {
    block.set(directoryEntryHead.encode({ ...entry, file_type: 1 }), at);
    block.fill(0x61, at + 8, Math.min(BLOCK_BYTES, at + 8 + entry.name_len));
    at += entry.rec_len;
  }
  const filesystem = await openWith(new Map([[NODE_BLOCK, block]]));
  const raw = inode.encode({
    i_mode: 0x4000,
    i_flags: USES_EXTENTS,
    i_size_lo: BLOCK_BYTES,
    i_block: node(60, { eh_max: 4 }, [leaf(0, 1, NODE_BLOCK)]),
    ...size,
  });
  const { inodeTableBlock } = filesystem.groups.at(0) ?? { inodeTableBlock: 0 };
  const inodeOffset = inodeTableBlock * BLOCK_BYTES + (ROOT_INODE_NUMBER - 1) * 256;
  const padded = Buffer.concat([raw, Buffer.alloc(256 - raw.length)]);
  const read = async (offset: number, length: number): Promise<Uint8Array> =>
    offset === inodeOffset ? padded : filesystem.read(offset, length);
  return readDirectory({ ...filesystem, read }, ROOT_INODE_NUMBER);
}

describe('a folder', () => {
  const rest = (used: number): Entry => ({ inode: 0, rec_len: BLOCK_BYTES - used, name_len: 0 });

  test('that is right is read', async () => {
    const entries = await listingOf([{ inode: 12, rec_len: 12, name_len: 3 }, rest(12)]);
    expect(entries).toEqual([
      { inodeNumber: 12, name: 'aaa', nameBytes: new Uint8Array(3).fill(0x61), fileType: 1 },
    ]);
  });

  test.for([
    ['of length 0, which would never end', { inode: 12, rec_len: 0, name_len: 1 }, 'rec_len 0'],
    ['shorter than its head', { inode: 12, rec_len: 4, name_len: 0 }, 'rec_len 4'],
    ['shorter than its name', { inode: 12, rec_len: 12, name_len: 5 }, 'rec_len 12'],
    ['of a length that is not a multiple of 4', { inode: 12, rec_len: 14, name_len: 1 }, 'rec_len 14'],
    ['longer than its block', { inode: 12, rec_len: 4100, name_len: 1 }, 'rec_len 4100'],
    ['of the greatest length', { inode: 12, rec_len: 0xffff, name_len: 255 }, 'rec_len 65535'],
    ['that is unused, and of length 0', { inode: 0, rec_len: 0, name_len: 0 }, 'rec_len 0'],
  ] as const)('with an entry %s is refused', async ([, entry, found]) => {
    await expect(listingOf([entry])).rejects.toMatchObject({
      kind: 'image',
      message: `directory ${ROOT_INODE_NUMBER} is not as it should be`,
      context: { found, offset: NODE_BLOCK * BLOCK_BYTES },
    });
  });

  test('with less than an entry at the end of its block is refused', async () => {
    const first = { inode: 12, rec_len: BLOCK_BYTES - 4, name_len: 1 };
    await expect(listingOf([first])).rejects.toMatchObject({
      kind: 'image',
      context: { found: '4 bytes left', expected: 'a whole entry' },
    });
  });

  test('of terabytes is refused before it is read', async () => {
    await expect(listingOf([rest(0)], { i_size_lo: 0xfffff000 })).rejects.toMatchObject({
      kind: 'image',
      message: `directory ${ROOT_INODE_NUMBER} is damaged`,
      context: { expected: `${16 * MIB} at most` },
    });
  });

  test('has no blocks beyond its size: old kernels would go there', async () => {
    const raw = [{ inode: 12, rec_len: BLOCK_BYTES, name_len: 3 }];
    await expect(listingOf(raw, { i_size_lo: 0 })).rejects.toMatchObject({
      context: { found: '0 bytes', expected: `${BLOCK_BYTES}, all its blocks` },
    });
  });
});

test('an inode that the table does not hold whole reads as zeros behind its end', async () => {
  const options = ['-O', 'none,filetype,extent,sparse_super', '-I', '128'];
  const image = formatSample(join(temporaryFolder(), 'small-inodes.raw'), 16 * MIB, ...options);
  const root = await readInode(await openImage(image), ROOT_INODE_NUMBER);
  expect(root).toMatchObject({ i_links_count: 3, i_extra_isize: 0, i_crtime: 0, i_projid: 0 });
});
