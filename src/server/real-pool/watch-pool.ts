import { setTimeout as sleep } from 'node:timers/promises';
import type { Pool } from '../../pool/open-pool.js';
import { recoverAttached } from '../../pool/recover.js';
import { printable } from '../../signature/printable.js';
import type { ServerLog } from '../log.js';
import { RealRepository } from './real-repository.js';

/** Between two looks; also what keeps the session alive. */
const BEAT_MILLISECONDS = 15_000;

export interface WatchOptions {
  readonly pool: Pick<Pool, 'database' | 'repositories' | 'vdis' | 'host'>;
  readonly log: Pick<ServerLog, 'info' | 'warn' | 'recovered'>;
  /** Default 15 seconds. */
  readonly beatMilliseconds?: number | undefined;
}

/**
 * Says in the records which SRs of the real pool can be used now, and puts in order what was left when one was away, as
 * soon as it is back.
 */
export class PoolWatch {
  readonly #options: WatchOptions;
  readonly #stop = new AbortController();
  readonly #loop: Promise<void>;

  constructor(options: WatchOptions) {
    this.#options = options;
    this.#loop = this.#run();
  }

  /** Looks no more. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#loop;
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    const { signal } = this.#stop;
    const { beatMilliseconds = BEAT_MILLISECONDS, pool, log } = this.#options;
    for (;;) {
      await sleep(beatMilliseconds, undefined, { signal, ref: false }).catch(() => undefined);
      if (signal.aborted) return;
      for (const repository of pool.repositories.all) {
        if (!(repository instanceof RealRepository)) continue;
        await this.#look(repository).catch((error: unknown) => {
          if (!signal.aborted) log.warn(`SR ${repository.facts.uuid}: ${printable(String(error), 300)}`);
        });
      }
    }
  }

  async #look(repository: RealRepository): Promise<void> {
    const { pool, log } = this.#options;
    const { uuid, nameLabel } = repository.facts;
    const sr = pool.database.findByUuid('SR', uuid);
    const pbd = pool.database.all('PBD').find(([, { SR, host }]) => SR === sr && host === pool.host);
    if (sr === undefined || pbd === undefined) return;
    const [ref, { currently_attached: was }] = pbd;
    const isThere = await repository.isReachable();
    if (this.#stop.signal.aborted) return;
    if (isThere !== was) {
      await pool.database.change((draft) => draft.update('PBD', ref, { currently_attached: isThere }));
      const name = `SR "${printable(nameLabel, 64)}" of ${repository.link.name}`;
      if (isThere) log.info(`${name} is there`);
      else log.warn(`${name} is out of reach`);
    }
    if (!isThere) return;
    if (!was || pool.vdis.hasLeftovers(sr)) log.recovered(await recoverAttached(repository, pool));
    await pool.repositories.refreshUsage(sr);
  }
}
