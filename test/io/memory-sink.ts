import type { Sink } from '../../src/io/sink.js';

export interface MemorySinkOptions {
  readonly seekable: boolean;
  /** Whether a write is taken only later, as a slow stream does it. */
  readonly late?: boolean;
  /** Whether the sink wants a pause after the write of that number. */
  readonly pauseAfter?: (writeNumber: number) => boolean;
}

interface LateWrite {
  readonly bytes: Uint8Array;
  readonly position: number;
  readonly done: (() => void) | undefined;
}

/**
 * A sink that keeps what it gets. A late one looks at the bytes only when it takes them: they must still be there.
 * Once it was asked whether it wants a pause, and did, a write before the end of the pause is an error.
 */
export class MemorySink implements Sink {
  readonly name = 'memory';
  readonly seekable: boolean;
  readonly output: Buffer;
  /** Places in the order in which they were written. */
  readonly positions: number[] = [];
  readonly #options: MemorySinkOptions;
  readonly #late: LateWrite[] = [];
  #writes = 0;
  #wantsPause = false;
  #inPause = false;

  constructor(lengthBytes: number, options: MemorySinkOptions) {
    this.output = Buffer.alloc(lengthBytes);
    this.seekable = options.seekable;
    this.#options = options;
  }

  #count(position: number): void {
    if (this.#inPause) throw new Error(`a write at ${position} during a pause`);
    this.#writes += 1;
    this.positions.push(position);
    this.#wantsPause ||= this.#options.pauseAfter?.(this.#writes) === true;
  }

  write(bytes: Uint8Array, position: number, done?: () => void): void {
    this.#count(position);
    const late = { bytes, position, done };
    if (this.#options.late === true) this.#late.push(late);
    else this.#take(late);
  }

  writeZeros(position: number, length: number): void {
    this.#count(position);
    this.output.fill(0, position, position + length);
  }

  #take({ bytes, position, done }: LateWrite): void {
    this.output.set(bytes, position);
    done?.();
  }

  async #takeAll(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    for (const write of this.#late.splice(0)) this.#take(write);
    this.#inPause = false;
  }

  drained(): Promise<void> | undefined {
    if (!this.#wantsPause) return undefined;
    this.#wantsPause = false;
    this.#inPause = true;
    return this.#takeAll();
  }

  flush(): Promise<void> {
    return this.#takeAll();
  }

  commit(): Promise<void> {
    return this.flush();
  }

  discard(): Promise<void> {
    return Promise.resolve();
  }
}
