import { PatchVdiError } from '../errors.js';
import { printable } from '../signature/printable.js';
import type { ChunkReceiver, UploadSource } from './chunk.js';
import { connectionFailure, type HttpTarget } from './http.js';
import { refuseAnswer, type FetchedKind, type Fetched, type HttpAnswer } from './http-get.js';
import { pumpReadable } from './pump-readable.js';

/** @throws PatchVdiError of that kind when the body is not the bytes themselves */
export function requirePlainBody(kind: FetchedKind, { target, answer }: Fetched): void {
  const encoding = answer.response.headers['content-encoding'] ?? 'identity';
  if (encoding.toLowerCase() === 'identity') return;
  refuseAnswer(
    kind,
    target,
    `the server packs the ${kind} on the way`,
    `Content-Encoding ${printable(encoding, 40)}`,
    'the bytes as they are (Accept-Encoding: identity was sent)',
    'turn that off on the server, or save the file and name it',
  );
}

/**
 * The length of the body as the server announces it, in bytes, or undefined.
 *
 * @throws PatchVdiError of that kind when that is no number
 */
export function bodyLength(kind: FetchedKind, { target, answer }: Fetched): number | undefined {
  const text = answer.response.headers['content-length'];
  if (text === undefined) return undefined;
  const length = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(length)) return length;
  const message = 'the server announces an unusable length';
  return refuseAnswer(kind, target, message, printable(text, 40), 'a number of bytes');
}

/** The body of an answer. It errs with the kind that it was made for. */
export class HttpBody implements UploadSource {
  readonly name: string;
  readonly contentLength: number | undefined;
  readonly #kind: FetchedKind;
  readonly #target: HttpTarget;
  readonly #answer: HttpAnswer;

  constructor(kind: FetchedKind, { target, answer }: Fetched, contentLength: number | undefined) {
    this.name = target.name;
    this.contentLength = contentLength;
    this.#kind = kind;
    this.#target = target;
    this.#answer = answer;
  }

  async pump(receive: ChunkReceiver, abortSignal: AbortSignal): Promise<void> {
    const { response, failures } = this.#answer;
    let bytes = 0;
    const failure = (message: string, cause: Error, found: string): PatchVdiError =>
      connectionFailure(this.#kind, message, this.#target, cause, found);
    const brokenOff = (cause: Error): PatchVdiError => {
      const of = this.contentLength === undefined ? '' : ` of ${this.contentLength}`;
      return failure(`the ${this.#kind} broke off`, failures[0] ?? cause, `${bytes}${of} bytes came`);
    };
    const counted: ChunkReceiver = (chunk) => {
      bytes += chunk.bytes.length;
      return receive(chunk);
    };
    await pumpReadable(response, counted, abortSignal, brokenOff);
    const [cause] = failures;
    // Bytes behind the announced ones are no HTTP: the parser has complained.
    if (cause !== undefined && bytes === this.contentLength) {
      const found = `bytes behind the ${bytes} announced ones`;
      throw failure('the server sends more than it announced', cause, found);
    }
    if (cause !== undefined || !response.complete) throw brokenOff(new Error('the answer is not complete'));
  }

  close(): void {
    this.#answer.request.destroy();
  }
}
