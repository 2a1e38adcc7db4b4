import type { ReportFinding } from '../findings.js';
import { KIB, MIB } from '../units.js';
import { corrupt } from './corrupt.js';
import { hasClusters, hasFeature, type Features } from './features.js';
import { INCOMPAT_64BIT } from './layout.js';
import {
  DESCRIPTOR_BYTES,
  GOOD_OLD_FIRST_INODE,
  GOOD_OLD_INODE_BYTES,
  MAX_DESCRIPTOR_BYTES,
  MIN_DESCRIPTOR_BYTES_64BIT,
  REVISION_ORIGINAL,
} from './superblock-values.js';
import { fieldFinding, refusal, wide, type RawSuperblock } from './superblock-field.js';

/** Sizes and counts: what says where anything is. */
export interface Geometry {
  readonly blockBytes: number;
  readonly blockCount: number;
  /** The block of group 0: 1 with blocks of 1 KiB, else 0 (with `bigalloc` always 0). */
  readonly firstDataBlock: number;
  readonly blocksPerGroup: number;
  /** With `bigalloc` a bit of a block bitmap stands for so many blocks, else for 1. */
  readonly blocksPerCluster: number;
  readonly clusterBytes: number;
  readonly inodesPerGroup: number;
  readonly inodeCount: number;
  readonly inodeBytes: number;
  /** The first inode that is not reserved. */
  readonly firstInodeNumber: number;
  readonly groupCount: number;
  /** Bytes of one group descriptor on disk: 32, or a power of two from 64 to 1024. */
  readonly descriptorBytes: number;
}

/** A table of groups larger than this is not one of a disk we could read (16 TiB with 4 KiB blocks: 8 MiB). */
const MAX_DESCRIPTOR_TABLE_BYTES = 32 * MIB;
/** 2 TiB in groups of 8 MiB, those of 1 KiB blocks, or 32 TiB in those of 4 KiB: each has two bitmaps to be read. */
const MAX_GROUPS = 2 ** 18;
/** 64 KiB (EXT4_MAX_BLOCK_LOG_SIZE); clusters end at 512 MiB (e2fsprogs, EXT2_MAX_CLUSTER_LOG_SIZE). */
const MAX_LOG_BLOCK_SIZE = 6;
const MAX_LOG_CLUSTER_SIZE = 19;
const LARGEST_SAFE = Number.MAX_SAFE_INTEGER;

function isPowerOfTwo(value: number): boolean {
  return value > 0 && (value & (value - 1)) === 0;
}

function requireRange(
  field: Parameters<typeof refusal>[0],
  value: number,
  least: number,
  most: number,
  note = '',
): void {
  if (value >= least && value <= most) return;
  throw refusal(field, `${field} ${value}`, `${least} to ${most}${note}`);
}

/**
 * Blocks in a cluster. Without `bigalloc` the fields of clusters are those of fragments, which nobody ever made.
 *
 * @throws PatchVdiError `image` when a group has another number of clusters than of blocks: one of the two is wrong,
 *   and nobody knows which
 */
function decodeClusters(raw: RawSuperblock, features: Features, report: ReportFinding): number {
  const bigalloc = hasClusters(features);
  if (bigalloc) {
    requireRange('s_log_cluster_size', raw.s_log_cluster_size, raw.s_log_block_size, MAX_LOG_CLUSTER_SIZE);
  } else if (raw.s_log_cluster_size !== raw.s_log_block_size) {
    const found = `s_log_cluster_size ${raw.s_log_cluster_size}`;
    const expected = `${raw.s_log_block_size}, as s_log_block_size`;
    report(fieldFinding('error', 'cluster-size', 's_log_cluster_size', found, expected));
  }
  const blocksPerCluster = bigalloc ? 2 ** (raw.s_log_cluster_size - raw.s_log_block_size) : 1;
  if (raw.s_clusters_per_group * blocksPerCluster !== raw.s_blocks_per_group) {
    const found = `s_clusters_per_group ${raw.s_clusters_per_group}, s_blocks_per_group ${raw.s_blocks_per_group}`;
    const expected = `${blocksPerCluster} blocks for each cluster`;
    throw refusal('s_clusters_per_group', found, expected);
  }
  return blocksPerCluster;
}

function decodeInodes(raw: RawSuperblock, blockBytes: number, groupCount: number, report: ReportFinding) {
  requireRange('s_inodes_per_group', raw.s_inodes_per_group, 1, 8 * blockBytes);
  const original = raw.s_rev_level === REVISION_ORIGINAL;
  const inodeBytes = original ? GOOD_OLD_INODE_BYTES : raw.s_inode_size;
  if (inodeBytes < GOOD_OLD_INODE_BYTES || inodeBytes > blockBytes || !isPowerOfTwo(inodeBytes)) {
    const expected = `a power of two from ${GOOD_OLD_INODE_BYTES} to ${blockBytes}`;
    throw refusal('s_inode_size', `s_inode_size ${inodeBytes}`, expected);
  }
  const inodeCount = groupCount * raw.s_inodes_per_group;
  if (raw.s_inodes_count !== inodeCount) {
    const expected = `${inodeCount}: ${raw.s_inodes_per_group} for each of ${groupCount} groups`;
    report(fieldFinding('error', 'inode-count', 's_inodes_count', `${raw.s_inodes_count} inodes`, expected));
  }
  const firstInodeNumber = original ? GOOD_OLD_FIRST_INODE : raw.s_first_ino;
  if (firstInodeNumber < GOOD_OLD_FIRST_INODE || firstInodeNumber > inodeCount) {
    const expected = `${GOOD_OLD_FIRST_INODE} to ${inodeCount}`;
    report(fieldFinding('error', 'first-inode', 's_first_ino', `s_first_ino ${firstInodeNumber}`, expected));
  }
  // As the superblock tells it: what it tells too much is in no group, and reading it fails.
  return {
    inodesPerGroup: raw.s_inodes_per_group,
    inodeCount: raw.s_inodes_count,
    inodeBytes,
    firstInodeNumber,
  };
}

function decodeDescriptorBytes(raw: RawSuperblock, has64bit: boolean): number {
  if (!has64bit) return DESCRIPTOR_BYTES;
  const bytes = raw.s_desc_size;
  if (bytes >= MIN_DESCRIPTOR_BYTES_64BIT && bytes <= MAX_DESCRIPTOR_BYTES && isPowerOfTwo(bytes))
    return bytes;
  const expected = `a power of two from ${MIN_DESCRIPTOR_BYTES_64BIT} to ${MAX_DESCRIPTOR_BYTES}`;
  throw refusal('s_desc_size', `s_desc_size ${bytes}`, expected);
}

/**
 * Decodes and checks everything that places anything, as the kernel and libext2fs do (fs/ext4/super.c,
 * ext4_fill_super; lib/ext2fs/openfs.c).
 *
 * @throws PatchVdiError `image` for what leaves no sensible layout
 */
export function decodeGeometry(raw: RawSuperblock, features: Features, report: ReportFinding): Geometry {
  requireRange('s_log_block_size', raw.s_log_block_size, 0, MAX_LOG_BLOCK_SIZE, ' (1 KiB to 64 KiB)');
  const blockBytes = KIB * 2 ** raw.s_log_block_size;
  const has64bit = hasFeature(features.incompat, INCOMPAT_64BIT);
  const blockCount = wide(raw.s_blocks_count_lo, has64bit ? raw.s_blocks_count_hi : 0);
  // Every offset must stay a safe integer; that is 8 PiB, and files end at 16 TiB.
  const maxBlockCount = Math.floor(LARGEST_SAFE / blockBytes);
  const firstDataBlock = blockBytes === KIB && !hasClusters(features) ? 1 : 0;
  if (blockCount <= firstDataBlock || blockCount > maxBlockCount) {
    throw refusal(
      's_blocks_count_lo',
      `${blockCount} blocks`,
      `${firstDataBlock + 1} to ${maxBlockCount} blocks`,
    );
  }
  requireRange('s_first_data_block', raw.s_first_data_block, firstDataBlock, firstDataBlock);
  const mostBits = 8 * blockBytes;
  if (!hasClusters(features)) requireRange('s_blocks_per_group', raw.s_blocks_per_group, 8, mostBits);
  requireRange('s_clusters_per_group', raw.s_clusters_per_group, 8, mostBits);
  const blocksPerCluster = decodeClusters(raw, features, report);
  const descriptorBytes = decodeDescriptorBytes(raw, has64bit);
  const groupCount = Math.ceil((blockCount - firstDataBlock) / raw.s_blocks_per_group);
  const tableBytes = groupCount * descriptorBytes;
  if (tableBytes > MAX_DESCRIPTOR_TABLE_BYTES) {
    const offset = (firstDataBlock + 1) * blockBytes;
    const expected = `${MAX_DESCRIPTOR_TABLE_BYTES} at most`;
    throw corrupt('the group descriptor table', offset, `${tableBytes} bytes`, expected);
  }
  if (groupCount > MAX_GROUPS) {
    throw refusal('s_blocks_per_group', `${groupCount} groups`, `${MAX_GROUPS} at most`);
  }
  return {
    blockBytes,
    blockCount,
    firstDataBlock,
    blocksPerGroup: raw.s_blocks_per_group,
    blocksPerCluster,
    clusterBytes: blockBytes * blocksPerCluster,
    groupCount,
    descriptorBytes,
    ...decodeInodes(raw, blockBytes, groupCount, report),
  };
}
