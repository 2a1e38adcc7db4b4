import { runsOf } from '../io/data-runs.js';
import { MIB } from '../units.js';
import type { DiskBytes } from './storage.js';

/** One read. */
const READ_BYTES = MIB;
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
