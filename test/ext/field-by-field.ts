import type { FieldRow, Struct } from '../../src/struct.js';

/** How debugfs is told to change a field, and what our table must then read there. */
export interface FieldCase {
  /** As debugfs calls it. */
  readonly theirs: string;
  readonly ours: string;
  /** As debugfs takes it. */
  readonly value: string;
  readonly expected: number | bigint | string;
}

const NUMBER_BY_TYPE = { u8: 0xa5, u16: 0xa5c3, u32: 0xa5c3b781, u64: 0xa5c3b781e2d4f699n } as const;

/** A value with no two bytes alike, of the width that the field is said to have. */
export function distinctive(theirs: string, ours: string, type: keyof typeof NUMBER_BY_TYPE): FieldCase {
  const expected = NUMBER_BY_TYPE[type];
  return { theirs, ours, value: String(expected), expected };
}

export function time(theirs: string, ours: string): FieldCase {
  return { theirs, ours, value: '@1000000007', expected: 1_000_000_007 };
}

/** Byte fields are compared as hex. */
function comparable(value: unknown): unknown {
  return value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value;
}

/** The fields in which two encodings of a structure differ, with their new values. */
export function changedFields<Rows extends Record<string, FieldRow>>(
  table: Struct<Rows>,
  before: Uint8Array,
  after: Uint8Array,
): Record<string, unknown> {
  const old: Record<string, unknown> = table.decode(before);
  const changed: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(table.decode(after))) {
    if (comparable(value) !== comparable(old[name])) changed[name] = comparable(value);
  }
  return changed;
}

/** The names that debugfs lists as settable, without the hints in brackets. */
export function listedNames(listing: string): Set<string> {
  const names = listing.split('\n').flatMap((line) => /^\t([a-z_0-9]+)/.exec(line)?.[1] ?? []);
  return new Set(names);
}
