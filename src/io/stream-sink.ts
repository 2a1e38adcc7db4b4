import { fstatSync, writeSync } from 'node:fs';
import { Socket } from 'node:net';
import type { Writable } from 'node:stream';
import { PatchVdiError, invariant } from '../errors.js';
import { KIB, MIB } from '../units.js';
import { positionOf } from './descriptor-position.js';
import type { Sink } from './sink.js';
import { writeFailure } from './system-errors.js';

/** Bytes that may wait in a stream before the writer stops to let it drain. */
const HIGH_WATER_BYTES = MIB;

const ZEROS = Buffer.alloc(64 * KIB);

/** What both stream sinks share: bytes must come in order, and zeros are real bytes from one buffer. */
abstract class OrderedSink implements Sink {
  readonly name: string;
  readonly seekable = false;
  #position = 0;

  constructor(name: string) {
    this.name = name;
  }

  write(bytes: Uint8Array, position: number, done?: () => void): void {
    invariant(
      position === this.#position,
      `a stream is written in order (at ${this.#position}, not at ${position})`,
    );
    this.#position += bytes.length;
    this.send(bytes, position, done);
  }

  writeZeros(position: number, length: number): void {
    for (let at = 0; at < length; at += ZEROS.length) {
      this.write(ZEROS.subarray(0, Math.min(ZEROS.length, length - at)), position + at);
    }
  }

  async commit(outputLength: number): Promise<void> {
    invariant(
      this.#position === outputLength,
      `the stream got ${outputLength} bytes (it got ${this.#position})`,
    );
    await this.flush();
  }

  protected abstract send(bytes: Uint8Array, position: number, done?: () => void): void;
  abstract drained(): Promise<void> | undefined;
  abstract flush(): Promise<void>;
  abstract discard(): Promise<void>;
}

/**
 * A pipe, a socket or any Node stream. Writes are asynchronous: a reader that stalls must not stop Ctrl-C.
 * The stream is not ended by us: whoever gave it closes it.
 */
export class WritableSink extends OrderedSink {
  readonly #stream: Writable;
  #failing = false;
  #failure: PatchVdiError | undefined;
  #pending = 0;
  readonly #waiting = new Set<{
    resolve: () => void;
    reject: (error: Error) => void;
    whenPendingAtMost: number;
  }>();
  readonly #onError: (cause: Error) => void;
  readonly #abortSignal: AbortSignal | undefined;

  /** @param abortSignal ends every wait with its reason: a reader that stalls must not hold a build that is stopped */
  constructor(name: string, stream: Writable, abortSignal?: AbortSignal) {
    super(name);
    this.#stream = stream;
    this.#abortSignal = abortSignal;
    this.#onError = (cause) => this.fail(cause);
    stream.on('error', this.#onError);
    stream.on('close', this.#onClose);
    abortSignal?.addEventListener('abort', this.#onAbort);
  }

  readonly #onAbort = (): void => this.#rejectWaiting(this.#abortSignal?.reason as Error);

  readonly #onClose = (): void => {
    if (this.#pending > 0) this.fail(new Error('closed while bytes were waiting'));
  };

  /** The first fault counts. */
  protected fail(cause: Error): void {
    if (this.#failing) return;
    this.#failing = true;
    const failure = this.explain(cause);
    if (failure instanceof Promise) void failure.then((error) => this.failed(error));
    else this.failed(failure);
  }

  /** The error of a stream that broke. Whoever waits for the stream waits for the explanation. */
  protected explain(cause: Error): PatchVdiError | Promise<PatchVdiError> {
    return writeFailure(this.name, 0, cause);
  }

  protected failed(error: PatchVdiError): void {
    this.#failure = error;
    this.#rejectWaiting(error);
  }

  /** Whether it has failed, or is about to. */
  protected get failing(): boolean {
    return this.#failing;
  }

  #rejectWaiting(error: Error): void {
    for (const waiter of this.#waiting) waiter.reject(error);
    this.#waiting.clear();
  }

  protected send(bytes: Uint8Array, _position: number, done?: () => void): void {
    if (this.#failure !== undefined) throw this.#failure;
    this.#pending += bytes.length;
    this.#stream.write(bytes, (error) => {
      this.#pending -= bytes.length;
      if (error) this.fail(error);
      else this.#wake();
      done?.();
    });
  }

  #wake(): void {
    for (const waiter of this.#waiting) {
      if (this.#pending > waiter.whenPendingAtMost) continue;
      this.#waiting.delete(waiter);
      waiter.resolve();
    }
  }

  #waitFor(whenPendingAtMost: number): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#abortSignal?.aborted === true) return Promise.reject(this.#abortSignal.reason as Error);
    if (this.#pending <= whenPendingAtMost && !this.#failing) return Promise.resolve();
    return new Promise((resolve, reject) => this.#waiting.add({ resolve, reject, whenPendingAtMost }));
  }

  /** Waits for something else than room: until `register`'s argument was called, unless the stream fails first. */
  protected until(register: (done: () => void) => void): Promise<void> {
    const waiting = this.#waitFor(-1);
    for (const waiter of this.#waiting) {
      if (waiter.whenPendingAtMost < 0) register(waiter.resolve);
    }
    return waiting;
  }

  drained(): Promise<void> | undefined {
    if (!this.#failing && this.#pending <= HIGH_WATER_BYTES) return undefined;
    return this.#waitFor(HIGH_WATER_BYTES / 2);
  }

  flush(): Promise<void> {
    return this.#waitFor(0);
  }

  discard(): Promise<void> {
    this.#abortSignal?.removeEventListener('abort', this.#onAbort);
    this.#stream.off('close', this.#onClose);
    // What is under way may still fail, and must not surprise the owner of the stream; after that it is theirs again.
    if (this.#pending === 0) this.#stream.off('error', this.#onError);
    return Promise.resolve();
  }
}

/**
 * A descriptor that never makes anybody wait: a regular file behind `>`, /dev/null. Written where the descriptor
 * stands, so that `>>` and a shared descriptor work as with any program.
 */
export class DescriptorSink extends OrderedSink {
  readonly #fd: number;

  constructor(name: string, fd: number) {
    super(name);
    this.#fd = fd;
    requireNothingBehind(name, fd);
  }

  protected send(bytes: Uint8Array, position: number, done?: () => void): void {
    let written = 0;
    try {
      while (written < bytes.length) written += writeSync(this.#fd, bytes, written, bytes.length - written);
    } catch (error) {
      throw writeFailure(this.name, position + written, error);
    }
    done?.();
  }

  drained(): Promise<void> | undefined {
    return undefined;
  }

  flush(): Promise<void> {
    return Promise.resolve();
  }

  discard(): Promise<void> {
    return Promise.resolve();
  }
}

/**
 * What lies behind the place where we start to write could complete an image that we never finish: the superblock of
 * the last one lies at the same place. So there must be nothing.
 */
function requireNothingBehind(name: string, fd: number): void {
  const stats = fstatSync(fd);
  const refuse = (found: string, hint: string): PatchVdiError =>
    new PatchVdiError('usage', 'the old contents of the output would lie behind the new ones', {
      context: {
        operation: 'open',
        path: name,
        found,
        expected: 'a pipe, or a file that the shell has made empty',
      },
      hint,
    });
  if (stats.isBlockDevice()) throw refuse('a block device', 'name the device with -o');
  if (stats.isFile() && stats.size > positionOf(fd)) {
    throw refuse(`a file with ${stats.size} bytes`, 'use > (not 1<>), or -o FILE --force');
  }
}

/**
 * The sink for an open descriptor, usually standard output.
 *
 * @throws PatchVdiError `usage` for a block device, and a file that already holds something there
 */
export function openDescriptorSink(name: string, fd: number, abortSignal?: AbortSignal): Sink {
  const stats = fstatSync(fd);
  if (stats.isFIFO() || stats.isSocket())
    return new WritableSink(name, new Socket({ fd, readable: false, writable: true }), abortSignal);
  return new DescriptorSink(name, fd);
}
