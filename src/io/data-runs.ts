import { KIB, MIB } from '../units.js';

/** Zeros are looked for in pieces of this size: the block of most file systems. */
const PIECE_BYTES = 4 * KIB;

const ZEROS = Buffer.alloc(MIB);

/** Bytes that are not zeros; a view of the buffer in which they were found. */
export interface DataRun {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** Whether all bytes are zero; at most 1 MiB. */
function isZero(bytes: Uint8Array): boolean {
  return ZEROS.compare(bytes, 0, bytes.length, 0, bytes.length) === 0;
}

/**
 * The runs of a buffer that are not zeros, in pieces of 4 KiB.
 *
 * @param buffer at most 1 MiB
 * @param offset of its first byte
 */
export function* runsOf(buffer: Uint8Array, offset: number): Generator<DataRun> {
  if (isZero(buffer)) return;
  let start: number | undefined;
  for (let at = 0; at < buffer.length; at += PIECE_BYTES) {
    const empty = isZero(buffer.subarray(at, at + PIECE_BYTES));
    if (empty && start !== undefined) {
      yield { offset: offset + start, bytes: buffer.subarray(start, at) };
      start = undefined;
    }
    if (!empty) start ??= at;
  }
  if (start !== undefined) yield { offset: offset + start, bytes: buffer.subarray(start) };
}
