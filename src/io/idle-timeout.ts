import { PatchVdiError } from '../errors.js';
import type { ChunkReceiver, UploadSource } from './chunk.js';
import type { Sink } from './sink.js';
import { untilAborted } from './until-aborted.js';

/**
 * Measures how long something that is waited for does not come. While nothing is waited for, no time passes.
 * A call costs no timer: the one that runs is looked at when it is over.
 */
export class StallClock {
  readonly #milliseconds: number;
  readonly #onStall: () => void;
  #timer: NodeJS.Timeout | undefined;
  #waitingSince: number | undefined;

  constructor(milliseconds: number, onStall: () => void) {
    this.#milliseconds = milliseconds;
    this.#onStall = onStall;
  }

  /** Something is waited for, from now on; also called when a part of it came. */
  start(): void {
    this.#waitingSince = performance.now();
    this.#timer ??= this.#arm(this.#milliseconds);
  }

  /** All has come. */
  stop(): void {
    this.#waitingSince = undefined;
  }

  /** For ever. */
  dispose(): void {
    this.stop();
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #arm(milliseconds: number): NodeJS.Timeout {
    return setTimeout(() => {
      this.#timer = undefined;
      if (this.#waitingSince === undefined) return;
      const left = this.#waitingSince + this.#milliseconds - performance.now();
      if (left <= 0) this.#onStall();
      else this.#timer = this.#arm(left);
    }, milliseconds);
  }
}

/** `1.5 seconds`, as `--idle-timeout` was given. */
export function describeSilence(milliseconds: number): string {
  return `nothing for ${milliseconds / 1000} seconds`;
}

/**
 * The same source, which ends with an error of kind `upload` when nothing comes for that long although everything
 * that came was taken.
 */
export function watchSource(source: UploadSource, milliseconds: number): UploadSource {
  return {
    name: source.name,
    contentLength: source.contentLength,
    repeatable: source.repeatable === true,
    close: () => source.close(),
    async pump(receive, abortSignal) {
      const stalled = new AbortController();
      let bytes = 0;
      const clock = new StallClock(milliseconds, () =>
        stalled.abort(
          new PatchVdiError('upload', 'the upload does not go on', {
            context: {
              path: source.name,
              offset: bytes,
              found: describeSilence(milliseconds),
              expected: 'the next bytes, or the end',
            },
            hint: 'look at the program that sends it; --idle-timeout says how long to wait',
          }),
        ),
      );
      const either = AbortSignal.any([abortSignal, stalled.signal]);
      let underWay = 0;
      const startIfAllTaken = (): void => {
        if (underWay === 0) clock.start();
      };
      const watched: ChunkReceiver = (chunk) => {
        bytes += chunk.bytes.length;
        // The receiver holds one more until it wants the next chunk.
        underWay += 2;
        clock.stop();
        const taken = (): void => {
          underWay -= 1;
          startIfAllTaken();
        };
        const release = (): void => {
          chunk.release();
          taken();
        };
        const wait = receive({ bytes: chunk.bytes, release });
        if (wait === undefined) taken();
        return wait?.then(taken);
      };
      clock.start();
      try {
        // Some sources, such as a read of a file in a thread, cannot be stopped: nobody waits for those.
        await untilAborted(source.pump(watched, either), either);
      } finally {
        clock.dispose();
      }
    },
  };
}

/**
 * The same sink, which stops everything with an error of kind `sink` when it has bytes to hand over and no write is
 * taken for that long.
 *
 * @param stop whoever waits, for this sink or for buffers that it holds, listens to it
 */
export class WatchedSink implements Sink {
  readonly name: string;
  readonly seekable: boolean;
  readonly imageBytes?: number;
  readonly #inner: Sink;
  readonly #clock: StallClock;
  #pending = 0;

  constructor(inner: Sink, milliseconds: number, stop: AbortController) {
    this.name = inner.name;
    this.seekable = inner.seekable;
    if (inner.imageBytes !== undefined) this.imageBytes = inner.imageBytes;
    this.#inner = inner;
    this.#clock = new StallClock(milliseconds, () =>
      stop.abort(
        new PatchVdiError('sink', 'the output does not take any more', {
          context: {
            operation: 'write',
            path: inner.name,
            found: describeSilence(milliseconds),
            expected: 'a reader that reads on',
          },
          hint: 'look at the program that reads it; --idle-timeout says how long to wait',
        }),
      ),
    );
  }

  #begin(): void {
    this.#pending += 1;
    if (this.#pending === 1) this.#clock.start();
  }

  readonly #end = (): void => {
    this.#pending -= 1;
    if (this.#pending === 0) this.#clock.stop();
    else this.#clock.start();
  };

  #watch(wait: Promise<void>): Promise<void> {
    this.#begin();
    return wait.finally(this.#end);
  }

  async begin(outputLength: number): Promise<void> {
    if (this.#inner.begin !== undefined) await this.#watch(this.#inner.begin(outputLength));
  }

  write(bytes: Uint8Array, position: number, done?: () => void): void {
    this.#begin();
    this.#inner.write(bytes, position, () => {
      this.#end();
      done?.();
    });
  }

  writeZeros(position: number, length: number): void {
    this.#inner.writeZeros(position, length);
  }

  drained(): Promise<void> | undefined {
    const wait = this.#inner.drained();
    return wait === undefined ? undefined : this.#watch(wait);
  }

  flush(): Promise<void> {
    return this.#watch(this.#inner.flush());
  }

  commit(outputLength: number): Promise<void> {
    return this.#watch(this.#inner.commit(outputLength));
  }

  discard(): Promise<void> {
    this.#clock.dispose();
    return this.#inner.discard();
  }
}
