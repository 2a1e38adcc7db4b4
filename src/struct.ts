import { invariant } from './errors.js';

/**
 * On-disk structures as tables: one row a field, with the specification's own name, its offset and its type.
 * A table is checked when its module loads (rows in order, no gap, no overlap, right total), so a slip of the pen
 * cannot survive the first import.
 */
export type FieldType = 'u8' | 'u16' | 'u32' | 'u64' | { readonly bytes: number };

/** `[offset in bytes, type]` */
export type FieldRow = readonly [offsetBytes: number, type: FieldType];

type FieldValue<T> = T extends 'u64' ? bigint : T extends { bytes: number } ? Uint8Array : number;

export type StructValues<Rows extends Record<string, FieldRow>> = {
  -readonly [Name in keyof Rows]: FieldValue<Rows[Name][1]>;
};

/** Names of the fields that fit a number. */
type NumberFields<Rows extends Record<string, FieldRow>> = {
  [Name in keyof Rows]: Rows[Name][1] extends 'u8' | 'u16' | 'u32' ? Name : never;
}[keyof Rows];

export interface Struct<Rows extends Record<string, FieldRow>> {
  readonly name: string;
  readonly sizeBytes: number;
  readonly rows: Rows;
  /** Decodes every field at `base`. Byte fields are views into `buffer`, which stays the caller's. */
  decode(buffer: Uint8Array, base?: number): StructValues<Rows>;
  /** Decodes one numeric field at `base`: for tables with many rows, of which few fields matter. */
  number<Name extends NumberFields<Rows>>(view: DataView, base: number, name: Name): number;
  /** A new buffer of `sizeBytes`; fields left out are zero. */
  encode(values: Partial<StructValues<Rows>>): Uint8Array;
  /** Writes one field of an encoded structure in place. */
  set<Name extends keyof Rows>(buffer: Uint8Array, name: Name, value: FieldValue<Rows[Name][1]>): void;
}

const FIXED_WIDTH_BYTES = { u8: 1, u16: 2, u32: 4, u64: 8 } as const;

export function fieldBytes(type: FieldType): number {
  return typeof type === 'string' ? FIXED_WIDTH_BYTES[type] : type.bytes;
}

export function viewOf(buffer: Uint8Array): DataView {
  return new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
}

function readField(
  view: DataView,
  buffer: Uint8Array,
  at: number,
  type: FieldType,
  little: boolean,
): unknown {
  switch (type) {
    case 'u8':
      return view.getUint8(at);
    case 'u16':
      return view.getUint16(at, little);
    case 'u32':
      return view.getUint32(at, little);
    case 'u64':
      return view.getBigUint64(at, little);
    default:
      return buffer.subarray(at, at + type.bytes);
  }
}

function writeField(buffer: Uint8Array, at: number, type: FieldType, value: unknown, little: boolean): void {
  const view = viewOf(buffer);
  if (typeof type === 'object') {
    invariant(
      value instanceof Uint8Array && value.length === type.bytes,
      `a byte field of ${type.bytes} gets as many`,
    );
    buffer.set(value, at);
  } else if (type === 'u64') {
    invariant(
      typeof value === 'bigint' && value >= 0n && value < 1n << 64n,
      `a u64 gets a fitting bigint, not ${String(value)}`,
    );
    view.setBigUint64(at, value, little);
  } else {
    const bits = 8 * FIXED_WIDTH_BYTES[type];
    const fits = typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < 2 ** bits;
    invariant(fits, `a ${type} gets a fitting number, not ${String(value)}`);
    if (type === 'u8') view.setUint8(at, value);
    else if (type === 'u16') view.setUint16(at, value, little);
    else view.setUint32(at, value, little);
  }
}

export function defineStruct<const Rows extends Record<string, FieldRow>>(
  name: string,
  byteOrder: 'little' | 'big',
  sizeBytes: number,
  rows: Rows,
): Struct<Rows> {
  const little = byteOrder === 'little';
  let end = 0;
  const fields = Object.entries(rows);
  for (const [field, [offset, type]] of fields) {
    invariant(offset === end, `${name}.${field} starts where the field before it ends (${offset} = ${end})`);
    end += fieldBytes(type);
  }
  invariant(end === sizeBytes, `the fields of ${name} fill its ${sizeBytes} bytes (they fill ${end})`);

  return {
    name,
    sizeBytes,
    rows,
    decode(buffer, base = 0) {
      invariant(base + sizeBytes <= buffer.length, `a whole ${name} is at hand`);
      const view = viewOf(buffer);
      const values: Record<string, unknown> = {};
      for (const [field, [offset, type]] of fields) {
        values[field] = readField(view, buffer, base + offset, type, little);
      }
      return values as StructValues<Rows>;
    },
    number(view, base, field) {
      const [offset, type] = rows[field] as FieldRow;
      if (type === 'u32') return view.getUint32(base + offset, little);
      return type === 'u16' ? view.getUint16(base + offset, little) : view.getUint8(base + offset);
    },
    encode(values) {
      const buffer = new Uint8Array(sizeBytes);
      for (const [field, value] of Object.entries(values)) {
        const row = rows[field];
        invariant(row !== undefined, `${name} has a field ${field}`);
        writeField(buffer, row[0], row[1], value, little);
      }
      return buffer;
    },
    set(buffer, field, value) {
      const row = rows[field];
      invariant(row !== undefined, `${name} has a field ${String(field)}`);
      writeField(buffer, row[0], row[1], value, little);
    },
  };
}
