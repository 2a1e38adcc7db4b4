import type { ByteReader } from '../bytes.js';
import { KIB } from '../units.js';
import type { TransferOptions } from './storage.js';

/** Small enough for fifty readers at once. */
const CHUNK_BYTES = 256 * KIB;

/** A disk from its first byte to its last; every buffer is new and the receiver's. */
export async function* openRawStream(
  disk: Pick<ByteReader, 'readInto'>,
  sizeBytes: number,
  { signal, onProgress }: TransferOptions = {},
): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < sizeBytes;) {
    signal?.throwIfAborted();
    const chunk = new Uint8Array(Math.min(CHUNK_BYTES, sizeBytes - at));
    await disk.readInto(chunk, at);
    at += chunk.length;
    yield chunk;
    onProgress?.(at / sizeBytes);
  }
}
