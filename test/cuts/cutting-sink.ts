import type { Sink } from '../../src/io/sink.js';

/** Thrown where the output is cut: as if the process had been killed there. */
export class Cut extends Error {}

/** After how many whole operations, and after which part of the next write, the output ends. */
export interface CutPoint {
  readonly operations: number;
  /** From 0 to 1, of the bytes of the write that is cut. */
  readonly fraction: number;
}

/**
 * A sink that dies at a given point and leaves everything as it is then: nothing is discarded, nothing committed.
 * Without a point it counts.
 */
export class CuttingSink implements Sink {
  readonly name: string;
  readonly seekable: boolean;
  /** Writes so far, zeros included. */
  operations = 0;
  /** How many there were when the body was flushed, that is before the seal; undefined until then. */
  operationsBeforeSeal: number | undefined;
  readonly #sink: Sink;
  readonly #point: CutPoint | undefined;

  constructor(sink: Sink, point?: CutPoint) {
    this.#sink = sink;
    this.#point = point;
    this.name = sink.name;
    this.seekable = sink.seekable;
  }

  write(bytes: Uint8Array, position: number, done?: () => void): void {
    if (this.operations === this.#point?.operations) {
      const kept = Math.floor(bytes.length * this.#point.fraction);
      if (kept > 0) this.#sink.write(bytes.subarray(0, kept), position);
      throw new Cut();
    }
    this.operations += 1;
    this.#sink.write(bytes, position, done);
  }

  writeZeros(position: number, length: number): void {
    if (this.operations === this.#point?.operations) throw new Cut();
    this.operations += 1;
    this.#sink.writeZeros(position, length);
  }

  drained(): Promise<void> | undefined {
    return this.#sink.drained();
  }

  async flush(): Promise<void> {
    this.operationsBeforeSeal ??= this.operations;
    await this.#sink.flush();
  }

  async commit(outputLength: number): Promise<void> {
    if (this.#point !== undefined) throw new Cut();
    await this.#sink.commit(outputLength);
  }

  discard(): Promise<void> {
    // A killed process discards nothing.
    return Promise.resolve();
  }
}
