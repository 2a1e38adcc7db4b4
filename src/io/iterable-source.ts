import { PatchVdiError, isPatchVdiError } from '../errors.js';
import type { ChunkReceiver, UploadSource } from './chunk.js';
import { untilAborted } from './until-aborted.js';

/** Chunks that may be on their way at the same time; their memory is the caller's. */
const MAX_CHUNKS_UNDER_WAY = 16;

/**
 * An upload from any async iterable of byte chunks: a Node stream, a web stream, a generator. The chunks are used
 * where they stand: whoever made them must not change them afterwards.
 */
export class IterableSource implements UploadSource {
  readonly name: string;
  readonly contentLength: number | undefined;
  readonly #iterable: AsyncIterable<Uint8Array>;

  constructor(name: string, iterable: AsyncIterable<Uint8Array>, contentLength: number | undefined) {
    this.name = name;
    this.#iterable = iterable;
    this.contentLength = contentLength;
  }

  async pump(receive: ChunkReceiver, abortSignal: AbortSignal): Promise<void> {
    abortSignal.throwIfAborted();
    const iterator = this.#iterable[Symbol.asyncIterator]();
    let underWay = 0;
    let wake: (() => void) | undefined;
    const release = (): void => {
      underWay -= 1;
      wake?.();
    };
    let ended = false;
    try {
      for (;;) {
        const next = await untilAborted(this.#next(iterator), abortSignal);
        if (next.done === true) {
          ended = true;
          return;
        }
        if (next.value.length === 0) continue;
        underWay += 1;
        const wait = receive({ bytes: next.value, release });
        if (wait !== undefined) await untilAborted(wait, abortSignal);
        while (underWay >= MAX_CHUNKS_UNDER_WAY) {
          await untilAborted(new Promise<void>((resolve) => (wake = resolve)), abortSignal);
        }
      }
    } finally {
      // Lets the source free itself; a source that never answers must not hold us.
      if (!ended) void Promise.resolve(iterator.return?.()).catch(() => undefined);
    }
  }

  /** Faults of the iterable are faults of the upload; those of the receiver are not. */
  async #next(iterator: AsyncIterator<Uint8Array>): Promise<IteratorResult<Uint8Array>> {
    let next: IteratorResult<Uint8Array>;
    try {
      next = await iterator.next();
    } catch (cause) {
      if (isPatchVdiError(cause)) throw cause;
      const found = cause instanceof Error ? cause.message : String(cause);
      throw new PatchVdiError('upload', 'the upload broke off', {
        context: { path: this.name, found },
        cause,
      });
    }
    if (next.done !== true && !(next.value instanceof Uint8Array)) {
      throw new PatchVdiError('upload', 'the upload is not made of bytes', {
        context: { path: this.name, found: typeof next.value, expected: 'Uint8Array chunks' },
      });
    }
    return next;
  }

  close(): void {
    // Nothing is held between pumps.
  }
}
