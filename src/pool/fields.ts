import type { ClassName } from './classes.js';

/** Text that names a record: `OpaqueRef:` and something unique. */
export type Ref = string;

/** What a reference is that leads nowhere. */
export const NULL_REF: Ref = 'OpaqueRef:NULL';

/** The types of the XenAPI that our fields have. A server encodes values by them. */
export type FieldType =
  | { readonly kind: 'string' | 'int' | 'float' | 'bool' | 'datetime' }
  | { readonly kind: 'enum'; readonly values: readonly string[] }
  | { readonly kind: 'ref'; readonly to: ClassName }
  | { readonly kind: 'set'; readonly of: 'string' | 'ref' }
  /** From strings to strings. */
  | { readonly kind: 'map' };

/** What a field can hold. Integers are safe ones; a datetime is `20261121T18:16:00Z`. */
export type FieldValue = string | number | boolean | readonly string[] | Readonly<Record<string, string>>;

/** One row of a class's table. */
export interface Field<Value extends FieldValue = FieldValue> {
  readonly type: FieldType;
  /** Of a record that was made without it. */
  readonly initial: Value;
  /** Ours alone: no getter shows it. */
  readonly internal?: true;
  /** Only in memory: progress need not survive anything. */
  readonly volatile?: true;
  /** Not stored: the references of all records of that class whose field points here. */
  readonly backReference?: readonly [from: ClassName, field: string];
}

const EPOCH_TEXT = '19700101T00:00:00Z';

export const text = (initial = ''): Field<string> => ({ type: { kind: 'string' }, initial });
export const int = (initial = 0): Field<number> => ({ type: { kind: 'int' }, initial });
export const float = (initial = 0): Field<number> => ({ type: { kind: 'float' }, initial });
export const bool = (initial = false): Field<boolean> => ({ type: { kind: 'bool' }, initial });
export const datetime = (): Field<string> => ({ type: { kind: 'datetime' }, initial: EPOCH_TEXT });
export const refTo = (to: ClassName): Field<string> => ({ type: { kind: 'ref', to }, initial: NULL_REF });
export const strings = (): Field<readonly string[]> => ({ type: { kind: 'set', of: 'string' }, initial: [] });
export const map = (): Field<Readonly<Record<string, string>>> => ({ type: { kind: 'map' }, initial: {} });

export const oneOf = <const Value extends string>(first: Value, ...others: Value[]): Field<Value> => ({
  type: { kind: 'enum', values: [first, ...others] },
  initial: first,
});

export const referencesFrom = (from: ClassName, field: string): Field<readonly string[]> => ({
  type: { kind: 'set', of: 'ref' },
  initial: [],
  backReference: [from, field],
});

export const internal = <Value extends FieldValue>(field: Field<Value>): Field<Value> => ({
  ...field,
  internal: true,
});
export const volatile = <Value extends FieldValue>(field: Field<Value>): Field<Value> => ({
  ...field,
  volatile: true,
});

/** Whether a value read from a file is one of that type. */
export function fits(value: unknown, type: FieldType): value is FieldValue {
  switch (type.kind) {
    case 'string':
    case 'datetime':
    case 'ref':
      return typeof value === 'string';
    case 'enum':
      return typeof value === 'string' && type.values.includes(value);
    case 'int':
      return Number.isSafeInteger(value);
    case 'float':
      return Number.isFinite(value);
    case 'bool':
      return typeof value === 'boolean';
    case 'set':
      return Array.isArray(value) && value.every((member) => typeof member === 'string');
    case 'map':
      return (
        typeof value === 'object' &&
        value !== null &&
        !Array.isArray(value) &&
        Object.values(value).every((member) => typeof member === 'string')
      );
    default: {
      const never: never = type;
      return never;
    }
  }
}

/** A time as the XenAPI writes it, to the second. */
export function datetimeText(milliseconds: number): string {
  return new Date(milliseconds)
    .toISOString()
    .replaceAll('-', '')
    .replace(/\.\d+Z$/, 'Z');
}
