import { invariant } from '../errors.js';
import { fieldsOf, type ClassName, type RecordOf } from './classes.js';
import { fits, type FieldValue, type Ref } from './fields.js';
import { PoolError } from './pool-error.js';
import {
  completeRecord,
  completeRecords,
  emptyTables,
  newRecord,
  presentRecord,
  type StoredChange,
  type StoredRecord,
  type Tables,
} from './record-table.js';

/** Fields that can be set. */
export type Values<Class extends ClassName> = {
  readonly [Name in keyof RecordOf<Class>]?: RecordOf<Class>[Name] | undefined;
};

/** The state of the pool while one change is made: it sees what it has done so far, and nobody else does. */
export class Draft {
  readonly #base: Tables;
  readonly #newRef: () => Ref;
  readonly #touched = new Map<string, StoredChange>();

  constructor(base: Tables, newRef: () => Ref) {
    this.#base = base;
    this.#newRef = newRef;
  }

  #stored(name: ClassName, ref: Ref): StoredRecord | undefined {
    const touched = this.#touched.get(`${name} ${ref}`);
    return touched === undefined ? this.#base.get(name)?.get(ref) : (touched[2] ?? undefined);
  }

  /** Every record of a class as this change sees it. */
  all<Class extends ClassName>(name: Class): readonly (readonly [Ref, RecordOf<Class>])[] {
    return completeRecords(this.#tables(), name) as readonly (readonly [Ref, RecordOf<Class>])[];
  }

  find<Class extends ClassName>(name: Class, ref: Ref): RecordOf<Class> | undefined {
    const stored = this.#stored(name, ref);
    return stored === undefined
      ? undefined
      : (completeRecord(this.#tables(), name, ref, stored) as RecordOf<Class>);
  }

  /** @throws PoolError HANDLE_INVALID */
  get<Class extends ClassName>(name: Class, ref: Ref): RecordOf<Class> {
    return presentRecord(this.find(name, ref), name, ref);
  }

  create<Class extends ClassName>(name: Class, values: Values<Class>): Ref {
    const ref = this.#newRef();
    this.#put(name, ref, newRecord(name, checkedValues(name, values)));
    return ref;
  }

  /** @throws PoolError HANDLE_INVALID */
  update<Class extends ClassName>(name: Class, ref: Ref, values: Values<Class>): void {
    const stored = this.#stored(name, ref);
    if (stored === undefined) throw new PoolError('HANDLE_INVALID', [name, ref]);
    this.#put(name, ref, { ...stored, ...checkedValues(name, values) });
  }

  /** Safe also for a record that is gone. */
  remove(name: ClassName, ref: Ref): void {
    if (this.#stored(name, ref) !== undefined) this.#put(name, ref, null);
  }

  #put(name: ClassName, ref: Ref, record: StoredRecord | null): void {
    this.#touched.set(`${name} ${ref}`, [name, ref, record]);
  }

  /** What the change comes to, one entry a record. */
  get changes(): readonly StoredChange[] {
    return [...this.#touched.values()].filter(([name, ref, record]) => {
      const before = this.#base.get(name)?.get(ref);
      return record === null ? before !== undefined : JSON.stringify(before) !== JSON.stringify(record);
    });
  }

  #tables(): Tables {
    if (this.#touched.size === 0) return this.#base;
    const tables = emptyTables();
    for (const [name, records] of this.#base)
      for (const [ref, record] of records) tables.get(name)?.set(ref, record);
    for (const [name, ref, record] of this.#touched.values()) {
      if (record === null) tables.get(name)?.delete(ref);
      else tables.get(name)?.set(ref, record);
    }
    return tables;
  }
}

/** What is undefined is left out; what does not fit its field is a defect of ours. */
export function checkedValues(
  name: ClassName,
  values: Readonly<Record<string, FieldValue | undefined>>,
): Record<string, FieldValue> {
  const fields = fieldsOf(name);
  const given = Object.entries(values).flatMap(([field, value]) =>
    value === undefined ? [] : [[field, value] as const],
  );
  for (const [field, value] of given) {
    const row = fields[field];
    const right = row !== undefined && row.backReference === undefined && fits(value, row.type);
    invariant(right, `${name}.${field} can be set to what it is set to`);
  }
  return Object.fromEntries(given);
}
