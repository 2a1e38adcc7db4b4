import { createInflate, createInflateRaw, type Inflate, type InflateRaw } from 'node:zlib';
import { isPatchVdiError } from '../errors.js';
import type { Complain } from './complaint.js';
import { Releases } from './releases.js';

/** Compression algorithms, RFC 4880 §9.3. */
const ALGORITHM_NAMES: Readonly<Record<number, string>> = { 0: 'uncompressed', 3: 'BZip2' };

/** Bytes handed on at a time, and with the window all the memory that inflating takes. */
const OUTPUT_CHUNK_BYTES = 64 * 1024;

/**
 * Inflates the body of a Compressed Data packet (RFC 4880 §5.6) beside gpgv, in zlib's worker threads, and hands the
 * clear bytes on at once. Ends in exactly one way: `finish` resolves, or `fail` was told why not.
 */
export class Inflater {
  readonly #stream: Inflate | InflateRaw;
  readonly #complain: Complain;
  readonly #fail: (error: Error) => void;
  readonly #releases = new Releases();
  readonly #closed: Promise<void>;
  #takenBytes = 0;
  #failed = false;

  /**
   * @param algorithm the packet's first octet; only ZIP (1) and ZLIB (2), else throws `signature`
   * @param take gets the inflated bytes, valid during the call; what it throws goes to `fail`
   */
  constructor(
    algorithm: number,
    take: (bytes: Uint8Array) => void,
    fail: (error: Error) => void,
    complain: Complain,
  ) {
    this.#complain = complain;
    this.#fail = fail;
    const options = { chunkSize: OUTPUT_CHUNK_BYTES };
    if (algorithm === 1) this.#stream = createInflateRaw(options);
    else if (algorithm === 2) this.#stream = createInflate(options);
    else {
      throw complain('a compression algorithm that is not supported', {
        found: `${ALGORITHM_NAMES[algorithm] ?? 'unknown'} (algorithm ${algorithm})`,
        expected: 'ZIP (1) or ZLIB (2)',
        hint: 'sign with --compress-algo zlib, or with --compress-algo none',
      });
    }
    this.#stream.on('data', (bytes: Uint8Array) => {
      if (this.#failed) return;
      try {
        take(bytes);
      } catch (error) {
        this.#failWith(error);
      }
    });
    this.#stream.on('error', (error) => this.#failWith(error));
    this.#closed = new Promise((resolve) => {
      this.#stream.on('close', () => {
        // After a failure zlib's thread may still read one chunk; whatever it makes of it is thrown away.
        this.#releases.close();
        resolve();
      });
    });
  }

  /** Inflates the next compressed bytes. They must not change until `done` was called, which happens once. */
  write(bytes: Uint8Array, done: () => void): void {
    this.#takenBytes += bytes.length;
    const endOffset = this.#takenBytes;
    const release = this.#releases.lend(done);
    this.#stream.write(bytes, () => {
      // zlib stops at the end of the deflate stream and silently ignores what follows: it took less than it got.
      if (this.#stream.bytesWritten < endOffset && !this.#stream.destroyed) this.#refuseTrailing(endOffset);
      release();
    });
  }

  /** The packet has ended. Resolves when all was handed on, or after `fail` was called. */
  async finish(): Promise<void> {
    if (this.#failed) return;
    this.#stream.end();
    await this.#closed;
    if (this.#stream.bytesWritten < this.#takenBytes) this.#refuseTrailing(this.#takenBytes);
  }

  /** Stops at once, without a word. Idempotent; resolves when every buffer was given back. */
  async destroy(): Promise<void> {
    this.#failed = true;
    this.#stream.destroy();
    await this.#closed;
  }

  #refuseTrailing(endOffset: number): void {
    this.#failWith(
      this.#complain('bytes behind the compressed data', {
        found: `${endOffset - this.#stream.bytesWritten} bytes or more behind the end of the compressed data`,
        expected: 'the end of the Compressed Data packet',
      }),
    );
  }

  #failWith(error: unknown): void {
    if (this.#failed) return;
    this.#failed = true;
    const reason = error instanceof Error ? error : new Error(String(error));
    this.#stream.destroy();
    this.#fail(
      isPatchVdiError(reason)
        ? reason
        : this.#complain('the compressed data is damaged or cut off', {
            found: reason.message,
            cause: reason,
          }),
    );
  }
}
