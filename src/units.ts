import { invariant } from './errors.js';

/** Bytes. */
export const KIB = 1024;
/** Bytes. */
export const MIB = 1024 * KIB;
/** Bytes. */
export const GIB = 1024 * MIB;
/** Bytes. */
export const TIB = 1024 * GIB;

/** Bytes in a sector of a VHD (VHD specification, "Block Allocation Table and Data Blocks"). */
export const SECTOR_BYTES = 512;

/**
 * `value` as a number of bytes that arithmetic can trust: an integer from 0 to 2^53 - 1.
 * Sizes here end at 16 TiB, so a checked `number` is enough; what does not fit is a defect, because every size
 * from outside was checked by its parser first.
 */
export function checkedBytes(value: number | bigint): number {
  const bytes = Number(value);
  invariant(Number.isSafeInteger(bytes) && bytes >= 0, `${value} is a safe, non-negative number of bytes`);
  return bytes;
}

/** The smallest multiple of `multiple` that is not below `value`; both in the same unit. */
export function roundUp(value: number, multiple: number): number {
  return checkedBytes(Math.ceil(value / multiple) * multiple);
}

/** How many units of `unit` it takes to hold `value`; both in the same unit. */
export function unitsToHold(value: number, unit: number): number {
  return Math.ceil(value / unit);
}

const SIZE_FACTORS: Readonly<Record<string, number>> = {
  '': 1,
  B: 1,
  K: KIB,
  KIB: KIB,
  M: MIB,
  MIB: MIB,
  G: GIB,
  GIB: GIB,
  T: TIB,
  TIB: TIB,
};

/**
 * A size as people write it: `1073741824`, `200M`, `4GiB` (powers of 1024, as mke2fs and qemu-img read them).
 * `200MB` is refused, because half of its readers take it for 1000 and half for 1024.
 *
 * @returns bytes, or undefined when the text is not such a size or is beyond 2^53 - 1
 */
export function parseByteSize(text: string): number | undefined {
  const match = /^(\d{1,16})\s*([A-Za-z]*)$/.exec(text.trim());
  if (match === null) return undefined;
  const factor = SIZE_FACTORS[(match[2] ?? '').toUpperCase()];
  if (factor === undefined) return undefined;
  const bytes = Number(match[1]) * factor;
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

const IEC_UNITS = [
  ['TiB', TIB],
  ['GiB', GIB],
  ['MiB', MIB],
  ['KiB', KIB],
] as const;

/** A size for messages and tables: exact when it is a whole number of a unit (`4 GiB`), else one decimal and the bytes. */
export function describeBytes(bytes: number): string {
  for (const [unit, factor] of IEC_UNITS) {
    if (bytes < factor) continue;
    return bytes % factor === 0
      ? `${bytes / factor} ${unit}`
      : `${(bytes / factor).toFixed(1)} ${unit} (${bytes} bytes)`;
  }
  return bytes === 1 ? '1 byte' : `${bytes} bytes`;
}
