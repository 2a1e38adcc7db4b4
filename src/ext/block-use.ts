import { firstClearBit, firstSetBit } from './bitmap.js';
import type { ExtFilesystem } from './filesystem.js';
import { groupFirstBlock, type BlockRun } from './group-head.js';
import { clusterCount, type BlockGroup } from './block-group.js';
import { BitmapReader, isInitialised, uninitialisedBlockBitmap } from './read-bitmaps.js';

/** Consecutive blocks that are all in use, or all free. */
export interface BlockUse extends BlockRun {
  readonly used: boolean;
}

/** The runs of one group. Blocks of a cluster are used or free together. */
function* groupUse(filesystem: ExtFilesystem, group: BlockGroup, bitmap: Uint8Array): Generator<BlockUse> {
  const { superblock } = filesystem;
  const clusters = clusterCount(superblock, group);
  for (let cluster = 0; cluster < clusters;) {
    const nextUsed = firstSetBit(bitmap, cluster);
    const used = nextUsed === cluster;
    const change = used ? firstClearBit(bitmap, cluster) : nextUsed;
    const end = change === -1 ? clusters : Math.min(change, clusters);
    const from = cluster * superblock.blocksPerCluster;
    const to = Math.min(end * superblock.blocksPerCluster, group.blockCount);
    yield { firstBlock: group.firstBlock + from, blockCount: to - from, used };
    cluster = end;
  }
}

async function* unmerged(filesystem: ExtFilesystem): AsyncGenerator<BlockUse> {
  const { superblock, groups } = filesystem;
  const reader = new BitmapReader(filesystem, 'block');
  // With blocks of 1 KiB, block 0 is in no group: it belongs to whoever boots.
  if (superblock.firstDataBlock > 0) {
    yield { firstBlock: 0, blockCount: superblock.firstDataBlock, used: true };
  }
  for (let index = 0; index < groups.length; index += 1) {
    const group = groups.at(index);
    if (group === undefined) {
      const firstBlock = groupFirstBlock(superblock, index);
      const blockCount = Math.min(superblock.blocksPerGroup, superblock.blockCount - firstBlock);
      yield { firstBlock, blockCount, used: true };
      continue;
    }
    const initialised = isInitialised('block', group);
    const bitmap = initialised ? await reader.read(group) : uninitialisedBlockBitmap(superblock, group);
    yield* groupUse(filesystem, group, bitmap);
  }
}

/**
 * Which blocks are in use, from the first to the last of the file system, as the block bitmaps have it: runs that
 * follow each other without a gap, used and free in turn. Of a group without a bitmap that means anything, only its
 * own metadata is in use; of a group that cannot be read, everything is. Holds one bitmap at a time.
 *
 * @throws PatchVdiError `image` when a bitmap cannot be read
 */
export async function* blockUse(filesystem: ExtFilesystem): AsyncGenerator<BlockUse> {
  let last: BlockUse | undefined;
  for await (const run of unmerged(filesystem)) {
    if (last?.used === run.used) {
      last = { ...last, blockCount: last.blockCount + run.blockCount };
      continue;
    }
    if (last !== undefined) yield last;
    last = run;
  }
  if (last !== undefined) yield last;
}
