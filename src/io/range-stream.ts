import { PatchVdiError, isPatchVdiError, systemErrorCode } from '../errors.js';
import type { HttpBody } from './http-body.js';
import { PullStream, type PullRequest } from './pull-stream.js';

/** A connection that was there and is not any more: asking again may help. */
const BROKEN_CODES = new Set(['ECONNRESET', 'ECONNABORTED', 'EPIPE', 'ETIMEDOUT']);

/** True for the error of a connection that broke, before the answer or in the middle of it. */
export function isBrokenConnection(error: unknown): boolean {
  return isPatchVdiError(error) && BROKEN_CODES.has(systemErrorCode(error.cause) ?? '');
}

/** The body of an answer to a request for one range, read from front to back. */
export class RangeStream {
  readonly #stream: PullStream;
  readonly #name: string;
  readonly #first: number;

  /** @param first where the range begins in the image, in bytes */
  constructor(body: HttpBody, first: number, request: PullRequest) {
    this.#stream = new PullStream(body, request);
    this.#name = body.name;
    this.#first = first;
  }

  /** Where in the image the next byte lies, also after an error. */
  get position(): number {
    return this.#first + this.#stream.position;
  }

  /**
   * Fills `target` with the bytes from there, and passes over those in between.
   *
   * @param offsetBytes not behind `position`; the range that was asked for does not end before the target does
   * @throws PatchVdiError `image`, see {@link isBrokenConnection}; `target` is filled as far as `position` then
   */
  async readInto(target: Uint8Array, offsetBytes: number): Promise<void> {
    const endBytes = offsetBytes + target.length;
    while (this.position < endBytes) {
      const { position } = this;
      const bytes = await this.#stream.peek();
      if (bytes === undefined) throw this.#endedEarly(endBytes);
      const skipped = Math.min(bytes.length, Math.max(0, offsetBytes - position));
      const read = Math.min(bytes.length - skipped, endBytes - position - skipped);
      if (read > 0) target.set(bytes.subarray(skipped, skipped + read), position + skipped - offsetBytes);
      this.#stream.take(skipped + read);
    }
  }

  /** Without a Content-Length, a connection that is closed looks like the end. */
  #endedEarly(endBytes: number): PatchVdiError {
    const cause = Object.assign(new Error('closed before its end'), { code: 'ECONNRESET' });
    return new PatchVdiError('image', 'the image broke off', {
      context: {
        path: this.#name,
        offset: this.position,
        found: 'the end of the answer',
        expected: `bytes up to ${endBytes}`,
      },
      cause,
    });
  }

  close(reason: Error): void {
    this.#stream.close(reason);
  }
}
