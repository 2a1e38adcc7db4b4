import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import type { ExtFilesystem } from '../../src/ext/filesystem.js';
import { readInode } from '../../src/ext/inode.js';
import { readFileMap } from '../../src/ext/file-extents.js';
import { firstFreeBlock, mapMetadata, type MetadataRange } from '../../src/ext/metadata-map.js';
import { GIB, KIB, MIB } from '../../src/units.js';
import { ask, change } from '../oracles/debugfs.js';
import { clean } from '../oracles/e2fsck.js';
import { sameBytes } from '../oracles/qemu-img.js';
import { requireTool } from '../oracles/require-tool.js';
import { runJudge } from '../oracles/run-judge.js';
import { createSparse, formatSample, readAt, writeAt } from '../oracles/sample-image.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { formatWithPatch, inodeOf, openImage } from './images.js';

beforeEach((context) => requireTool(context, 'mke2fs', 'debugfs', 'e2fsck', 'qemu-img', 'cmp'));

async function mapOf(filesystem: ExtFilesystem): Promise<MetadataRange[]> {
  const inode = await readInode(filesystem, await inodeOf(filesystem, 'patch'));
  return mapMetadata(filesystem, (await readFileMap(filesystem, inode)).treeBlocks);
}

/** A new sparse file that has nothing of the image but the mapped ranges. */
function copyRanges(image: string, sizeBytes: number, ranges: readonly MetadataRange[]): string {
  const copy = createSparse(`${image}.copy`, sizeBytes);
  for (const { offset, length } of ranges) writeAt(copy, offset, readAt(image, offset, length));
  return copy;
}

const SIZES = [
  { size: 16 * MIB, patch: 1 },
  { size: 16 * MIB, patch: 10 * MIB },
  { size: 64 * MIB, patch: 16 * MIB },
  { size: 256 * MIB, patch: 64 * MIB },
  { size: GIB, patch: 256 * MIB },
  { size: 7552 * MIB, patch: 1888 * MIB },
  { size: 64_512 * MIB, patch: 43 * GIB },
  { size: 2040 * GIB, patch: 500 * GIB },
];

describe('the mapped ranges alone', () => {
  test.for(SIZES)('are the whole template of $size bytes with $patch of patch', async ({ size, patch }) => {
    const image = await formatWithPatch(temporaryFolder(), size, patch);
    // mke2fs leaves the file with its full 2 MiB; e2fsck has nothing against that.
    const ranges = await mapOf(await openImage(image));
    const copy = copyRanges(image, size, ranges);
    expect(sameBytes(image, copy)).toBe(true);
    if (size <= 64 * MIB) expect(runJudge('cmp', [image, copy])).toMatchObject({ exitCode: 0, stdout: '' });
    clean(copy);
  });

  test('each of them is needed: without any one the copy is another', async () => {
    const size = 16 * MIB;
    const image = await formatWithPatch(temporaryFolder(), size, 2 * MIB);
    const ranges = await mapOf(await openImage(image));
    expect(ranges.length).toBeGreaterThan(4);
    for (const left of ranges) {
      const others = ranges.filter((range) => range !== left);
      expect(sameBytes(image, copyRanges(image, size, others)), `without ${left.name}`).toBe(false);
    }
  });
});

test('the ranges are in order, whole blocks, disjoint, and have names that a person can read', async () => {
  const image = await formatWithPatch(temporaryFolder(), 64_512 * MIB, 20 * GIB);
  const ranges = await mapOf(await openImage(image));
  let end = 0;
  for (const { offset, length } of ranges) {
    expect(offset).toBeGreaterThanOrEqual(end);
    expect([offset % (4 * KIB), length % (4 * KIB)]).toEqual([0, 0]);
    end = offset + length;
  }
  expect(new Set(ranges.map(({ name }) => name))).toEqual(
    new Set([
      'superblock',
      'group descriptors',
      'block bitmaps',
      'inode bitmaps',
      'inode tables',
      'root directory',
      'lost+found',
      'extent tree of patch',
    ]),
  );
  expect(ranges[0]).toMatchObject({ name: 'superblock', offset: 0 });
});

describe('the first free block is the one that debugfs finds', () => {
  const theirs = (image: string): number =>
    Number(/found: (\d+)/.exec(ask(image, 'find_free_block 1 1'))?.[1]);

  test.for([16 * MIB, 256 * MIB, 4 * GIB, 64_512 * MIB])('in a template of %d bytes', async (size) => {
    const image = await formatWithPatch(temporaryFolder(), size, 4 * KIB);
    expect(await firstFreeBlock(await openImage(image))).toBe(theirs(image));
  });

  test.for(['1024', '4096'])('with blocks of %s bytes, wherever the first gap is', async (blockBytes) => {
    const image = formatSample(join(temporaryFolder(), 'sample.raw'), 16 * MIB, '-b', blockBytes);
    for (let round = 0; round < 20; round += 1) {
      const block = theirs(image);
      expect(await firstFreeBlock(await openImage(image))).toBe(block);
      change(image, `setb ${block}`);
    }
  });

  test('is undefined when there is none', async () => {
    const image = formatSample(join(temporaryFolder(), 'sample.raw'), 16 * MIB);
    const filesystem = await openImage(image);
    const full: ExtFilesystem = {
      ...filesystem,
      read: (_offset, length) => Promise.resolve(Buffer.alloc(length, 0xff)),
    };
    expect(await firstFreeBlock(full)).toBeUndefined();
  });
});
