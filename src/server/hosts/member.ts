import { setTimeout as sleep } from 'node:timers/promises';
import type { RecordOf } from '../../pool/classes.js';
import type { Ref } from '../../pool/fields.js';
import type { Pool } from '../../pool/open-pool.js';
import { recoverAttached } from '../../pool/recover.js';
import { printable } from '../../signature/printable.js';
import { DEFAULT_TIMEOUTS } from '../../xenapi/exchange.js';
import { parseServerUrl } from '../../xenapi/server-address.js';
import type { ServerLog } from '../log.js';
import { PING } from './host-calls.js';
import { HostLink, type Peer } from './host-link.js';
import { hostKey } from './proof.js';
import { RemoteRepository } from './remote-repository.js';

/** Between two looks at a host, by default. */
export const HEARTBEAT_MILLISECONDS = 5000;
const PING_MILLISECONDS = 10_000;
/** One lost answer is no reason to detach anything. */
const MISSES = 2;

const TIMEOUTS = { ...DEFAULT_TIMEOUTS, connect: 10_000 };

export interface MemberOptions {
  readonly pool: Pool;
  readonly secret: Uint8Array;
  /** The master's, SHA-256 in lower-case hex. */
  readonly certificate: string;
  readonly heartbeatMilliseconds: number;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** What is to be done when a host is there (again), after its disks were put in order; again if it fails. */
  readonly onAttached?: ((host: Ref, link: HostLink) => Promise<void>) | undefined;
  /** It does not answer, has started again, or was ejected. */
  readonly onDetached?: ((host: Ref) => void) | undefined;
  readonly log: Pick<ServerLog, 'info' | 'warn' | 'recovered'>;
}

/** The key of a host's membership; undefined for the master, and for one that never joined. */
export function keyOfHost(secret: Uint8Array, { uuid, join_token: token }: RecordOf<'host'>) {
  return token === '' ? undefined : hostKey(secret, uuid, token);
}

/** A slave, as its master sees it: the way to it, its storage repositories, and whether it is there. */
export class Member {
  readonly host: Ref;
  readonly link: HostLink;
  readonly #options: MemberOptions;
  readonly #stop = new AbortController();
  /** By the UUID of their SR. */
  readonly #repositories = new Map<string, RemoteRepository>();
  /** UUIDs of the SRs that it can use. */
  #reachable: ReadonlySet<string> = new Set();
  /** Those that were not looked through since they came back. */
  readonly #unchecked = new Set<string>();
  #misses = MISSES;
  /** Whether {@link MemberOptions.onAttached} is done. */
  #isTold = false;
  #wake: (() => void) | undefined;
  #isAwake = false;
  readonly #loop: Promise<void>;

  constructor(host: Ref, options: MemberOptions) {
    this.host = host;
    this.#options = options;
    this.link = new HostLink(() => this.#peer());
    this.refresh();
    this.#loop = this.#run();
  }

  #peer(): Peer {
    const { pool, secret } = this.#options;
    const record = pool.database.get('host', this.host);
    return {
      server: {
        address: parseServerUrl(record.url),
        trust: { kind: 'certificate', sha256: record.certificate_sha256 },
        timeouts: TIMEOUTS,
      },
      sender: 'master',
      hostUuid: record.uuid,
      key: hostKey(secret, record.uuid, record.join_token),
    };
  }

  /** Whether it answers. */
  get isUp(): boolean {
    return this.#misses < MISSES;
  }

  /** Takes over what the records say of its SRs, and looks at it soon. Everything there is to be looked through. */
  refresh(): void {
    const { pool, now } = this.#options;
    const wanted = new Map<string, RecordOf<'PBD'>>();
    for (const [, pbd] of pool.database.all('PBD')) {
      const sr = pool.database.find('SR', pbd.SR);
      // Of a shared one, and of one that the master has by now, the master uses its own access.
      if (pbd.host !== this.host || sr === undefined || this.#isOthers(sr.uuid)) continue;
      wanted.set(sr.uuid, pbd);
    }
    for (const uuid of this.#repositories.keys()) if (!wanted.has(uuid)) this.#drop(uuid);
    for (const [uuid, pbd] of wanted) {
      const sr = pool.database.get('SR', pbd.SR);
      const repository = new RemoteRepository({
        facts: {
          uuid,
          nameLabel: sr.name_label,
          type: sr.type,
          capabilities: new Set(sr.capabilities),
          shared: false,
          deviceConfig: pbd.device_config,
        },
        link: this.link,
        isReachable: () => this.isUp && this.#reachable.has(uuid),
        sizeOf: (vdi) => {
          const ref = pool.database.findByUuid('VDI', vdi);
          return ref === undefined ? undefined : pool.database.find('VDI', ref)?.virtual_size;
        },
        spoolFolder: pool.temporaryFolder,
        now,
      });
      this.#repositories.set(uuid, repository);
      this.#unchecked.add(uuid);
      pool.repositories.add(repository);
    }
    this.#tellDetached();
    this.#isAwake = true;
    this.#wake?.();
  }

  #isOthers(uuid: string): boolean {
    return this.#options.pool.repositories.has(uuid) && !this.#repositories.has(uuid);
  }

  #drop(uuid: string): void {
    this.#repositories.delete(uuid);
    this.#unchecked.delete(uuid);
    this.#options.pool.repositories.remove(uuid);
  }

  /** Looks at it no more, and forgets its repositories. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#loop;
    this.#tellDetached();
    for (const uuid of this.#repositories.keys()) this.#drop(uuid);
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    const { signal } = this.#stop;
    const { heartbeatMilliseconds, log } = this.#options;
    while (!signal.aborted) {
      this.#isAwake = false;
      try {
        await this.#look();
      } catch (error) {
        // Its disks could not be looked through, or the state not be written: again at the next beat.
        if (!signal.aborted) log.warn(`host ${this.#name}: ${printable(String(error), 300)}`);
      }
      const woken = new Promise<void>((resolve) => (this.#wake = resolve));
      const beat = new AbortController();
      const either = AbortSignal.any([signal, beat.signal]);
      const pause = sleep(heartbeatMilliseconds, undefined, { signal: either }).catch(() => undefined);
      if (!this.#isAwake) await Promise.race([woken, pause]);
      beat.abort();
    }
  }

  get #name(): string {
    const record = this.#options.pool.database.find('host', this.host);
    return printable(record?.name_label ?? this.host, 64);
  }

  async #look(): Promise<void> {
    const { certificate, log } = this.#options;
    const { signal } = this.#stop;
    const wasUp = this.isUp;
    const limits = { signal, timeoutMilliseconds: PING_MILLISECONDS };
    try {
      const { srs } = await this.link.call(PING, { certificate }, limits);
      const there = srs.flatMap(({ uuid, usage }) => (usage === undefined ? [] : [uuid]));
      for (const uuid of there) if (!wasUp || !this.#reachable.has(uuid)) this.#unchecked.add(uuid);
      this.#reachable = new Set(there);
      this.#misses = 0;
      for (const { uuid, usage } of srs) if (usage !== undefined) this.#showUsage(uuid, usage);
      if (!wasUp) log.info(`host ${this.#name} is there`);
    } catch (error) {
      if (signal.aborted) return;
      this.#misses += 1;
      if (wasUp && !this.isUp) {
        this.#tellDetached();
        log.warn(`host ${this.#name} does not answer: ${printable(String(error), 300)}`);
      }
    }
    await this.#record();
    if (this.isUp) await this.#lookThrough();
  }

  #showUsage(
    uuid: string,
    usage: { physicalSize: number; physicalUtilisation: number; virtualAllocation: number },
  ): void {
    const { database } = this.#options.pool;
    const sr = database.findByUuid('SR', uuid);
    // Of nobody else's.
    if (sr === undefined || !this.#repositories.has(uuid)) return;
    database.touch('SR', sr, {
      physical_size: usage.physicalSize,
      physical_utilisation: usage.physicalUtilisation,
      virtual_allocation: usage.virtualAllocation,
    });
  }

  /** Says in the records whether it is there, when that has changed. */
  async #record(): Promise<void> {
    const { database } = this.#options.pool;
    const isAttached = (sr: Ref): boolean =>
      this.isUp && this.#reachable.has(database.find('SR', sr)?.uuid ?? '');
    const pbds = database.all('PBD').filter(([, { host }]) => host === this.host);
    const differs = pbds.some(([, { SR, currently_attached: now }]) => now !== isAttached(SR));
    if (!differs && database.find('host', this.host)?.enabled === this.isUp) return;
    await database.change((draft) => {
      if (draft.find('host', this.host) === undefined) return;
      draft.update('host', this.host, { enabled: this.isUp });
      for (const [pbd, { host, SR }] of draft.all('PBD')) {
        if (host === this.host) draft.update('PBD', pbd, { currently_attached: isAttached(SR) });
      }
    });
  }

  /** Puts in order what was left when it, or an operation on it, broke off. */
  async #lookThrough(): Promise<void> {
    const { pool, log } = this.#options;
    for (const [uuid, repository] of this.#repositories) {
      const sr = pool.database.findByUuid('SR', uuid);
      if (sr === undefined || !this.#reachable.has(uuid)) continue;
      if (!this.#unchecked.has(uuid) && !pool.vdis.hasLeftovers(sr)) continue;
      this.#unchecked.delete(uuid);
      try {
        log.recovered(await recoverAttached(repository, pool));
      } catch (error) {
        this.#unchecked.add(uuid);
        throw error;
      }
    }
    if (this.#isTold) return;
    await this.#options.onAttached?.(this.host, this.link);
    this.#isTold = true;
  }

  #tellDetached(): void {
    if (this.#isTold) this.#options.onDetached?.(this.host);
    this.#isTold = false;
  }
}
