import { firstClearBit, setClearBits } from '../bitmap.js';
import { corrupt, type BlockGroup, type ExtFilesystem } from '../filesystem.js';
import type { BlockRun } from './choose-units.js';
import type { BytePatch } from './patch.js';

/**
 * Marks blocks as used, group by group.
 *
 * @param runs in any order, apart from each other, free until now
 * @returns how many blocks of each group were taken, by the number of the group
 */
export async function* markBlocks(
  filesystem: ExtFilesystem,
  runs: readonly BlockRun[],
): AsyncGenerator<BytePatch, ReadonlyMap<number, number>> {
  const { superblock, groups } = filesystem;
  const inGroups = new Map<number, BlockRun[]>();
  for (const run of runs) {
    const end = run.firstBlock + run.blockCount;
    for (let at = run.firstBlock; at < end;) {
      const index = Math.floor((at - superblock.firstDataBlock) / superblock.blocksPerGroup);
      const groupEnd = superblock.firstDataBlock + (index + 1) * superblock.blocksPerGroup;
      const piece = { firstBlock: at, blockCount: Math.min(end, groupEnd) - at };
      const pieces = inGroups.get(index);
      if (pieces === undefined) inGroups.set(index, [piece]);
      else pieces.push(piece);
      at += piece.blockCount;
    }
  }
  const taken = new Map<number, number>();
  for (const [index, pieces] of inGroups) {
    const group = groups.at(index);
    if (group === undefined)
      throw corrupt('the file system', 0, `no group ${index}`, 'a group for every block');
    const offset = group.blockBitmapBlock * superblock.blockBytes;
    const bitmap = new Uint8Array(await filesystem.read(offset, superblock.blockBytes));
    let count = 0;
    for (const { firstBlock, blockCount } of pieces) {
      setClearBits(bitmap, firstBlock - group.firstBlock, blockCount);
      count += blockCount;
    }
    taken.set(index, count);
    yield { offset, bytes: bitmap };
  }
  return taken;
}

/** The first free inode of group 0 that is not reserved, and the bitmap with it marked. */
export async function takeInode(
  filesystem: ExtFilesystem,
): Promise<{ readonly inodeNumber: number; readonly patch: BytePatch }> {
  const { superblock, groups, read } = filesystem;
  const group: BlockGroup | undefined = groups.at(0);
  if (group === undefined) throw corrupt('the file system', 0, 'no group', 'at least one');
  const offset = group.inodeBitmapBlock * superblock.blockBytes;
  const bitmap = new Uint8Array(await read(offset, superblock.blockBytes));
  const bit = firstClearBit(bitmap, superblock.firstInodeNumber - 1);
  if (bit === -1 || bit >= superblock.inodesPerGroup) {
    throw corrupt('the inode bitmap', offset, 'no free inode in group 0', 'one for the file');
  }
  setClearBits(bitmap, bit, 1);
  return { inodeNumber: bit + 1, patch: { offset, bytes: bitmap } };
}
