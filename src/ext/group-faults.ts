import { hasFeature } from './features.js';
import { groupHead } from './group-head.js';
import { clusterCount, inodeTableBlocks, type BlockGroup } from './block-group.js';
import { INCOMPAT_FLEX_BG } from './layout.js';
import type { Superblock } from './superblock.js';

/** What is wrong with a descriptor, as text. */
export interface DescriptorFault {
  readonly found: string;
  readonly expected: string;
}

/**
 * What makes the places of a group unusable (fs/ext4/super.c, ext4_check_descriptors): they lie outside the file
 * system, without `flex_bg` outside the group, on the superblock and the descriptors, or on each other.
 *
 * @param firstHeadEnd where the superblock and the descriptors of group 0 end
 */
export function placeFault(
  superblock: Superblock,
  group: BlockGroup,
  firstHeadEnd: number,
): DescriptorFault | undefined {
  const { blockBitmapBlock, inodeBitmapBlock, inodeTableBlock } = group;
  const tableBlocks = inodeTableBlocks(superblock);
  const tableEnd = inodeTableBlock + tableBlocks;
  const flexible = hasFeature(superblock.features.incompat, INCOMPAT_FLEX_BG);
  const least = flexible
    ? firstHeadEnd
    : Math.max(firstHeadEnd, groupHead(superblock, group.index).descriptorsEnd);
  const end = flexible ? superblock.blockCount : group.firstBlock + group.blockCount;
  const within = (from: number, to: number): boolean => from >= least && to <= end;
  const inTable = (block: number): boolean => block >= inodeTableBlock && block < tableEnd;
  const fits =
    within(blockBitmapBlock, blockBitmapBlock + 1) &&
    within(inodeBitmapBlock, inodeBitmapBlock + 1) &&
    within(inodeTableBlock, tableEnd) &&
    blockBitmapBlock !== inodeBitmapBlock &&
    !inTable(blockBitmapBlock) &&
    !inTable(inodeBitmapBlock);
  if (fits) return undefined;
  return {
    found: `bitmaps ${blockBitmapBlock} and ${inodeBitmapBlock}, inode table ${inodeTableBlock} to ${tableEnd - 1}`,
    expected: `blocks ${least} to ${end - 1}, apart from each other`,
  };
}

/** Counts larger than what is counted; the group can be used all the same. */
export function countFault(superblock: Superblock, group: BlockGroup): DescriptorFault | undefined {
  const { freeBlockCount, freeInodeCount, usedDirectoryCount, unusedInodeCount } = group;
  const { inodesPerGroup } = superblock;
  const mostBlocks = clusterCount(superblock, group) * superblock.blocksPerCluster;
  const most = Math.max(freeInodeCount, usedDirectoryCount, unusedInodeCount);
  if (freeBlockCount <= mostBlocks && most <= inodesPerGroup) return undefined;
  return {
    found: `${freeBlockCount} free blocks, ${freeInodeCount} free inodes, ${usedDirectoryCount} folders, ${unusedInodeCount} unused inodes`,
    expected: `at most ${mostBlocks} blocks, ${inodesPerGroup} inodes`,
  };
}
