import { MIB } from '../../units.js';
import { firstClearBit, firstSetBit } from '../bitmap.js';
import type { ExtFilesystem } from '../filesystem.js';
import { maximumFileBlocks } from './indirect-blocks.js';

/** Payload is placed in whole units of this, so that it shares none with metadata (the block size of a VHD). */
const UNIT_BYTES = 2 * MIB;
/** How much of an image the payload may take: the rest is room for indirect blocks, and scratch. */
const LARGEST_SHARE = 3 / 4;

/** Consecutive blocks of the file system. */
export interface BlockRun {
  readonly firstBlock: number;
  readonly blockCount: number;
}

/** An empty file system, divided. */
export interface ChosenUnits {
  /** Units in which nothing is: the payload fills them from the front. Runs of whole units, in order, apart. */
  readonly payload: readonly BlockRun[];
  /** The free blocks of the other units, in order: indirect blocks go there. */
  readonly spare: readonly BlockRun[];
  /** The longest payload, in blocks. */
  readonly capacityBlocks: number;
}

/** Runs in order; a run that continues the one before is joined to it. */
export class RunList {
  readonly runs: { firstBlock: number; blockCount: number }[] = [];
  /** Of all runs. */
  blockCount = 0;

  add(firstBlock: number, blockCount: number): void {
    const last = this.runs.at(-1);
    if (last !== undefined && last.firstBlock + last.blockCount === firstBlock) last.blockCount += blockCount;
    else this.runs.push({ firstBlock, blockCount });
    this.blockCount += blockCount;
  }
}

/**
 * Divides an empty file system by its block bitmaps: a unit that holds anything (a group's metadata, a superblock or
 * a backup of it, the journal, a folder) holds no payload.
 */
export async function chooseUnits(filesystem: ExtFilesystem): Promise<ChosenUnits> {
  const { superblock, groups, read } = filesystem;
  const { blockBytes } = superblock;
  const unitBlocks = UNIT_BYTES / blockBytes;
  const payload = new RunList();
  const spare = new RunList();
  for (const group of groups) {
    const bitmap = await read(group.blockBitmapBlock * blockBytes, Math.ceil(group.blockCount / 8));
    // Groups start on a unit: with 4 KiB blocks they have 64 of them.
    for (let bit = 0; bit < group.blockCount;) {
      const nextUsed = firstSetBit(bitmap, bit);
      const freeEnd = nextUsed === -1 ? group.blockCount : Math.min(nextUsed, group.blockCount);
      const freeUnits = Math.floor((freeEnd - bit) / unitBlocks);
      if (freeUnits > 0) payload.add(group.firstBlock + bit, freeUnits * unitBlocks);
      bit += freeUnits * unitBlocks;
      const unitEnd = Math.min(bit + unitBlocks, group.blockCount);
      addSpare(spare, bitmap, bit, unitEnd, group.firstBlock);
      bit = unitEnd;
    }
  }
  const unitCount = Math.floor(superblock.blockCount / unitBlocks);
  const shareBlocks = Math.floor(unitCount * LARGEST_SHARE) * unitBlocks;
  const capacityBlocks = Math.min(payload.blockCount, shareBlocks, maximumFileBlocks(blockBytes));
  return {
    payload: payload.runs,
    spare: spare.runs,
    capacityBlocks,
  };
}

/** Adds the free blocks of one unit. */
function addSpare(spare: RunList, bitmap: Uint8Array, from: number, end: number, firstBlock: number): void {
  for (let bit = from; bit < end;) {
    const clear = firstClearBit(bitmap, bit);
    if (clear === -1 || clear >= end) break;
    const used = firstSetBit(bitmap, clear);
    const runEnd = used === -1 ? end : Math.min(used, end);
    spare.add(firstBlock + clear, runEnd - clear);
    bit = runEnd;
  }
}

/** The first blocks of some runs. */
export function takeFront(runs: readonly BlockRun[], blockCount: number): BlockRun[] {
  const taken: BlockRun[] = [];
  let left = blockCount;
  for (const run of runs) {
    if (left === 0) break;
    const count = Math.min(left, run.blockCount);
    taken.push({ firstBlock: run.firstBlock, blockCount: count });
    left -= count;
  }
  return taken;
}
