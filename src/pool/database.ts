import { join } from 'node:path';
import { invariant } from '../errors.js';
import { fieldsOf, type AnyRecord, type ClassName, type RecordOf } from './classes.js';
import { ChangeLog, type RecordChange } from './change-log.js';
import { Draft, checkedValues, type Values } from './draft.js';
import type { FieldValue, Ref } from './fields.js';
import { Journal } from './journal.js';
import { PoolError } from './pool-error.js';
import type { TornEnd } from './read-journal.js';
import {
  applyChange,
  completeRecord,
  completeRecords,
  decodeChange,
  differInStored,
  emptyTables,
  placesRepointed,
  presentRecord,
  withoutVolatile,
  type RecordPlace,
  type StoredChange,
} from './record-table.js';

export const JOURNAL_FILE = 'state.journal';
const FORMAT = 'patch-vdi pool state';
const VERSION = 1;

export interface DatabaseOptions {
  /** An existing folder that nobody else writes to. */
  readonly folder: string;
  readonly newUuid: () => string;
  /** What the journal may grow by beyond its state; default 1 MiB. */
  readonly slackBytes?: number;
}

/** A line of the journal behind the first one. */
interface Line {
  /** Generation of the pool after it. */
  readonly g: number;
  /** Changes. */
  readonly c: readonly unknown[];
}

function isLine(value: unknown): value is Line {
  if (typeof value !== 'object' || value === null || !('g' in value) || !('c' in value)) return false;
  return Number.isSafeInteger(value.g) && Array.isArray(value.c);
}

function withoutInternal(name: ClassName, record: AnyRecord): AnyRecord {
  const fields = fieldsOf(name);
  return Object.fromEntries(Object.entries(record).filter(([field]) => fields[field]?.internal !== true));
}

/**
 * The records of the pool. Every change that was acknowledged is on the disk; one change is made at a time, as a
 * whole or not at all; who reads sees only what is on the disk. Fields that are `volatile` are in memory alone.
 */
export class Database {
  readonly #tables = emptyTables();
  readonly #newUuid: () => string;
  readonly #listeners = new Set<(generation: number) => void>();
  /** Of this run: a generation means something only together with it. */
  readonly incarnation: string;
  #journal: Journal | undefined;
  #log = new ChangeLog(0);
  #generation = 0;
  #last: Promise<unknown> = Promise.resolve();

  private constructor(newUuid: () => string) {
    this.#newUuid = newUuid;
    this.incarnation = newUuid();
  }

  /**
   * @returns also what was cut off the journal: the end of a change that was never acknowledged
   * @throws PatchVdiError `image` when the journal is damaged, `space` | `sink` when it cannot be made
   */
  static async open(
    options: DatabaseOptions,
  ): Promise<{ readonly database: Database; readonly torn: TornEnd | undefined }> {
    const database = new Database(options.newUuid);
    const { journal, torn } = await Journal.open(join(options.folder, JOURNAL_FILE), {
      accept: (value, line) => (line === 1 ? database.#acceptHead(value) : database.#acceptLine(value)),
      snapshot: () => database.#snapshot(),
      ...(options.slackBytes === undefined ? {} : { slackBytes: options.slackBytes }),
    });
    database.#journal = journal;
    database.#log = new ChangeLog(database.#generation);
    return { database, torn };
  }

  #acceptHead(value: unknown): string | undefined {
    const right =
      typeof value === 'object' &&
      value !== null &&
      'format' in value &&
      'version' in value &&
      value.format === FORMAT &&
      value.version === VERSION;
    return right ? undefined : `a file that is not "${FORMAT}" of version ${VERSION}`;
  }

  #acceptLine(value: unknown): string | undefined {
    if (!isLine(value)) return 'a line that is no change';
    for (const entry of value.c) {
      const change = decodeChange(entry);
      if (typeof change === 'string') return change;
      applyChange(this.#tables, change);
    }
    this.#generation = value.g;
    return undefined;
  }

  *#snapshot(): Generator {
    yield { format: FORMAT, version: VERSION };
    for (const [name, records] of this.#tables) {
      for (const [ref, record] of records) {
        yield { g: this.#generation, c: [[name, ref, withoutVolatile(name, record)]] };
      }
    }
    yield { g: this.#generation, c: [] };
  }

  /** Counts every change; after a restart it goes on from the last one that was stored. */
  get generation(): number {
    return this.#generation;
  }

  /**
   * Makes a change: `work` looks at the state, and changes a draft of it. When this resolves, the change is on the
   * disk; when `work` throws, or it cannot be stored, nothing has happened.
   *
   * @param work must not wait for anything
   * @param isCleanup it undoes something, and may use what is kept for a full disk
   * @throws what `work` throws; PatchVdiError `space` | `sink` when it cannot be stored
   */
  change<Result>(work: (draft: Draft) => Result, isCleanup = false): Promise<Result> {
    const run = this.#last.then(() => this.#change(work, isCleanup));
    this.#last = run.catch(() => undefined);
    return run;
  }

  async #change<Result>(work: (draft: Draft) => Result, isCleanup: boolean): Promise<Result> {
    const journal = this.#journal;
    invariant(journal !== undefined, 'the database is open while changes are made');
    const draft = new Draft(this.#tables, () => `OpaqueRef:${this.#newUuid()}`);
    const result = work(draft);
    const { changes } = draft;
    const stored = changes.filter((change) => this.#mustBeStored(change));
    if (stored.length > 0) {
      const c = stored.map(([name, ref, record]) => [name, ref, record && withoutVolatile(name, record)]);
      await journal.append({ g: this.#generation + 1, c }, isCleanup);
    }
    if (changes.length > 0) this.#apply(changes);
    if (journal.isLong) await journal.compact();
    return result;
  }

  #mustBeStored([name, ref, record]: StoredChange): boolean {
    const before = this.#tables.get(name)?.get(ref);
    return record === null || before === undefined || differInStored(name, before, record);
  }

  #apply(changes: readonly StoredChange[]): void {
    this.#generation += 1;
    const repointed: RecordPlace[] = [];
    for (const change of changes) {
      const [name, ref, record] = change;
      const before = this.#tables.get(name)?.get(ref);
      applyChange(this.#tables, change);
      const known = before !== undefined;
      this.#log.add(name, ref, record === null ? 'del' : known ? 'mod' : 'add', this.#generation);
      repointed.push(...placesRepointed(name, before, record ?? undefined));
    }
    // Their derived fields have changed with it.
    for (const [name, ref] of repointed) {
      if (this.#tables.get(name)?.has(ref) === true) this.#log.add(name, ref, 'mod', this.#generation);
    }
    for (const listener of this.#listeners) listener(this.#generation);
  }

  /** Sets volatile fields, at once and in memory only. Safe also for a record that is gone. */
  touch<Class extends ClassName>(name: Class, ref: Ref, values: Values<Class>): void {
    const before = this.#tables.get(name)?.get(ref);
    if (before === undefined) return;
    const record = { ...before, ...checkedValues(name, values) };
    if (JSON.stringify(record) !== JSON.stringify(before)) this.#apply([[name, ref, record]]);
  }

  /** Tells everybody of a record as if it had changed (`event.inject`). @throws PoolError HANDLE_INVALID */
  announce(name: ClassName, ref: Ref): void {
    const record = this.#tables.get(name)?.get(ref);
    if (record === undefined) throw new PoolError('HANDLE_INVALID', [name, ref]);
    this.#apply([[name, ref, record]]);
  }

  /** A record with all its fields, or undefined. */
  find<Class extends ClassName>(name: Class, ref: Ref): RecordOf<Class> | undefined {
    const stored = this.#tables.get(name)?.get(ref);
    if (stored === undefined) return undefined;
    return completeRecord(this.#tables, name, ref, stored) as RecordOf<Class>;
  }

  /** @throws PoolError HANDLE_INVALID */
  get<Class extends ClassName>(name: Class, ref: Ref): RecordOf<Class> {
    return presentRecord(this.find(name, ref), name, ref);
  }

  all<Class extends ClassName>(name: Class): readonly (readonly [Ref, RecordOf<Class>])[] {
    return completeRecords(this.#tables, name) as readonly (readonly [Ref, RecordOf<Class>])[];
  }

  /** `get_all` */
  getAll(name: ClassName): Ref[] {
    return [...(this.#tables.get(name)?.keys() ?? [])];
  }

  /** `get_record`: without what is internal. @throws PoolError HANDLE_INVALID */
  getRecord(name: ClassName, ref: Ref): AnyRecord {
    return withoutInternal(name, this.get(name, ref));
  }

  /** `get_all_records` */
  getAllRecords(name: ClassName): Record<Ref, AnyRecord> {
    return Object.fromEntries(this.all(name).map(([ref, record]) => [ref, withoutInternal(name, record)]));
  }

  /** `get_by_uuid`. @throws PoolError UUID_INVALID */
  getByUuid(name: ClassName, uuid: string): Ref {
    const ref = this.findByUuid(name, uuid);
    if (ref === undefined) throw new PoolError('UUID_INVALID', [name, uuid]);
    return ref;
  }

  findByUuid(name: ClassName, uuid: string): Ref | undefined {
    const wanted = uuid.toLowerCase();
    return [...(this.#tables.get(name) ?? [])].find(([, record]) => record['uuid'] === wanted)?.[0];
  }

  /** `get_by_name_label` */
  getByNameLabel(name: ClassName, label: string): Ref[] {
    const records = [...(this.#tables.get(name) ?? [])];
    return records.filter(([, record]) => record['name_label'] === label).map(([ref]) => ref);
  }

  /** `get_<field>`. @throws PoolError MESSAGE_METHOD_UNKNOWN for no such field, HANDLE_INVALID */
  getField(name: ClassName, ref: Ref, field: string): FieldValue {
    const rows = fieldsOf(name);
    const row = Object.hasOwn(rows, field) ? rows[field] : undefined;
    const value = row === undefined || row.internal === true ? undefined : this.getRecord(name, ref)[field];
    if (value === undefined) throw new PoolError('MESSAGE_METHOD_UNKNOWN', [`${name}.get_${field}`]);
    return value;
  }

  /** Calls `listener` after every change, until the returned function is called. It must not throw. */
  subscribe(listener: (generation: number) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /**
   * What happened after a generation of this {@link incarnation}, one entry a record.
   *
   * @returns undefined when that is too long ago: then everything must be read again
   */
  changesSince(generation: number): readonly RecordChange[] | undefined {
    const changes = this.#log.since(generation);
    return changes?.map((change) => {
      const { className, ref, operation } = change;
      return { ...change, record: operation === 'del' ? undefined : this.getRecord(className, ref) };
    });
  }

  /** Waits for the changes that are under way. */
  async close(): Promise<void> {
    await this.#last;
    await this.#journal?.close();
    this.#journal = undefined;
  }
}
