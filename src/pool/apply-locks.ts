import type { Ref } from './fields.js';
import { PoolError } from './pool-error.js';

/** What hosts are doing with patches at this moment. */
export class ApplyLocks {
  readonly #patches = new Map<string, Ref>();
  readonly #hosts = new Set<Ref>();

  /**
   * One call for a patch on a host at a time; and one apply on a host, because what a precheck has found must still
   * hold when the patch is applied.
   *
   * @returns ends it
   * @throws PoolError OTHER_OPERATION_IN_PROGRESS
   */
  enter(patch: Ref, host: Ref, kind: 'precheck' | 'apply'): () => void {
    const key = `${patch} ${host}`;
    if (this.#patches.has(key)) throw new PoolError('OTHER_OPERATION_IN_PROGRESS', ['pool_patch', patch]);
    if (kind === 'apply' && this.#hosts.has(host)) {
      throw new PoolError('OTHER_OPERATION_IN_PROGRESS', ['host', host]);
    }
    this.#patches.set(key, patch);
    if (kind === 'apply') this.#hosts.add(host);
    return () => {
      this.#patches.delete(key);
      if (kind === 'apply') this.#hosts.delete(host);
    };
  }

  /** @throws PoolError OTHER_OPERATION_IN_PROGRESS while a host has to do with it */
  requireIdle(patch: Ref): void {
    if (![...this.#patches.values()].includes(patch)) return;
    throw new PoolError('OTHER_OPERATION_IN_PROGRESS', ['pool_patch', patch]);
  }

  /** Applies that are under way. */
  get applying(): number {
    return this.#hosts.size;
  }
}
