import { KIB } from '../units.js';
import type { Superblock } from './superblock.js';

/** Consecutive blocks of the file system; `blockCount` may be 0. */
export interface BlockRun {
  readonly firstBlock: number;
  readonly blockCount: number;
}

/** What stands at the front of a group: each of these may be missing. In order, one behind the other. */
export interface GroupHead {
  readonly superblock: BlockRun;
  readonly descriptors: BlockRun;
  readonly reserved: BlockRun;
  /** The end of the superblock and the descriptors: nothing else may lie before it. */
  readonly descriptorsEnd: number;
  /** The end of all of them. */
  readonly endBlock: number;
}

/** The part of a superblock that places descriptors. */
export type DescriptorLayout = Pick<
  Superblock,
  | 'blockBytes'
  | 'blockCount'
  | 'firstDataBlock'
  | 'blocksPerGroup'
  | 'groupCount'
  | 'descriptorBytes'
  | 'backupGroups'
  | 'firstMetaGroup'
  | 'reservedDescriptorBlocks'
>;

export function descriptorsPerBlock({ blockBytes, descriptorBytes }: DescriptorLayout): number {
  return blockBytes / descriptorBytes;
}

/** Blocks of the whole table of descriptors. */
export function descriptorBlockCount(layout: DescriptorLayout): number {
  return Math.ceil(layout.groupCount / descriptorsPerBlock(layout));
}

/** Where a group starts. */
export function groupFirstBlock(layout: DescriptorLayout, group: number): number {
  return layout.firstDataBlock + group * layout.blocksPerGroup;
}

/** Whether an ascending list of numbers has one. */
function includesSorted(sorted: readonly number[], value: number): boolean {
  // Without `sparse_super` they are all numbers from 1 on.
  if (sorted[value - 1] === value) return true;
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if ((sorted[middle] ?? 0) < value) low = middle + 1;
    else high = middle;
  }
  return sorted[low] === value;
}

/** Whether a group has a superblock: the first, or a copy. */
export function hasSuperblock(layout: DescriptorLayout, group: number): boolean {
  return group === 0 || includesSorted(layout.backupGroups, group);
}

/** How many blocks of descriptors stand together behind each superblock. */
export function descriptorBlocksTogether(layout: DescriptorLayout): number {
  return layout.firstMetaGroup ?? descriptorBlockCount(layout);
}

/**
 * What stands at the front of a group (e2fsprogs, lib/ext2fs/closefs.c, ext2fs_super_and_bgd_loc2): a superblock where
 * there is a copy, behind it the descriptors and room for more of them. With `meta_bg` one block of descriptors stands
 * in the first, the second and the last of the groups that it describes.
 */
export function groupHead(layout: DescriptorLayout, group: number): GroupHead {
  let next = groupFirstBlock(layout, group);
  // The first superblock is always at 1024 bytes: with `bigalloc` and blocks of 1 KiB, group 0 starts before it.
  if (next === 0 && layout.blockBytes === KIB) next = 1;
  const take = (blockCount: number): BlockRun => {
    const fitting = Math.max(0, Math.min(blockCount, layout.blockCount - next));
    const run = { firstBlock: next, blockCount: fitting };
    next += fitting;
    return run;
  };
  const copy = hasSuperblock(layout, group);
  const superblock = take(copy ? 1 : 0);
  const perBlock = descriptorsPerBlock(layout);
  const { firstMetaGroup } = layout;
  const place = group % perBlock;
  let blocks = 0;
  if (firstMetaGroup === undefined || Math.floor(group / perBlock) < firstMetaGroup) {
    blocks = copy ? descriptorBlocksTogether(layout) : 0;
  } else if (place === 0 || place === 1 || place === perBlock - 1) {
    blocks = 1;
  }
  const descriptors = take(blocks);
  const descriptorsEnd = next;
  const reserved = take(copy ? layout.reservedDescriptorBlocks : 0);
  return { superblock, descriptors, reserved, descriptorsEnd, endBlock: next };
}

/** Where the descriptors are, the first copy of each, as runs of blocks in the order of the groups. */
export function* descriptorRuns(layout: DescriptorLayout): Generator<BlockRun> {
  const total = descriptorBlockCount(layout);
  const together = descriptorBlocksTogether(layout);
  if (together > 0) {
    const blockBehind = groupHead(layout, 0).superblock.firstBlock + 1;
    yield { firstBlock: blockBehind, blockCount: together };
  }
  const perBlock = descriptorsPerBlock(layout);
  for (let index = together; index < total; index += 1) {
    const group = index * perBlock;
    const { superblock } = groupHead(layout, group);
    yield { firstBlock: superblock.firstBlock + superblock.blockCount, blockCount: 1 };
  }
}
