import type { Image } from '../inspect/image.js';
import type { ImageFile } from '../inspect/image-file.js';
import { openReader } from '../io/open-reader.js';
import { KIB } from '../units.js';

/** Small enough for fifty readers at once. */
const CHUNK_BYTES = 256 * KIB;

/** Bytes of a patch: half open, `start` up to, not including, `end`. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** An upload's bytes on their way out. */
export interface PatchDownload {
  /** Bytes. */
  readonly size: number;
  /**
   * The bytes of a range, or all, in order; the buffers are the receiver's. Any number of times, one after the other.
   *
   * @param range within the size
   * @throws PatchVdiError `image` when they cannot be read; the reason of the signal
   */
  stream(range?: ByteRange): AsyncGenerator<Uint8Array>;
  /** Idempotent. */
  close(): Promise<void>;
}

/** A patch that is still a file. */
export async function downloadFile(path: string, signal: AbortSignal | undefined): Promise<PatchDownload> {
  const reader = await openReader(path, signal === undefined ? {} : { abortSignal: signal });
  const size = reader.sizeBytes ?? 0;
  async function* stream({ start, end }: ByteRange = { start: 0, end: size }): AsyncGenerator<Uint8Array> {
    for (let at = start; at < end;) {
      const chunk = new Uint8Array(Math.min(CHUNK_BYTES, end - at));
      await reader.readInto(chunk, at);
      at += chunk.length;
      yield chunk;
    }
  }
  return { size, stream, close: () => reader.close() };
}

/** The file `patch` in a VDI. @throws PatchVdiError `image` */
export async function downloadFromImage(
  image: Image,
  signal: AbortSignal | undefined,
): Promise<PatchDownload> {
  try {
    const file = await image.patch();
    const stream = (range?: ByteRange): AsyncGenerator<Uint8Array> =>
      fileRange(image, file, range ?? { start: 0, end: file.size }, signal);
    return { size: file.size, stream, close: () => image.close() };
  } catch (error) {
    await image.close();
    throw error;
  }
}

async function* fileRange(
  image: Image,
  file: ImageFile,
  { start, end }: ByteRange,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  for await (const { fileOffset, length, diskOffset, inline } of file.pieces()) {
    if (fileOffset >= end) return;
    const last = Math.min(fileOffset + length, end);
    for (let at = Math.max(start, fileOffset); at < last;) {
      signal?.throwIfAborted();
      const chunk = new Uint8Array(Math.min(CHUNK_BYTES, last - at));
      const skipped = at - fileOffset;
      if (inline !== undefined) chunk.set(inline.subarray(skipped, skipped + chunk.length));
      else if (diskOffset !== undefined)
        await image.readInto(chunk, image.offsetBytes + diskOffset + skipped);
      // Else a hole: zeros, as the buffer has them.
      at += chunk.length;
      yield chunk;
    }
  }
}
