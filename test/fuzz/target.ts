import { fieldBytes, type FieldRow } from '../../src/struct.js';

/** Where structures are read and changed: the bytes of an image file, or of the disk inside. */
export interface BytesIo {
  read(offset: number, length: number): Uint8Array;
  write(offset: number, bytes: Uint8Array): void;
}

/** A number on disk. */
export interface Field {
  /** In bytes, in the space of its target. */
  readonly offset: number;
  readonly bytes: number;
  readonly little: boolean;
}

/** A structure that a mutation may hit. */
export interface Target {
  /** What it is, one word for all of its kind: mutations choose a kind first. */
  readonly kind: string;
  /** Which bytes `offset` counts. */
  readonly io: BytesIo;
  readonly offset: number;
  readonly length: number;
  readonly fields: readonly Field[];
  /** Puts the checksum of the structure right, as far as it has one. */
  readonly fix?: () => void;
}

/** The numbers of a structure that starts at `base`, as far as it goes; byte fields are left to the byte operators. */
export function fieldsOf(
  { rows }: { readonly rows: Readonly<Record<string, FieldRow>> },
  base: number,
  little: boolean,
  lengthBytes = Number.MAX_SAFE_INTEGER,
): Field[] {
  return Object.values(rows).flatMap(([at, type]) => {
    const bytes = fieldBytes(type);
    if (typeof type !== 'string' || at + bytes > lengthBytes) return [];
    return { offset: base + at, bytes, little };
  });
}

/** A table of numbers of the same width. */
export function numbersAt(base: number, count: number, bytes: number, little: boolean): Field[] {
  return Array.from({ length: count }, (_, index) => ({ offset: base + index * bytes, bytes, little }));
}

export function readField(io: BytesIo, { offset, bytes, little }: Field): bigint {
  const raw = [...io.read(offset, bytes)];
  if (little) raw.reverse();
  return raw.reduce((value, byte) => value * 256n + BigInt(byte), 0n);
}

/** Writes the lowest bits of `value` that fit. */
export function writeField(io: BytesIo, { offset, bytes, little }: Field, value: bigint): void {
  let rest = BigInt.asUintN(bytes * 8, value);
  const raw = new Uint8Array(bytes);
  for (let index = 0; index < bytes; index += 1) {
    raw[little ? index : bytes - 1 - index] = Number(rest % 256n);
    rest /= 256n;
  }
  io.write(offset, raw);
}
