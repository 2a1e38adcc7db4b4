/*
 * One field of a good image is damaged at a time, and the superblock's checksum put right: each damage must be one
 * named error of kind `image`, found in that field.
 */
import { copyFileSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { openExt } from '../../src/ext/filesystem.js';
import { readInode } from '../../src/ext/inode.js';
import { SUPERBLOCK_OFFSET_BYTES, groupDescriptor, superBlock } from '../../src/ext/layout.js';
import { decodeSuperblock } from '../../src/ext/superblock.js';
import { KIB, MIB } from '../../src/units.js';
import { requireTool } from '../oracles/require-tool.js';
import { flipByte, formatSample, writeAt } from '../oracles/sample-image.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { openImage, readSuperblock, writeSuperblock } from './images.js';

beforeEach((context) => requireTool(context, 'mke2fs'));

type SuperblockField = keyof typeof superBlock.rows;

const HUGE = 0xffffffff;
const BLOCK_BYTES = 4 * KIB;

function sample(): string {
  return formatSample(join(temporaryFolder(), 'sample.raw'), 16 * MIB);
}

function damageSuperblock(image: string, values: Partial<Record<SuperblockField, number>>): void {
  const bytes = readSuperblock(image);
  for (const [name, value] of Object.entries(values)) {
    superBlock.set(bytes, name as SuperblockField, value);
  }
  writeSuperblock(image, bytes);
}

test('before any damage the image opens', async () => {
  const { superblock, groups } = await openImage(sample());
  expect(superblock).toMatchObject({ blockBytes: BLOCK_BYTES, blockCount: 4096 });
  expect(groups).toHaveLength(1);
});

describe('a superblock', () => {
  test.for([
    ['no magic', { s_magic: 0 }, 's_magic 0x0', 's_magic'],
    ['a swapped magic', { s_magic: 0x53ef }, 's_magic 0x53ef', 's_magic'],
    ['a revision of the future', { s_rev_level: 2 }, 's_rev_level 2', 's_rev_level'],
    ['compressed files', { s_feature_incompat: 0x43 }, 'compression', 's_feature_incompat'],
    ['a journal device', { s_feature_incompat: 0x8 }, 'journal_dev', 's_feature_incompat'],
    ['data in directories', { s_feature_incompat: 0x1042 }, 'dirdata', 's_feature_incompat'],
    ['a feature of the future', { s_feature_incompat: 0x80000042 }, 'FEATURE_I31', 's_feature_incompat'],
    ['two of them', { s_feature_incompat: 0x1043 }, 'compression, dirdata', 's_feature_incompat'],
    ['blocks of 128 KiB', { s_log_block_size: 7 }, 's_log_block_size 7', 's_log_block_size'],
    ['blocks of 2^4095 KiB', { s_log_block_size: HUGE }, 's_log_block_size 4294967295', 's_log_block_size'],
    ['no blocks', { s_blocks_count_lo: 0 }, '0 blocks', 's_blocks_count_lo'],
    ['a first block past the end', { s_first_data_block: 4096 }, '4096', 's_first_data_block'],
    ['another first block', { s_first_data_block: 1 }, 's_first_data_block 1', 's_first_data_block'],
    ['another number of clusters', { s_clusters_per_group: 32_760 }, '32760', 's_clusters_per_group'],
    ['another number of blocks', { s_blocks_per_group: 32_760 }, '32760', 's_clusters_per_group'],
    ['no blocks in a group', { s_blocks_per_group: 0 }, 's_blocks_per_group 0', 's_blocks_per_group'],
    ['7 blocks in a group', { s_blocks_per_group: 7 }, 's_blocks_per_group 7', 's_blocks_per_group'],
    [
      'more blocks in a group than its bitmap has bits',
      { s_blocks_per_group: 32_769 },
      's_blocks_per_group 32769',
      's_blocks_per_group',
    ],
    ['no inodes in a group', { s_inodes_per_group: 0 }, 's_inodes_per_group 0', 's_inodes_per_group'],
    [
      'more inodes in a group than its bitmap has bits',
      { s_inodes_per_group: 32_769 },
      's_inodes_per_group 32769',
      's_inodes_per_group',
    ],
    ['inodes of nothing', { s_inode_size: 0 }, 's_inode_size 0', 's_inode_size'],
    ['inodes of 127 bytes', { s_inode_size: 127 }, 's_inode_size 127', 's_inode_size'],
    ['inodes of 192 bytes', { s_inode_size: 192 }, 's_inode_size 192', 's_inode_size'],
    ['inodes larger than a block', { s_inode_size: 8192 }, 's_inode_size 8192', 's_inode_size'],
    ['descriptors of nothing', { s_desc_size: 0 }, 's_desc_size 0', 's_desc_size'],
    ['descriptors of 65 bytes', { s_desc_size: 65 }, 's_desc_size 65', 's_desc_size'],
  ] as const)('with %s is refused', async ([, values, found, field]) => {
    const image = sample();
    damageSuperblock(image, values);
    const [fieldOffset] = superBlock.rows[field];
    await expect(openImage(image)).rejects.toMatchObject({
      kind: 'image',
      message: 'this is not an ext file system that can be read',
      context: {
        found: expect.stringContaining(found) as unknown,
        offset: SUPERBLOCK_OFFSET_BYTES + fieldOffset,
      },
    });
  });

  test('with a wrong checksum is refused, wherever the wrong byte is', async () => {
    const image = sample();
    // Bytes that nothing else looks at: the last mount point, the reserved space, the checksum itself.
    for (const name of ['s_last_mounted', 's_reserved', 's_checksum'] as const) {
      const at = SUPERBLOCK_OFFSET_BYTES + superBlock.rows[name][0] + 1;
      flipByte(image, at);
      await expect(openImage(image)).rejects.toMatchObject({
        kind: 'image',
        context: { found: expect.stringMatching(/^s_checksum 0x/) as unknown },
      });
      flipByte(image, at);
    }
    await expect(openImage(image)).resolves.toBeDefined();
  });

  test('whose bytes are random is refused for its magic', () => {
    const random = Buffer.from(
      Array.from({ length: superBlock.sizeBytes }, (_, index) => (index * 89) & 0xff),
    );
    expect(() => decodeSuperblock(random)).toThrow(expect.objectContaining({ kind: 'image' }) as Error);
  });
});

describe('a table of descriptors', () => {
  test('larger than any that we could read is refused before it is read', async () => {
    const image = sample();
    damageSuperblock(image, { s_blocks_count_hi: 0xff });
    await expect(openImage(image)).rejects.toMatchObject({
      kind: 'image',
      message: 'the group descriptor table is damaged',
      context: { expected: `${32 * MIB} at most` },
    });
  });

  test('of a disk larger than arithmetic can address is refused, too', async () => {
    const image = sample();
    // 2^37 and more blocks of 64 KiB: the last byte has a number beyond 2^53.
    damageSuperblock(image, { s_log_block_size: 6, s_blocks_per_group: 524_288, s_blocks_count_hi: 0x30 });
    truncateSync(image, 64 * MIB);
    const readRoot = async () => readInode(await openImage(image), 2);
    writeAt(image, 64 * KIB, Buffer.alloc(MIB));
    writeAt(image, 64 * KIB, groupDescriptor.encode({ bg_inode_table_hi: 0x2f }));
    await expect(readRoot()).rejects.toMatchObject({
      kind: 'image',
      context: { expected: '1 to 137438953471 blocks' },
    });
  });

  test('that the image does not hold is refused', async () => {
    const image = sample();
    damageSuperblock(image, { s_blocks_count_lo: HUGE });
    truncateSync(image, 64 * KIB);
    const report = () => undefined;
    await expect(openImage(image, { report })).rejects.toMatchObject({
      kind: 'image',
      message: 'the image ends too early',
    });
  });
});

test.for([0, -1, 4097, HUGE])('inode number %d, which no group has, is refused', async (inodeNumber) => {
  await expect(readInode(await openImage(sample()), inodeNumber)).rejects.toMatchObject({
    kind: 'image',
    message: `inode ${inodeNumber} is damaged`,
  });
});

test('an image that ends within its superblock is refused', async () => {
  const image = sample();
  const cut = `${image}.cut`;
  copyFileSync(image, cut);
  truncateSync(cut, SUPERBLOCK_OFFSET_BYTES + 100);
  await expect(openImage(cut)).rejects.toMatchObject({
    kind: 'image',
    message: 'the image ends too early',
    context: { found: '100 bytes', expected: '1024 bytes' },
  });
});

test('an error of whoever reads passes through as it is', async () => {
  const broken = new Error('EIO');
  await expect(openExt(() => Promise.reject(broken))).rejects.toBe(broken);
});
