import { viewOf } from '../../struct.js';
import {
  BLOCK_NUMBER_BYTES,
  DIRECT_BLOCK_COUNT,
  INDIRECT_LEVELS,
  INODE_BLOCKS_UNIT_BYTES,
  inode,
} from '../layout.js';
import { fieldBytes } from '../../struct.js';
import type { BlockRun } from './choose-units.js';

/** How many block numbers an indirect block holds. */
function numbersPerBlock(blockBytes: number): number {
  return blockBytes / BLOCK_NUMBER_BYTES;
}

/**
 * Indirect blocks of a file without holes.
 *
 * @param dataBlocks of the file
 */
function indirectBlockCount(dataBlocks: number, blockBytes: number): number {
  const perBlock = numbersPerBlock(blockBytes);
  let left = dataBlocks - DIRECT_BLOCK_COUNT;
  let count = 0;
  for (let level = 1; level <= INDIRECT_LEVELS && left > 0; level += 1) {
    const inTree = Math.min(left, perBlock ** level);
    for (let below = 1; below <= level; below += 1) count += Math.ceil(inTree / perBlock ** below);
    left -= inTree;
  }
  return count;
}

/**
 * The longest file in blocks that every kernel takes: `i_blocks` is a 32-bit number of 512-byte units, from which
 * the indirect blocks of three full trees are subtracted (Linux, fs/ext2/super.c, ext2_max_size).
 */
export function maximumFileBlocks(blockBytes: number): number {
  const counted = Math.floor((2 ** 32 - 1) / (blockBytes / INODE_BLOCKS_UNIT_BYTES));
  const perBlock = numbersPerBlock(blockBytes);
  let addressable = DIRECT_BLOCK_COUNT;
  for (let level = 1; level <= INDIRECT_LEVELS; level += 1) addressable += perBlock ** level;
  return Math.min(addressable, counted - indirectBlockCount(addressable, blockBytes));
}

/** Walks the blocks of some runs, one by one. */
class BlockCursor {
  readonly #runs: readonly BlockRun[];
  #index = 0;
  #within = 0;
  /** Blocks that are still to come. */
  left: number;

  constructor(runs: readonly BlockRun[]) {
    this.#runs = runs;
    this.left = runs.reduce((sum, run) => sum + run.blockCount, 0);
  }

  /** The next block, without moving on. 0 at the end. */
  get current(): number {
    const run = this.#runs[this.#index];
    return run === undefined ? 0 : run.firstBlock + this.#within;
  }

  /** Writes the numbers of the next `count` blocks. */
  fill(view: DataView, count: number, at = 0): void {
    for (let done = 0; done < count;) {
      const run = this.#runs[this.#index];
      if (run === undefined) return;
      const length = Math.min(count - done, run.blockCount - this.#within);
      for (let step = 0; step < length; step += 1) {
        const offset = at + (done + step) * BLOCK_NUMBER_BYTES;
        view.setUint32(offset, run.firstBlock + this.#within + step, true);
      }
      done += length;
      this.#within += length;
      this.left -= length;
      if (this.#within === run.blockCount) {
        this.#index += 1;
        this.#within = 0;
      }
    }
  }
}

/** An indirect block that is complete. */
export interface IndirectBlock {
  readonly block: number;
  /** Valid until the next one is asked for. */
  readonly bytes: Uint8Array;
}

/**
 * All indirect blocks of a file without holes, one at a time: at 500 GiB they are 500 MiB.
 *
 * @param data the blocks of the file, in file order
 * @param take gives away a free block near a given one; called for a block of a tree before those below it
 * @returns `i_block` of the inode
 */
export function* indirectBlocks(
  data: readonly BlockRun[],
  take: (near: number) => number,
  blockBytes: number,
): Generator<IndirectBlock, Uint8Array> {
  const perBlock = numbersPerBlock(blockBytes);
  const cursor = new BlockCursor(data);
  // One buffer a level: a tree is finished from below, and no two blocks of a level are open at once.
  const buffers = Array.from({ length: INDIRECT_LEVELS }, () => new Uint8Array(blockBytes));

  function* tree(level: number): Generator<IndirectBlock, number> {
    const block = take(cursor.current);
    const bytes = buffers[level - 1] ?? new Uint8Array(blockBytes);
    const view = viewOf(bytes);
    bytes.fill(0);
    if (level === 1) cursor.fill(view, Math.min(perBlock, cursor.left));
    else {
      for (let index = 0; index < perBlock && cursor.left > 0; index += 1) {
        const child = yield* tree(level - 1);
        view.setUint32(index * BLOCK_NUMBER_BYTES, child, true);
      }
    }
    yield { block, bytes };
    return block;
  }

  const roots = new Uint8Array(fieldBytes(inode.rows.i_block[1]));
  const rootView = viewOf(roots);
  cursor.fill(rootView, Math.min(DIRECT_BLOCK_COUNT, cursor.left));
  for (let level = 1; level <= INDIRECT_LEVELS && cursor.left > 0; level += 1) {
    const root = yield* tree(level);
    rootView.setUint32((DIRECT_BLOCK_COUNT + level - 1) * BLOCK_NUMBER_BYTES, root, true);
  }
  return roots;
}
