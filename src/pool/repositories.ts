import type { CopyTarget } from './apply-rules.js';
import { trace } from '../trace.js';
import type { SrCandidate } from './choose-sr.js';
import type { RecordOf } from './classes.js';
import type { Database } from './database.js';
import type { Draft } from './draft.js';
import { NULL_REF, type Ref } from './fields.js';
import { PoolError } from './pool-error.js';
import type { StorageRepository } from './storage.js';

interface Connected {
  readonly pbd: RecordOf<'PBD'>;
  readonly record: RecordOf<'SR'>;
  readonly repository: StorageRepository;
}

/** The storage repositories that this host has, those of other hosts that it reaches through them, and their records. */
export class Repositories {
  readonly #database: Database;
  readonly #host: Ref;
  readonly #byUuid: Map<string, StorageRepository>;

  constructor(database: Database, host: Ref, repositories: readonly StorageRepository[]) {
    this.#database = database;
    this.#host = host;
    this.#byUuid = new Map(repositories.map((repository) => [repository.facts.uuid, repository]));
  }

  get all(): readonly StorageRepository[] {
    return [...this.#byUuid.values()];
  }

  /** One of another host, or in place of the one with its UUID. Its records are made by whoever adds it. */
  add(repository: StorageRepository): void {
    this.#byUuid.set(repository.facts.uuid, repository);
  }

  remove(uuid: string): void {
    this.#byUuid.delete(uuid);
  }

  has(uuid: string): boolean {
    return this.#byUuid.has(uuid);
  }

  /** @throws PoolError HANDLE_INVALID; SR_HAS_NO_PBDS for one that this host does not have */
  of(sr: Ref): StorageRepository {
    const repository = this.#byUuid.get(this.#database.get('SR', sr).uuid);
    if (repository === undefined) throw new PoolError('SR_HAS_NO_PBDS', [sr]);
    return repository;
  }

  /** A host's PBDs; each repository is looked up when it is its turn, for those who wait in between. */
  *#connected(of: Ref): Generator<Connected> {
    for (const [, pbd] of this.#database.all('PBD').filter(([, { host }]) => host === of)) {
      const record = this.#database.find('SR', pbd.SR);
      const repository = record === undefined ? undefined : this.#byUuid.get(record.uuid);
      if (record !== undefined && repository !== undefined) yield { pbd, record, repository };
    }
  }

  /** In the order of the master's PBDs. */
  async candidates(): Promise<readonly SrCandidate[]> {
    const found: SrCandidate[] = [];
    for (const { pbd, record, repository } of this.#connected(this.#host)) {
      const masterCanReach = pbd.currently_attached && (await repository.isReachable());
      const { capabilities } = repository.facts;
      found.push({ ref: pbd.SR, uuid: record.uuid, masterCanReach, capabilities });
    }
    return found;
  }

  /** Where copies for a host may go: the SRs of its PBDs that the master can write to. */
  async copyTargets(host: Ref): Promise<readonly CopyTarget[]> {
    const found: CopyTarget[] = [];
    for (const { pbd, record, repository } of this.#connected(host)) {
      const hostCanReach = pbd.currently_attached && (await repository.isReachable());
      const freeBytes = hostCanReach ? await repository.freeBytes() : 0;
      const { capabilities, shared } = repository.facts;
      found.push({ ref: pbd.SR, uuid: record.uuid, hostCanReach, shared, capabilities, freeBytes });
    }
    return found;
  }

  /** Makes records for what this host has, and says what it can reach now. */
  async synchronise(newUuid: () => string): Promise<void> {
    const reachable = new Map<string, boolean>();
    for (const { facts, ...repository } of this.#withReach())
      reachable.set(facts.uuid, await repository.reach());
    await this.#database.change((draft) => {
      for (const { facts } of this.all) {
        const values = {
          uuid: facts.uuid,
          name_label: facts.nameLabel,
          type: facts.type,
          content_type: 'user',
          shared: facts.shared,
        };
        let sr = draft.all('SR').find(([, { uuid }]) => uuid === facts.uuid)?.[0];
        if (sr === undefined) sr = draft.create('SR', values);
        else draft.update('SR', sr, values);
        const state = {
          device_config: facts.deviceConfig,
          currently_attached: reachable.get(facts.uuid) === true,
        };
        const pbd = draft.all('PBD').find(([, { SR, host }]) => SR === sr && host === this.#host)?.[0];
        if (pbd !== undefined) draft.update('PBD', pbd, state);
        else draft.create('PBD', { uuid: newUuid(), host: this.#host, SR: sr, ...state });
      }
      this.#describeDrivers(draft, newUuid);
      // What is no longer in the configuration is detached; its records stay, in case it comes back.
      for (const [pbd, { SR, host }] of draft.all('PBD')) {
        const uuid = draft.find('SR', SR)?.uuid ?? NULL_REF;
        if (host === this.#host && !this.#byUuid.has(uuid)) {
          draft.update('PBD', pbd, { currently_attached: false });
        }
      }
    });
    for (const [sr] of this.#database.all('SR')) {
      // Figures for people: one that cannot tell them does not keep the others from being served.
      await this.refreshUsage(sr).catch((error: unknown) => {
        trace('pool', () => `how full SR ${sr} is could not be told: ${String(error)}`);
      });
    }
  }

  /** One record for each type of the SRs that this host has; clients look there for what an SR can do. */
  #describeDrivers(draft: Draft, newUuid: () => string): void {
    const capabilities = new Map(this.all.map(({ facts }) => [facts.type, facts.capabilities]));
    for (const [sm, { type }] of draft.all('SM')) if (!capabilities.has(type)) draft.remove('SM', sm);
    for (const [type, list] of capabilities) {
      const values = { name_label: type, type, capabilities: [...list].sort() };
      const known = draft.all('SM').find(([, record]) => record.type === type)?.[0];
      if (known === undefined) draft.create('SM', { uuid: newUuid(), ...values });
      else draft.update('SM', known, values);
    }
  }

  #withReach(): readonly { facts: StorageRepository['facts']; reach: () => Promise<boolean> }[] {
    return this.all.map((repository) => ({
      facts: repository.facts,
      reach: () => repository.isReachable(),
    }));
  }

  /** Says in the record how full an SR is; nothing for one that is out of reach. */
  async refreshUsage(sr: Ref): Promise<void> {
    const uuid = this.#database.find('SR', sr)?.uuid;
    const repository = uuid === undefined ? undefined : this.#byUuid.get(uuid);
    if (repository === undefined || !(await repository.isReachable())) return;
    const { physicalSize, physicalUtilisation, virtualAllocation } = await repository.usage();
    this.#database.touch('SR', sr, {
      physical_size: physicalSize,
      physical_utilisation: physicalUtilisation,
      virtual_allocation: virtualAllocation,
    });
  }
}
