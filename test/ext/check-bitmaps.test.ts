/* The counts are judged by dumpe2fs, on every layout; the damage by e2fsck. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { bitmapBytes, checkBitmaps, type BitmapFacts } from '../../src/ext/check-bitmaps.js';
import type { ExtFilesystem } from '../../src/ext/filesystem.js';
import { groupDescriptor, superBlock } from '../../src/ext/layout.js';
import type { Finding } from '../../src/findings.js';
import { MIB } from '../../src/units.js';
import { superblockField } from '../oracles/dumpe2fs.js';
import { clean } from '../oracles/e2fsck.js';
import { requireTool } from '../oracles/require-tool.js';
import { flipByte, formatSample, readAt, writeAt } from '../oracles/sample-image.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { fixtureBytes, memoryReader, openBytes } from './fixture-images.js';
import { WITHOUT_CHECKSUMS, openImage, readSuperblock, writeSuperblock } from './images.js';
import { testOnEveryLayout } from './layouts.js';

interface Checked {
  readonly facts: BitmapFacts;
  readonly findings: readonly Finding[];
}

async function check(image: string): Promise<Checked> {
  const findings: Finding[] = [];
  const report = (finding: Finding) => void findings.push(finding);
  const filesystem = await openImage(image, { report, diskBytes: statSync(image).size });
  return { facts: await checkBitmaps(filesystem), findings };
}

describe('the bitmaps have as many free blocks and inodes as dumpe2fs says', () => {
  testOnEveryLayout(async (image) => {
    const { facts, findings } = await check(image);
    expect(facts).toEqual({
      freeBlockCount: Number(superblockField(image, 'Free blocks')),
      freeInodeCount: Number(superblockField(image, 'Free inodes')),
      unreadGroupCount: 0,
    });
    expect(findings.filter(({ severity }) => severity === 'error')).toEqual([]);
  });
});

test('no more bytes are read than were announced, and in few pieces', async () => {
  for (const name of ['ext4-small-groups', 'ext4-uninit-bg', 'ext4-meta-bg-1k', 'ext2-small-groups']) {
    const { filesystem } = await openBytes(fixtureBytes(name));
    const readFixture = memoryReader(fixtureBytes(name));
    const lengths: number[] = [];
    const counting: ExtFilesystem = {
      ...filesystem,
      read: (offset, length) => {
        lengths.push(length);
        return readFixture(offset, length);
      },
    };
    await checkBitmaps(counting);
    const read = lengths.reduce((sum, length) => sum + length, 0);
    expect(read).toBeGreaterThan(0);
    expect(read).toBeLessThanOrEqual(bitmapBytes(filesystem));
    // The bitmaps of 4 groups lie side by side in the first.
    if (name === 'ext4-small-groups') expect(lengths.length).toBeLessThanOrEqual(8);
  }
});

test('an aborted check ends with the reason', async () => {
  const { filesystem } = await openBytes(fixtureBytes('ext4-small-groups'));
  const reason = new Error('enough');
  await expect(checkBitmaps(filesystem, { abortSignal: AbortSignal.abort(reason) })).rejects.toBe(reason);
});

const BLOCK_BYTES = 4096;

function sample(checksums: boolean): string {
  const image = join(temporaryFolder(), 'sample.raw');
  return formatSample(image, 300 * MIB, ...(checksums ? [] : ['-O', WITHOUT_CHECKSUMS]));
}

/** Where the bitmaps of group 0 are. */
async function bitmapOffsets(image: string): Promise<{ blocks: number; inodes: number }> {
  const { groups } = await openImage(image);
  const group = groups.at(0);
  return {
    blocks: (group?.blockBitmapBlock ?? 0) * BLOCK_BYTES,
    inodes: (group?.inodeBitmapBlock ?? 0) * BLOCK_BYTES,
  };
}

function raiseDescriptor(image: string, field: 'bg_free_blocks_count_lo' | 'bg_free_inodes_count_lo'): void {
  const bytes = readAt(image, BLOCK_BYTES, groupDescriptor.sizeBytes);
  groupDescriptor.set(bytes, field, groupDescriptor.decode(bytes)[field] - 1);
  writeAt(image, BLOCK_BYTES, bytes);
}

function lowerSuperblock(image: string, field: 's_free_blocks_count_lo' | 's_free_inodes_count'): void {
  const bytes = readSuperblock(image);
  superBlock.set(bytes, field, superBlock.decode(bytes)[field] - 1);
  writeSuperblock(image, bytes);
}

describe('one damage is one finding', () => {
  const cases: readonly [string, boolean, string, (image: string) => Promise<void> | void][] = [
    [
      'a bit of a block bitmap, with checksums',
      true,
      'block-bitmap-checksum',
      async (image) => flipByte(image, (await bitmapOffsets(image)).blocks + 4000),
    ],
    [
      'a bit of an inode bitmap, with checksums',
      true,
      'inode-bitmap-checksum',
      async (image) => flipByte(image, (await bitmapOffsets(image)).inodes + 100),
    ],
    [
      'a bit of a block bitmap',
      false,
      'group-free-blocks',
      async (image) => flipByte(image, (await bitmapOffsets(image)).blocks + 4000),
    ],
    [
      'a bit of an inode bitmap',
      false,
      'group-free-inodes',
      async (image) => flipByte(image, (await bitmapOffsets(image)).inodes + 100),
    ],
    [
      'free blocks of a descriptor',
      false,
      'group-free-blocks',
      (image) => raiseDescriptor(image, 'bg_free_blocks_count_lo'),
    ],
    [
      'free inodes of a descriptor',
      false,
      'group-free-inodes',
      (image) => raiseDescriptor(image, 'bg_free_inodes_count_lo'),
    ],
    [
      'free blocks of the superblock',
      true,
      'free-block-count',
      (image) => lowerSuperblock(image, 's_free_blocks_count_lo'),
    ],
    [
      'free inodes of the superblock',
      true,
      'free-inode-count',
      (image) => lowerSuperblock(image, 's_free_inodes_count'),
    ],
  ];
  test.for(cases)('%s', async ([, checksums, code, damage], context) => {
    requireTool(context, 'mke2fs', 'e2fsck');
    const image = sample(checksums);
    expect((await check(image)).findings).toEqual([]);
    clean(image);
    await damage(image);
    expect((await check(image)).findings).toMatchObject([{ code, severity: 'error' }]);
    expect(() => clean(image)).toThrow();
  });
});

test('in a file system that was not unmounted, counts that are behind are a warning', async (context) => {
  requireTool(context, 'mke2fs');
  const image = sample(true);
  lowerSuperblock(image, 's_free_blocks_count_lo');
  const bytes = readSuperblock(image);
  superBlock.set(bytes, 's_state', 0);
  writeSuperblock(image, bytes);
  const { findings } = await check(image);
  expect(findings.map(({ code, severity }) => [code, severity])).toEqual([
    ['not-clean', 'warning'],
    ['free-block-count', 'warning'],
  ]);
});
