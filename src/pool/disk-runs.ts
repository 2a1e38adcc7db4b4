import type { DiskBytes } from './storage.js';
import { KIB, MIB } from '../units.js';

/** One read. */
const READ_BYTES = MIB;
/** Zeros are looked for in pieces of this size: the block of most file systems. */
const PIECE_BYTES = 4 * KIB;

const ZEROS = Buffer.alloc(READ_BYTES);

/** Whether all bytes are zero; at most 1 MiB. */
export function isZero(bytes: Uint8Array): boolean {
  return ZEROS.compare(bytes, 0, bytes.length, 0, bytes.length) === 0;
}

/** The runs of a buffer that are not zeros, in pieces of 4 KiB. */
export function* runsOf(buffer: Uint8Array, offset: number): Generator<DiskBytes> {
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

/** Of the whole disk, what is not zeros. Reads all of it: that a file has holes cannot be asked from here. */
export async function* dataRuns(
  disk: { readInto(target: Uint8Array, offset: number): Promise<void> },
  sizeBytes: number,
  signal?: AbortSignal,
): AsyncGenerator<DiskBytes> {
  const buffer = new Uint8Array(Math.min(READ_BYTES, sizeBytes));
  for (let at = 0; at < sizeBytes; at += buffer.length) {
    signal?.throwIfAborted();
    const bytes = buffer.subarray(0, Math.min(buffer.length, sizeBytes - at));
    await disk.readInto(bytes, at);
    yield* runsOf(bytes, at);
  }
}

/** A stream as runs, from offset 0 on. */
export async function* streamRuns(
  source: AsyncIterable<Uint8Array>,
  signal?: AbortSignal,
): AsyncGenerator<DiskBytes> {
  let offset = 0;
  for await (const chunk of source) {
    signal?.throwIfAborted();
    for (let at = 0; at < chunk.length; at += READ_BYTES) {
      yield* runsOf(chunk.subarray(at, at + READ_BYTES), offset + at);
    }
    offset += chunk.length;
  }
}
