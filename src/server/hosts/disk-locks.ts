import { PoolError } from '../../pool/pool-error.js';

/** Disks that were destroyed and are remembered; the oldest are forgotten. */
const MAX_DESTROYED = 10_000;

/**
 * Lets one change of a disk happen at a time. The master may have given up a call that this host has not begun yet,
 * and destroyed the disk since: then what comes late must not bring it back. UUIDs are never used twice.
 */
export class DiskLocks {
  readonly #last = new Map<string, Promise<void>>();
  readonly #destroyed = new Set<string>();

  /** @throws PoolError VDI_MISSING for a disk that was destroyed; what `work` throws */
  async change<Result>(sr: string, vdi: string, work: () => Promise<Result>): Promise<Result> {
    return await this.#alone(vdi, async () => {
      if (this.#destroyed.has(vdi)) throw new PoolError('VDI_MISSING', [sr, vdi]);
      return await work();
    });
  }

  /** The last that is done to a disk. */
  async destroy<Result>(vdi: string, work: () => Promise<Result>): Promise<Result> {
    // At once, for those that wait.
    this.#destroyed.add(vdi);
    const [oldest] = this.#destroyed;
    if (this.#destroyed.size > MAX_DESTROYED && oldest !== undefined) this.#destroyed.delete(oldest);
    return await this.#alone(vdi, work);
  }

  /** For what a disk may have left, whether it was destroyed or not. */
  async cleanUp<Result>(vdi: string, work: () => Promise<Result>): Promise<Result> {
    return await this.#alone(vdi, work);
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    await Promise.all(this.#last.values());
  }

  async #alone<Result>(vdi: string, work: () => Promise<Result>): Promise<Result> {
    const before = this.#last.get(vdi) ?? Promise.resolve();
    const run = before.then(work);
    const over = run.then(
      () => undefined,
      () => undefined,
    );
    this.#last.set(vdi, over);
    try {
      return await run;
    } finally {
      if (this.#last.get(vdi) === over) this.#last.delete(vdi);
    }
  }
}
