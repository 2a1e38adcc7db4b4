import { descriptorChecksum, hasFeature } from './features.js';
import { GROUP_BLOCK_UNINIT, GROUP_INODE_UNINIT, GROUP_INODE_ZEROED, groupDescriptor } from './layout.js';
import type { Superblock } from './superblock.js';

/** One block group, as its descriptor has it. Block numbers count from the start of the file system. */
export interface BlockGroup {
  readonly index: number;
  readonly firstBlock: number;
  readonly blockCount: number;
  readonly blockBitmapBlock: number;
  readonly inodeBitmapBlock: number;
  readonly inodeTableBlock: number;
  /** With `bigalloc`: of all its free clusters, also when the last of them reaches past the end. */
  readonly freeBlockCount: number;
  readonly freeInodeCount: number;
  readonly usedDirectoryCount: number;
  /** The block bitmap on disk is meaningless (all free but the group's own metadata). */
  readonly blockBitmapUninitialised: boolean;
  /** The inode bitmap on disk is meaningless (no inode in use). */
  readonly inodeBitmapUninitialised: boolean;
  /** The part of the inode table behind the used inodes was written with zeros. */
  readonly inodeTableZeroed: boolean;
  /** Inodes at the end of the table that were never used. */
  readonly unusedInodeCount: number;
  /** Of the bitmaps: 32 bits, or the lower 16 of them in a descriptor of 32 bytes. For `metadata_csum` only. */
  readonly blockBitmapChecksum: number;
  readonly inodeBitmapChecksum: number;
}

type DescriptorField = Parameters<typeof groupDescriptor.number>[2];

/** Bytes of inode table in each group. */
export function inodeTableBytes(superblock: Superblock): number {
  return superblock.inodesPerGroup * superblock.inodeBytes;
}

export function inodeTableBlocks(superblock: Superblock): number {
  return Math.ceil(inodeTableBytes(superblock) / superblock.blockBytes);
}

/** Clusters of a group; blocks, without `bigalloc`. The last cluster of all may reach past the end. */
export function clusterCount({ blocksPerCluster }: Superblock, { blockCount }: BlockGroup): number {
  return Math.ceil(blockCount / blocksPerCluster);
}

/** The end of the last of what a group's descriptor names. */
export function metadataEnd(superblock: Superblock, group: BlockGroup): number {
  const tableEnd = group.inodeTableBlock + inodeTableBlocks(superblock);
  return Math.max(group.blockBitmapBlock + 1, group.inodeBitmapBlock + 1, tableEnd);
}

/** As a descriptor has it, nothing checked. */
export function decodeGroup(superblock: Superblock, view: DataView, at: number, index: number): BlockGroup {
  const low = (name: DescriptorField): number => groupDescriptor.number(view, at, name);
  // Without `64bit` the upper halves are not on disk.
  const wide = superblock.descriptorBytes >= groupDescriptor.sizeBytes;
  const high = (name: DescriptorField, factor: number): number =>
    wide ? groupDescriptor.number(view, at, name) * factor : 0;
  const firstBlock = superblock.firstDataBlock + index * superblock.blocksPerGroup;
  const freeClusters = low('bg_free_blocks_count_lo') + high('bg_free_blocks_count_hi', 2 ** 16);
  const protectedFlags = descriptorChecksum(superblock.features) !== undefined;
  const flags = protectedFlags ? low('bg_flags') : 0;
  return {
    index,
    firstBlock,
    blockCount: Math.min(superblock.blocksPerGroup, superblock.blockCount - firstBlock),
    blockBitmapBlock: low('bg_block_bitmap_lo') + high('bg_block_bitmap_hi', 2 ** 32),
    inodeBitmapBlock: low('bg_inode_bitmap_lo') + high('bg_inode_bitmap_hi', 2 ** 32),
    inodeTableBlock: low('bg_inode_table_lo') + high('bg_inode_table_hi', 2 ** 32),
    freeBlockCount: freeClusters * superblock.blocksPerCluster,
    freeInodeCount: low('bg_free_inodes_count_lo') + high('bg_free_inodes_count_hi', 2 ** 16),
    usedDirectoryCount: low('bg_used_dirs_count_lo') + high('bg_used_dirs_count_hi', 2 ** 16),
    blockBitmapUninitialised: hasFeature(flags, GROUP_BLOCK_UNINIT),
    inodeBitmapUninitialised: hasFeature(flags, GROUP_INODE_UNINIT),
    inodeTableZeroed: hasFeature(flags, GROUP_INODE_ZEROED),
    unusedInodeCount: protectedFlags ? low('bg_itable_unused_lo') + high('bg_itable_unused_hi', 2 ** 16) : 0,
    blockBitmapChecksum: low('bg_block_bitmap_csum_lo') + high('bg_block_bitmap_csum_hi', 2 ** 16),
    inodeBitmapChecksum: low('bg_inode_bitmap_csum_lo') + high('bg_inode_bitmap_csum_hi', 2 ** 16),
  };
}
