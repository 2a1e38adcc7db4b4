import { CLASS_NAMES, fieldsOf, isClassName, type AnyRecord, type ClassName } from './classes.js';
import { fits, type FieldValue, type Ref } from './fields.js';
import { PoolError } from './pool-error.js';

/** A record as it is kept: every field but those that are derived. */
export type StoredRecord = Readonly<Record<string, FieldValue>>;

/** The records of all classes by reference. */
export type Tables = ReadonlyMap<ClassName, Map<Ref, StoredRecord>>;

/** `[class, ref, fields]`, or null for a record that is gone. The order of a journal's line. */
export type StoredChange = readonly [ClassName, Ref, StoredRecord | null];

/** Where a record is. */
export type RecordPlace = readonly [ClassName, Ref];

export function emptyTables(): Tables {
  return new Map(CLASS_NAMES.map((name) => [name, new Map<Ref, StoredRecord>()]));
}

/** A new record: what is not given has its initial value. */
export function newRecord(name: ClassName, values: Readonly<Record<string, FieldValue>>): StoredRecord {
  const stored = Object.entries(fieldsOf(name)).filter(([, field]) => field.backReference === undefined);
  return Object.fromEntries(stored.map(([field, { initial }]) => [field, values[field] ?? initial]));
}

/** What is written to the journal of a record. */
export function withoutVolatile(name: ClassName, record: StoredRecord): StoredRecord {
  const fields = fieldsOf(name);
  return Object.fromEntries(Object.entries(record).filter(([field]) => fields[field]?.volatile !== true));
}

/** Whether two records differ in anything that is written to the journal. */
export function differInStored(name: ClassName, one: StoredRecord, other: StoredRecord): boolean {
  return JSON.stringify(withoutVolatile(name, one)) !== JSON.stringify(withoutVolatile(name, other));
}

export function applyChange(tables: Tables, [name, ref, record]: StoredChange): void {
  if (record === null) tables.get(name)?.delete(ref);
  else tables.get(name)?.set(ref, record);
}

/**
 * A change from a line of the journal, checked.
 *
 * @returns what is wrong with it as a text
 */
export function decodeChange(value: unknown): StoredChange | string {
  if (!Array.isArray(value) || value.length !== 3) return 'a change that is no triple';
  const [name, ref, fields] = value as unknown[];
  if (typeof name !== 'string' || !isClassName(name)) return `a record of the class ${JSON.stringify(name)}`;
  if (typeof ref !== 'string') return `a ${name} without a reference`;
  if (fields === null) return [name, ref, null];
  if (typeof fields !== 'object' || Array.isArray(fields)) return `a ${name} without fields`;
  const known = fieldsOf(name);
  for (const [field, content] of Object.entries(fields)) {
    const row = known[field];
    // A later version wrote it: going on would lose what it meant.
    if (row === undefined) return `a ${name} with an unknown field ${JSON.stringify(field)}`;
    if (!fits(content, row.type)) return `a ${name} whose ${field} is no ${row.type.kind}`;
  }
  return [name, ref, newRecord(name, fields as Record<string, FieldValue>)];
}

/** @throws PoolError HANDLE_INVALID where there is no such record */
export function presentRecord<Found>(record: Found | undefined, name: ClassName, ref: Ref): Found {
  if (record === undefined) throw new PoolError('HANDLE_INVALID', [name, ref]);
  return record;
}

/** A record with its derived fields. */
export function completeRecord(tables: Tables, name: ClassName, ref: Ref, stored: StoredRecord): AnyRecord {
  const derived = Object.entries(fieldsOf(name)).flatMap(([field, { backReference }]) => {
    if (backReference === undefined) return [];
    const [from, pointer] = backReference;
    const pointing = [...(tables.get(from) ?? [])].filter(([, record]) => record[pointer] === ref);
    return [[field, pointing.map(([source]) => source)] as const];
  });
  return { ...stored, ...Object.fromEntries(derived) };
}

/** All records of a class with their derived fields; who points at whom is looked up once for all of them. */
export function completeRecords(tables: Tables, name: ClassName): readonly (readonly [Ref, AnyRecord])[] {
  const derived = Object.entries(fieldsOf(name)).flatMap(([field, { backReference }]) =>
    backReference === undefined ? [] : [[field, sourcesByTarget(tables, ...backReference)] as const],
  );
  return [...(tables.get(name) ?? [])].map(([ref, stored]) => {
    const sources = derived.map(([field, byTarget]) => [field, byTarget.get(ref) ?? []] as const);
    return [ref, { ...stored, ...Object.fromEntries(sources) }] as const;
  });
}

function sourcesByTarget(tables: Tables, from: ClassName, pointer: string): ReadonlyMap<FieldValue, Ref[]> {
  const found = new Map<FieldValue, Ref[]>();
  for (const [source, { [pointer]: target }] of tables.get(from) ?? []) {
    if (target === undefined) continue;
    const sources = found.get(target) ?? [];
    sources.push(source);
    found.set(target, sources);
  }
  return found;
}

/** Of each class the fields that make a derived field of another one: `[field, the other class]`. */
const POINTERS: ReadonlyMap<ClassName, readonly (readonly [string, ClassName])[]> = new Map(
  CLASS_NAMES.map((from) => [
    from,
    CLASS_NAMES.flatMap((to) =>
      Object.values(fieldsOf(to)).flatMap(({ backReference }) =>
        backReference?.[0] === from ? [[backReference[1], to] as const] : [],
      ),
    ),
  ]),
);

/** The records whose derived fields change when a record of a class becomes another one, comes or goes. */
export function placesRepointed(
  name: ClassName,
  before: StoredRecord | undefined,
  after: StoredRecord | undefined,
): readonly RecordPlace[] {
  return (POINTERS.get(name) ?? []).flatMap(([field, to]) => {
    const refs = [before?.[field], after?.[field]];
    if (refs[0] === refs[1]) return [];
    return refs.filter((ref) => typeof ref === 'string').map((ref) => [to, ref] as const);
  });
}
