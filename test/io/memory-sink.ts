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

/** A sink that keeps what it gets. A late one looks at the bytes only when it takes them: they must still be there. */
export class MemorySink implements Sink {
  readonly name = 'memory';
  readonly seekable: boolean;
  readonly output: Buffer;
  /** Places in the order in which they were written. */
  readonly positions: number[] = [];
  readonly #options: MemorySinkOptions;
  readonly #late: LateWrite[] = [];
  #writes = 0;
  #pausing = false;

  constructor(lengthBytes: number, options: MemorySinkOptions) {
    this.output = Buffer.alloc(lengthBytes);
    this.seekable = options.seekable;
    this.#options = options;
  }

  write(bytes: Uint8Array, position: number, done?: () => void): void {
    this.#writes += 1;
    this.positions.push(position);
    this.#pausing ||= this.#options.pauseAfter?.(this.#writes) === true;
    const late = { bytes, position, done };
    if (this.#options.late === true) this.#late.push(late);
    else this.#take(late);
  }

  writeZeros(position: number, length: number): void {
    this.#writes += 1;
    this.positions.push(position);
    this.output.fill(0, position, position + length);
  }

  #take({ bytes, position, done }: LateWrite): void {
    this.output.set(bytes, position);
    done?.();
  }

  async #takeAll(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    for (const write of this.#late.splice(0)) this.#take(write);
  }

  drained(): Promise<void> | undefined {
    if (!this.#pausing) return undefined;
    this.#pausing = false;
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
