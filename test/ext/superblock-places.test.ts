import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { superBlock } from '../../src/ext/layout.js';
import {
  GROUP_WINDOW_BYTES,
  backupGeometry,
  backupOffsets,
  defaultGroupStarts,
  superblocksIn,
} from '../../src/ext/superblock-places.js';
import { GIB, KIB, MIB } from '../../src/units.js';
import { backupsOf } from '../oracles/dumpe2fs.js';
import { requireTool } from '../oracles/require-tool.js';
import { runJudge } from '../oracles/run-judge.js';
import { createSparse, readAt } from '../oracles/sample-image.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';

beforeEach((context) => requireTool(context, 'mke2fs', 'dumpe2fs'));

function format(sizeBytes: number, ...options: readonly string[]): string {
  const image = createSparse(join(temporaryFolder(), 'image'), sizeBytes);
  expect(runJudge('mke2fs', ['-q', '-F', ...options, image])).toMatchObject({ exitCode: 0 });
  return image;
}

const DEFAULT_GROUPS: readonly (readonly [what: string, size: number, options: readonly string[]])[] = [
  ['1 KiB blocks', 600 * MIB, ['-t', 'ext4', '-b', '1024']],
  ['1 KiB blocks, a backup in every group', 300 * MIB, ['-t', 'ext2', '-b', '1024', '-O', 'none']],
  ['2 KiB blocks', 2 * GIB, ['-t', 'ext3', '-b', '2048']],
  [
    '2 KiB blocks, a backup in every group',
    GIB,
    ['-t', 'ext2', '-b', '2048', '-O', '^sparse_super,^resize_inode'],
  ],
  ['4 KiB blocks', 8 * GIB, ['-t', 'ext4', '-b', '4096']],
  [
    '4 KiB blocks, a backup in every group',
    2 * GIB,
    ['-t', 'ext2', '-b', '4096', '-O', '^sparse_super,^resize_inode'],
  ],
  [
    '4 KiB blocks, 64 bit, many groups',
    900 * GIB,
    ['-t', 'ext4', '-O', '64bit', '-E', 'lazy_itable_init=1', '-N', '1000000'],
  ],
  ['sparse_super2', 4 * GIB, ['-t', 'ext4', '-O', 'sparse_super2,^resize_inode', '-E', 'num_backup_sb=2']],
  [
    'sparse_super2 with one',
    4 * GIB,
    ['-t', 'ext4', '-O', 'sparse_super2,^resize_inode', '-E', 'num_backup_sb=1'],
  ],
  ['meta_bg', 4 * GIB, ['-t', 'ext4', '-O', 'meta_bg,^resize_inode']],
  ['bigalloc', 4 * GIB, ['-t', 'ext4', '-O', 'bigalloc', '-C', '65536']],
  ['64 KiB blocks', 70 * GIB, ['-t', 'ext4', '-b', '65536']],
];
const OTHER_GROUPS: typeof DEFAULT_GROUPS = [
  ['groups of 256 blocks', 16 * MIB, ['-t', 'ext4', '-b', '1024', '-g', '256', '-N', '64']],
  ['groups of 8000 blocks', 300 * MIB, ['-t', 'ext4', '-b', '4096', '-g', '8000']],
];

describe('the backups are where dumpe2fs says', () => {
  test.for([...DEFAULT_GROUPS, ...OTHER_GROUPS])('%s', ([, size, options]) => {
    const image = format(size, ...options);
    const { blockBytes, blocks } = backupsOf(image);
    const geometry = backupGeometry(readAt(image, 1024, 1024));
    expect(geometry?.blockBytes).toBe(blockBytes);
    const ours = geometry === undefined ? [] : [...backupOffsets(geometry, size)];
    expect(ours).toEqual(blocks.map((block) => block * blockBytes));
    // And the magic number is there.
    for (const offset of ours) expect(superblocksIn(readAt(image, offset, 1024))).toEqual([0]);
    // A disk that is smaller than the file system that was on it.
    const half = geometry === undefined ? [] : [...backupOffsets(geometry, size / 2)];
    expect(half).toEqual(ours.filter((offset) => offset + 1024 <= size / 2));
  });
});

test.for(DEFAULT_GROUPS)('%s: without any geometry, every window is found', ([, size, options]) => {
  const image = format(size, ...options);
  const { blockBytes, blocks } = backupsOf(image);
  const starts = [...defaultGroupStarts(size)];
  for (const offset of [1024, ...blocks.map((block) => block * blockBytes)]) {
    const start = starts.find((at) => offset >= at && offset + 1024 <= at + GROUP_WINDOW_BYTES);
    expect(start, `the superblock at ${offset}`).toBeDefined();
    const window = readAt(image, start ?? 0, GROUP_WINDOW_BYTES);
    expect(superblocksIn(window)).toContain(offset - (start ?? 0));
  }
});

describe('a superblock that makes no sense has no geometry', () => {
  const good = (): Uint8Array =>
    new Uint8Array(readFileSync(format(16 * MIB, '-t', 'ext4')).subarray(1024, 2048));

  test.for([
    ['no magic number', 's_magic', 0],
    ['blocks of 128 KiB', 's_log_block_size', 7],
    ['groups of 255 blocks', 's_blocks_per_group', 255],
    ['no groups', 's_blocks_per_group', 0],
    ['a third first block', 's_first_data_block', 2],
  ] as const)('%s', ([, field, value]) => {
    const bytes = good();
    expect(backupGeometry(bytes)).toBeDefined();
    superBlock.set(bytes, field, value);
    expect(backupGeometry(bytes)).toBeUndefined();
  });

  test('and one that claims to be huge is bounded by the disk', () => {
    const bytes = good();
    superBlock.set(bytes, 's_blocks_count_lo', 0xffffffff);
    superBlock.set(bytes, 's_log_block_size', 0);
    superBlock.set(bytes, 's_blocks_per_group', 256);
    superBlock.set(bytes, 's_feature_ro_compat', 0);
    superBlock.set(bytes, 's_feature_compat', 0);
    const geometry = backupGeometry(bytes);
    const offsets = geometry === undefined ? [] : [...backupOffsets(geometry, 16 * MIB)];
    expect(offsets.length).toBe((16 * MIB) / (256 * KIB) - 1);
  });
});
