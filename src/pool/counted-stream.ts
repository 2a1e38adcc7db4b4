import { PatchVdiError } from '../errors.js';
import { untilAborted } from '../io/until-aborted.js';
import { MIB } from '../units.js';
import type { ImportOptions } from './storage.js';

export function tooLong(path: string, found: number, expected: number): PatchVdiError {
  return new PatchVdiError('upload', 'the stream is longer than the disk', {
    context: { path, found: `at least ${found} bytes`, expected: `${expected} bytes at most` },
  });
}

/** The same stream; a task that is cancelled does not wait for a client that sends nothing. */
async function* untilStopped(
  source: AsyncIterable<Uint8Array>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  if (signal === undefined) return yield* source;
  const chunks = source[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = await untilAborted(chunks.next(), signal);
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    // It comes to its end when its connection does: that is not waited for.
    chunks.return?.().catch(() => undefined);
  }
}

/** The same stream; an error when it is not as long as announced, and progress by what has come. */
export async function* countedStream(
  source: AsyncIterable<Uint8Array>,
  mostBytes: number,
  { contentLength, signal, onProgress }: ImportOptions,
): AsyncGenerator<Uint8Array> {
  if (contentLength !== undefined && contentLength > mostBytes)
    throw tooLong('upload', contentLength, mostBytes);
  let bytes = 0;
  let told = 0;
  for await (const chunk of untilStopped(source, signal)) {
    signal?.throwIfAborted();
    bytes += chunk.length;
    if (bytes > mostBytes) throw tooLong('upload', bytes, mostBytes);
    yield chunk;
    if (contentLength === undefined || bytes - told < MIB) continue;
    told = bytes;
    onProgress?.(Math.min(1, bytes / contentLength));
  }
  if (contentLength === undefined || bytes === contentLength) return;
  throw new PatchVdiError('upload', 'the stream does not have the announced length', {
    context: { found: `${bytes} bytes`, expected: `${contentLength} bytes` },
  });
}
