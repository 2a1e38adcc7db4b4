import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { readInode, inodeSizeBytes } from '../../src/ext/inode.js';
import { ROOT_INODE_NUMBER } from '../../src/ext/layout.js';
import { mergeExtents, readFileMap, type Extent } from '../../src/ext/file-extents.js';
import { mapImage } from '../../src/plan/image-map.js';
import { GIB, KIB, MIB } from '../../src/units.js';
import { ask, change, listExtents, statFile } from '../oracles/debugfs.js';
import { requireTool } from '../oracles/require-tool.js';
import { formatSample } from '../oracles/sample-image.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { formatWithPatch, inodeOf, openImage } from './images.js';

/** No metadata between the files. */
const UNSCATTERED = 'none,filetype,extent,64bit,flex_bg,sparse_super2';

async function readPatch(image: string) {
  const filesystem = await openImage(image);
  const inode = await readInode(filesystem, await inodeOf(filesystem, 'patch'));
  return { inode, map: await readFileMap(filesystem, inode) };
}

describe('the extents of a file are those that debugfs lists', () => {
  beforeEach((context) => requireTool(context, 'mke2fs', 'debugfs'));

  async function compare(image: string, depth: number): Promise<number> {
    const theirs = listExtents(image, '/patch');
    const { inode, map } = await readPatch(image);
    expect(map.extents).toEqual(theirs.extents);
    expect(map.treeBlocks).toEqual(theirs.treeBlocks);
    expect(theirs.depth).toBe(depth);
    expect(inodeSizeBytes(inode)).toBe(statFile(image, '/patch').size);
    return map.extents.length;
  }

  test.for([
    { size: 16 * MIB, patch: 4 * MIB, depth: 0, extents: 1 },
    { size: 4 * GIB, patch: GIB, depth: 1, extents: 8 },
    { size: 64_512 * MIB, patch: 20 * GIB, depth: 1, extents: 160 },
    { size: 2000 * GIB, patch: 500 * GIB, depth: 2, extents: 4000 },
  ])('patch of $patch bytes in $size, depth $depth', async ({ size, patch, depth, extents }) => {
    const image = await formatWithPatch(temporaryFolder(), size, patch);
    expect(await compare(image, depth)).toBe(extents);
  });

  test('of a file in single blocks of 1 KiB, whose tree is as large as a tree can be', async () => {
    const folder = temporaryFolder();
    const options = ['-E', 'packed_meta_blocks=1,num_backup_sb=0', '-b', String(KIB)];
    const image = formatSample(join(folder, 'fragments.raw'), 32 * MIB, '-O', UNSCATTERED, ...options);
    const blockCount = 10_000;
    // Every second block is taken away, so no two blocks of the file can be neighbours.
    const firstFree = Number(/found: (\d+)/.exec(ask(image, 'find_free_block 1 1'))?.[1]);
    const taken = Array.from({ length: 12_000 }, (_, index) => `setb ${firstFree + 2 * index}`);
    writeFileSync(join(folder, 'payload'), randomBytes(blockCount * KIB));
    change(image, ...taken, `write ${join(folder, 'payload')} patch`);
    expect(await compare(image, 2)).toBeGreaterThan(blockCount / 2);
  });

  test('an unwritten extent is read as one, and no plan is made of it', async () => {
    const image = formatSample(join(temporaryFolder(), 'unwritten.raw'), 16 * MIB);
    change(image, 'write /dev/null patch', 'fallocate /patch 0 9', 'set_inode_field /patch size 40960');
    const { map } = await readPatch(image);
    expect(map.extents).toEqual(listExtents(image, '/patch').extents);
    expect(map.extents).toMatchObject([{ fileBlock: 0, blockCount: 10, unwritten: true }]);

    const facts = { virtualSize: 16 * MIB, blockBytes: 4096, payloadLength: 40_960, metadata: [] };
    const attempt = () => mapImage({ ...facts, extents: map.extents });
    expect(attempt).toThrow(
      expect.objectContaining({
        kind: 'tool',
        message: 'the file patch has an unwritten extent, which would read as zeros',
        context: expect.objectContaining({ found: '10 unwritten blocks from file block 0' }) as unknown,
      }) as Error,
    );
  });

  test('the longest extents of each kind: 32768 written blocks, 32767 unwritten ones', async () => {
    const image = formatSample(join(temporaryFolder(), 'long.raw'), 2 * GIB);
    change(
      image,
      'write /dev/null patch',
      'fallocate /patch 0 99999',
      'set_inode_field /patch size 409600000',
    );
    const { map } = await readPatch(image);
    expect(map.extents).toEqual(listExtents(image, '/patch').extents);
    expect(map.extents.every((extent) => extent.unwritten)).toBe(true);
    expect(Math.max(...map.extents.map((extent) => extent.blockCount))).toBe(32_767);

    const written = await formatWithPatch(temporaryFolder(), 2 * GIB, 512 * MIB);
    const longest = Math.max(...(await readPatch(written)).map.extents.map((extent) => extent.blockCount));
    expect(longest).toBe(32_768);
  });

  test('a file with mapped blocks has no extents, says its flag', async () => {
    const options = ['-O', 'none,filetype,sparse_super'];
    const image = formatSample(join(temporaryFolder(), 'ext2.raw'), 16 * MIB, ...options);
    const filesystem = await openImage(image);
    const root = await readInode(filesystem, ROOT_INODE_NUMBER);
    await expect(readFileMap(filesystem, root)).rejects.toMatchObject({
      kind: 'image',
      context: { expected: 'a file with extents (0x80000)' },
    });
  });
});

describe('mergeExtents', () => {
  const extent = (fileBlock: number, fsBlock: number, blockCount: number, unwritten = false): Extent => ({
    fileBlock,
    fsBlock,
    blockCount,
    unwritten,
  });

  test.each([
    ['nothing', [], []],
    ['one', [extent(0, 10, 5)], [extent(0, 10, 5)]],
    ['two that continue each other', [extent(0, 10, 5), extent(5, 15, 3)], [extent(0, 10, 8)]],
    ['three in a row', [extent(0, 10, 5), extent(5, 15, 3), extent(8, 18, 1)], [extent(0, 10, 9)]],
    ['a gap on disk', [extent(0, 10, 5), extent(5, 16, 3)], [extent(0, 10, 5), extent(5, 16, 3)]],
    ['a gap in the file', [extent(0, 10, 5), extent(6, 15, 3)], [extent(0, 10, 5), extent(6, 15, 3)]],
    ['two kinds', [extent(0, 10, 5), extent(5, 15, 3, true)], [extent(0, 10, 5), extent(5, 15, 3, true)]],
    ['two unwritten', [extent(0, 10, 5, true), extent(5, 15, 3, true)], [extent(0, 10, 8, true)]],
  ])('%s', (_name, extents, merged) => {
    expect(mergeExtents(extents)).toEqual(merged);
  });

  test('maps every file block to the same disk block as before', () => {
    const piece = fc.record({
      gap: fc.constantFrom(0, 0, 0, 1),
      jump: fc.constantFrom(0, 0, 0, 7),
      blockCount: fc.integer({ min: 1, max: 4 }),
      unwritten: fc.boolean(),
    });
    const blocksOf = (extents: readonly Extent[]) =>
      extents.flatMap(({ fileBlock, fsBlock, blockCount, unwritten }) =>
        Array.from({ length: blockCount }, (_, index) => [fileBlock + index, fsBlock + index, unwritten]),
      );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        let fileBlock = 0;
        let fsBlock = 100;
        const extents = pieces.map(({ gap, jump, blockCount, unwritten }) => {
          const made = extent(fileBlock + gap, fsBlock + jump, blockCount, unwritten);
          fileBlock = made.fileBlock + blockCount;
          fsBlock = made.fsBlock + blockCount;
          return made;
        });
        const merged = mergeExtents(extents);
        expect(blocksOf(merged)).toEqual(blocksOf(extents));
        expect(mergeExtents(merged)).toEqual(merged);
      }),
    );
  });
});
