import type { FindingCode } from '../finding-codes.js';
import { PatchVdiError } from '../errors.js';
import type { Finding } from '../findings.js';
import type { StructValues } from '../struct.js';
import { SUPERBLOCK_OFFSET_BYTES, superBlock } from './layout.js';

export type RawSuperblock = StructValues<(typeof superBlock)['rows']>;
type FieldName = keyof typeof superBlock.rows;

function offsetOf(field: FieldName): number {
  return SUPERBLOCK_OFFSET_BYTES + superBlock.rows[field][0];
}

const NOT_SEALED = 'a disk that was never sealed, or is cut off, looks like this: build or copy it again';

/** The error of a field without which nothing can be read. */
export function refusal(field: FieldName, found: string, expected: string): PatchVdiError {
  return new PatchVdiError('image', 'this is not an ext file system that can be read', {
    context: { operation: 'read the superblock', offset: offsetOf(field), space: 'disk', found, expected },
    ...(field === 's_magic' ? { hint: NOT_SEALED } : {}),
  });
}

/** A finding about one field, which can be read past. */
export function fieldFinding(
  severity: Finding['severity'],
  code: FindingCode,
  field: FieldName,
  found: string,
  expected: string,
): Finding {
  return { code, severity, structure: 'superblock', space: 'disk', offset: offsetOf(field), found, expected };
}

/** A number in two halves, as long as it stays exact: both are on disk as u32. */
export function wide(low: number, high: number): number {
  return low + high * 2 ** 32;
}

export function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
