/* Files without extents: our reader against debugfs, then maps that nobody would write but an attacker. */
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { readFileBlocks } from '../../src/ext/file-blocks.js';
import type { ExtFilesystem } from '../../src/ext/filesystem.js';
import { readInode, type RawInode } from '../../src/ext/inode.js';
import { MODE_TYPE_REGULAR } from '../../src/ext/layout.js';
import { KIB, MIB } from '../../src/units.js';
import { change, listBlocks } from '../oracles/debugfs.js';
import { requireTool } from '../oracles/require-tool.js';
import { formatSample } from '../oracles/sample-image.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { inodeOf, openImage } from './images.js';

beforeEach((context) => requireTool(context, 'mke2fs', 'debugfs'));

const OLD = ['-O', 'none,filetype,sparse_super,large_file'];

interface Sample {
  readonly image: string;
  readonly filesystem: ExtFilesystem;
  readonly inode: RawInode;
}

/** A file of so many bytes, all of them written by debugfs, in an image with blocks of that size. */
async function sampleOf(blockBytes: number, sizeBytes: number): Promise<Sample> {
  const folder = temporaryFolder();
  const image = formatSample(join(folder, 'old.raw'), 128 * MIB, ...OLD, '-b', String(blockBytes));
  const payload = join(folder, 'payload');
  writeFileSync(payload, Buffer.alloc(sizeBytes, 0xa5));
  change(image, `write ${payload} patch`);
  const filesystem = await openImage(image);
  return { image, filesystem, inode: await readInode(filesystem, await inodeOf(filesystem, 'patch')) };
}

const sorted = (numbers: readonly number[]): number[] => [...numbers].sort((a, b) => a - b);

describe('the blocks of a file are those that debugfs lists', () => {
  const per1k = 256;
  test.for([
    [KIB, 1],
    [KIB, 12 * KIB],
    [KIB, 12 * KIB + 1],
    [KIB, (12 + per1k) * KIB],
    [KIB, (12 + per1k) * KIB + 1],
    [KIB, (12 + per1k + per1k * per1k) * KIB],
    [KIB, (12 + per1k + per1k * per1k) * KIB + 1],
    [4 * KIB, (12 + 1024) * 4 * KIB],
    [4 * KIB, (12 + 1024) * 4 * KIB + 1],
    [4 * KIB, 40 * MIB],
  ])('blocks of %i bytes, a file of %i', async ([blockBytes = 0, sizeBytes = 0]) => {
    const { image, filesystem, inode } = await sampleOf(blockBytes, sizeBytes);
    const map = await readFileBlocks(filesystem, inode);
    const theirs = listBlocks(image, '/patch');
    expect(map.extents).toEqual(theirs.extents);
    expect(sorted(map.treeBlocks)).toEqual(sorted(theirs.indirect));
  });

  test('holes, of single blocks and of whole trees', async () => {
    const { image, filesystem } = await sampleOf(KIB, 400 * KIB);
    change(image, 'punch /patch 3 5', 'punch /patch 12 300', 'punch /patch 350 350');
    const inode = await readInode(filesystem, await inodeOf(filesystem, 'patch'));
    const { extents } = await readFileBlocks(filesystem, inode);
    expect(extents).toEqual(listBlocks(image, '/patch').extents);
    const held = extents.reduce((sum, extent) => sum + extent.blockCount, 0);
    expect(held).toBe(400 - 3 - 289 - 1);
  });

  test('content in the inode itself is not a map', async () => {
    const { filesystem, inode } = await sampleOf(KIB, 1);
    const inline = { ...inode, i_flags: 0x10000000 };
    await expect(readFileBlocks(filesystem, inline)).rejects.toMatchObject({ kind: 'image' });
  });
});

/** Block numbers as they stand on disk. */
function numbers(length: number, values: Readonly<Record<number, number>>): Buffer {
  const bytes = Buffer.alloc(length);
  for (const [index, value] of Object.entries(values)) bytes.writeUInt32LE(value, Number(index) * 4);
  return bytes;
}

const IMAGE_BLOCKS = 4096;

/** Reads a file with these pointers in its inode, in an image in which these blocks stand. */
async function mapOf(
  pointers: Readonly<Record<number, number>>,
  blocks: Readonly<Record<number, Readonly<Record<number, number>>>> = {},
) {
  const image = formatSample(join(temporaryFolder(), 'old.raw'), 16 * MIB, ...OLD);
  const filesystem = await openImage(image);
  const inode = await readInode(filesystem, 2);
  let reads = 0;
  const read = async (offset: number, length: number): Promise<Uint8Array> => {
    reads += 1;
    if (reads > IMAGE_BLOCKS) throw new Error('the reader does not come to an end');
    const block = blocks[offset / (4 * KIB)];
    return block === undefined ? filesystem.read(offset, length) : numbers(4 * KIB, block);
  };
  const endless = { i_mode: MODE_TYPE_REGULAR, i_size_lo: 0xfffff000, i_size_high: 0x3ff };
  return await readFileBlocks(
    { ...filesystem, read },
    { ...inode, ...endless, i_block: numbers(60, pointers) },
  );
}

describe('damaged maps are one error of kind image', () => {
  const everyEntry = (value: number) =>
    Object.fromEntries(Array.from({ length: 1024 }, (_, at) => [at, value]));

  test.for([
    ['a data block beyond the image', { 0: IMAGE_BLOCKS }, {}],
    ['a data block far beyond it', { 0: 0xffffffff }, {}],
    ['an indirect block beyond the image', { 12: 0xffffffff }, {}],
    ['a data block beyond the image in a tree', { 12: 3000 }, { 3000: { 7: IMAGE_BLOCKS } }],
    ['a tree that is its own child', { 13: 3000 }, { 3000: { 0: 3000 } }],
    ['a tree with the same child twice', { 13: 3000 }, { 3000: { 0: 3001, 9: 3001 }, 3001: { 0: 9 } }],
    ['two trees with the same root', { 12: 3000, 13: 3000 }, { 3000: { 0: 9 } }],
    ['a cycle of two levels', { 14: 3000 }, { 3000: { 0: 3001 }, 3001: { 0: 3000 } }],
  ] as const)('%s', async ([, pointers, blocks]) => {
    await expect(mapOf(pointers, blocks)).rejects.toMatchObject({
      kind: 'image',
      message: 'a block map is damaged',
    });
  });

  test('a file with more blocks than the image has', async () => {
    const leaves = Array.from({ length: 8 }, (_, at) => 3001 + at);
    const blocks = Object.fromEntries(leaves.map((block) => [block, everyEntry(100)]));
    const root = Object.fromEntries(leaves.map((block, at) => [at, block]));
    await expect(mapOf({ 13: 3000 }, { ...blocks, 3000: root })).rejects.toMatchObject({
      kind: 'image',
      context: { found: 'a file of more than 4096 blocks' },
    });
  });

  test('what follows the end of the image cannot be read', async () => {
    const { image, filesystem, inode } = await sampleOf(4 * KIB, 300 * KIB);
    truncateSync(image, MIB);
    const shortened = { ...inode, i_block: numbers(60, { 12: 30_000 }) };
    await expect(readFileBlocks(filesystem, shortened)).rejects.toMatchObject({ kind: 'image' });
  });
});
