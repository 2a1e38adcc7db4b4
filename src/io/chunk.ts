/**
 * Some bytes of the upload on their way. They belong to the receiver until it calls `release`, exactly once; then
 * the buffer is filled again. Bytes are never copied on the way: backpressure is a buffer not yet released.
 */
export interface Chunk {
  readonly bytes: Uint8Array;
  readonly release: () => void;
}

/** Takes the next chunk. A returned promise means: nothing more until it resolves. */
export type ChunkReceiver = (chunk: Chunk) => void | Promise<void>;

/** Where the upload comes from. */
export interface UploadSource {
  /** For messages: the path, or `standard input`. */
  readonly name: string;
  /** Bytes that are announced, or undefined. What really comes may be more or less: the receiver counts. */
  readonly contentLength: number | undefined;
  /** The length is known, and `pump` may be called again when it has ended: it hands out the whole upload once more. */
  readonly repeatable?: boolean;
  /**
   * Hands out the upload from its first byte to its end; once, unless it is repeatable.
   *
   * @throws what the receiver throws; the reason of `abortSignal`; PatchVdiError `upload` when it breaks off
   */
  pump(receive: ChunkReceiver, abortSignal: AbortSignal): Promise<void>;
  /** Frees what the source holds; safe at any time. */
  close(): void;
}

/** A fixed set of buffers: memory does not grow with the upload. */
export class BufferPool {
  readonly #free: Buffer[] = [];
  #onGive: (() => void) | undefined;

  constructor(count: number, bytesEach: number) {
    for (let index = 0; index < count; index += 1) this.#free.push(Buffer.allocUnsafeSlow(bytesEach));
  }

  get freeCount(): number {
    return this.#free.length;
  }

  take(): Buffer | undefined {
    return this.#free.pop();
  }

  give(buffer: Buffer): void {
    this.#free.push(buffer);
    this.#onGive?.();
  }

  /** Calls `listener` whenever a buffer comes back; one listener at a time. */
  onGive(listener: (() => void) | undefined): void {
    this.#onGive = listener;
  }
}

/** A `release` that takes effect when it was called `holders` times. */
export function releaseAfter(holders: number, release: () => void): () => void {
  let remaining = holders;
  return () => {
    remaining -= 1;
    if (remaining === 0) release();
  };
}
