import { invariant } from '../../errors.js';
import { RunList, type BlockRun } from './choose-units.js';

/** Hands out free blocks for indirect blocks, each near the data that it points to. */
export class SpareBlocks {
  readonly #spare: readonly BlockRun[];
  /** Blocks of each run that are given away, from its front. */
  readonly #given: Uint32Array;
  readonly #taken = new RunList();
  /** The run to look at first; those before it lie before the data, or are used up. */
  #forward = 0;
  /** When nothing is left behind the data: the first run that may have something. */
  #fallback = 0;

  /** @param spare in order */
  constructor(spare: readonly BlockRun[]) {
    this.#spare = spare;
    this.#given = new Uint32Array(spare.length);
  }

  /** What was taken, as runs in the order of taking. */
  get taken(): readonly BlockRun[] {
    return this.#taken.runs;
  }

  /**
   * The first free block at or behind `near`, or else any.
   *
   * @param near a block number that never decreases from call to call
   */
  take(near: number): number {
    while (this.#forward < this.#spare.length && !this.#serves(this.#forward, near)) this.#forward += 1;
    if (this.#forward < this.#spare.length) return this.#takeFrom(this.#forward);
    while (this.#fallback < this.#spare.length && !this.#serves(this.#fallback, 0)) this.#fallback += 1;
    return this.#takeFrom(this.#fallback);
  }

  #serves(index: number, near: number): boolean {
    const run = this.#spare[index];
    if (run === undefined || this.#given[index] === run.blockCount) return false;
    return run.firstBlock + (this.#given[index] ?? 0) >= near;
  }

  #takeFrom(index: number): number {
    const run = this.#spare[index];
    // A quarter of the image holds no payload, and indirect blocks are a thousandth of it.
    invariant(run !== undefined, 'there are spare blocks for all indirect blocks');
    const given = this.#given[index] ?? 0;
    this.#given[index] = given + 1;
    this.#taken.add(run.firstBlock + given, 1);
    return run.firstBlock + given;
  }
}
