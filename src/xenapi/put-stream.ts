import type { ClientRequest, IncomingMessage } from 'node:http';
import { PatchVdiError, isPatchVdiError, restate } from '../errors.js';
import type { UploadSource } from '../io/chunk.js';
import { StallClock, describeSilence } from '../io/idle-timeout.js';
import { untilAborted } from '../io/until-aborted.js';
import { KIB } from '../units.js';
import { answerTo, brokenConnection, openRequest, type RequestHead, type Server } from './exchange.js';
import { readText, refusal } from './read-answer.js';
import { UNKNOWN_OUTCOME, serverFailure } from './server-failure.js';
import { isXenApiError } from './xen-api-error.js';

const MAX_ANSWER_BYTES = 64 * KIB;

export interface PutOptions {
  readonly path: string;
  readonly query: RequestHead['query'];
  readonly headersFor?: RequestHead['headersFor'];
  readonly secrets: readonly string[];
  readonly signal: AbortSignal | undefined;
  readonly onProgress?: ((bytes: number) => void) | undefined;
}

const INCOMPLETE = 'no patch: the server has refused a body that is not complete';

/** The server has answered, so nothing more is sent. */
const ANSWERED = new Error('the server has answered');

/** The body of one PUT on its way. */
class Upload {
  readonly #request: ClientRequest;
  readonly #source: UploadSource;
  readonly #server: Server;
  readonly #onProgress: ((bytes: number) => void) | undefined;
  readonly #stop = new AbortController();
  readonly #clock: StallClock;
  readonly answer: Promise<IncomingMessage>;
  /** Why it was ended, if nothing came or went. */
  stalled: PatchVdiError | undefined;
  /** Bytes of the body that were handed to the connection. */
  #sent = 0;
  /** Those of them that it has not taken yet. */
  #pending = 0;
  /** Who waits until that is none. Node tells no `drain` any more when the answer is there. */
  readonly #onAllTaken: (() => void)[] = [];

  constructor(
    server: Server,
    request: ClientRequest,
    source: UploadSource,
    { signal, onProgress }: PutOptions,
  ) {
    this.#server = server;
    this.#request = request;
    this.#source = source;
    this.#onProgress = onProgress;
    this.answer = answerTo(request);
    this.answer.then(
      ({ statusCode }) => {
        // It may answer as soon as it has the last byte, before the source has said that this was the last.
        if (statusCode === 200 && this.isAllSent()) return;
        this.#stop.abort(ANSWERED);
        // The rest of the answer must come, too.
        this.#clock.start();
      },
      (error: unknown) => this.#stop.abort(error),
    );
    this.#clock = new StallClock(server.timeouts.stall, () => {
      this.stalled = this.#stallFailure();
      request.destroy(this.stalled);
    });
    const onAbort = (): void => void request.destroy(signal?.reason as Error);
    signal?.addEventListener('abort', onAbort);
    request.once('close', () => {
      signal?.removeEventListener('abort', onAbort);
      this.#clock.dispose();
      this.#stop.abort(ANSWERED);
    });
    if (signal?.aborted === true) onAbort();
  }

  #stallFailure(): PatchVdiError {
    return serverFailure(this.#server.address, 'the server does not go on with the upload', {
      found: `${describeSilence(this.#server.timeouts.stall)}, after ${this.#sent} bytes`,
      expected: 'a server that reads, and answers',
      hint: "look at the server's log",
      leftBehind: UNKNOWN_OUTCOME,
    });
  }

  /** `Expect: 100-continue` (RFC 9110 §10.1.1): whether the server wants the body. */
  async wanted(): Promise<boolean> {
    const wanted = new Promise<boolean>((resolve) => {
      this.#request.once('continue', () => resolve(true)).flushHeaders();
    });
    this.#clock.start();
    const answered = this.answer.then(() => false);
    const result = await Promise.race([wanted, answered]);
    this.#stopUnlessAwaited(result);
    return result;
  }

  /** All of the body, unless the server answers before its end. */
  async send(): Promise<void> {
    const { signal } = this.#stop;
    try {
      await this.#source.pump(({ bytes, release }) => this.#write(bytes, release), signal);
    } catch (error) {
      // The answer, or what broke the connection, is told by whoever waits for that.
      if (signal.aborted) return;
      // What the source says of the end comes too late when the server may have what it takes for all.
      if (this.isAllSent() && isPatchVdiError(error)) throw restate(error, { leftBehind: UNKNOWN_OUTCOME });
      throw error;
    }
    if (signal.aborted) return;
    const { contentLength, name } = this.#source;
    if (contentLength !== undefined && this.#sent < contentLength) {
      throw new PatchVdiError('upload', 'the upload is shorter than announced', {
        context: { path: name, found: `${this.#sent} bytes`, expected: `${contentLength} bytes` },
        leftBehind: INCOMPLETE,
      });
    }
    this.#request.end();
    this.#clock.start();
  }

  #write(bytes: Uint8Array, release: () => void): Promise<void> | undefined {
    const { contentLength, name } = this.#source;
    if (contentLength !== undefined && this.#sent + bytes.length > contentLength) {
      throw new PatchVdiError('upload', 'the upload is longer than announced', {
        context: {
          path: name,
          found: `more than ${contentLength} bytes`,
          expected: `${contentLength} bytes`,
        },
        leftBehind: this.isAllSent() ? UNKNOWN_OUTCOME : INCOMPLETE,
      });
    }
    this.#sent += bytes.length;
    this.#pending += bytes.length;
    this.#clock.start();
    const room = this.#request.write(bytes, (error) => {
      release();
      // What a connection that broke has not taken stays pending.
      if (error !== null && error !== undefined) return;
      this.#pending -= bytes.length;
      this.#clock.start();
      if (this.#pending > 0) return;
      for (const resolve of this.#onAllTaken.splice(0)) resolve();
      this.#stopUnlessAwaited(!this.#request.writableEnded);
    });
    this.#onProgress?.(this.#sent);
    return room ? undefined : this.#allTaken();
  }

  #allTaken(): Promise<void> {
    const taken = new Promise<void>((resolve) => this.#onAllTaken.push(resolve));
    return untilAborted(taken, this.#stop.signal);
  }

  /** Whether the server can have all of it; without a length only the end tells. */
  isAllSent(): boolean {
    const { contentLength } = this.#source;
    return contentLength === undefined ? this.#request.writableEnded : this.#sent === contentLength;
  }

  /** Nothing is to come from the server now, if it is our turn and it has not answered. */
  #stopUnlessAwaited(ours: boolean): void {
    if (ours && !this.#stop.signal.aborted) this.#clock.stop();
  }

  /**
   * Whether the connection has taken all of it, after an answer: that may be seen a moment before the last write is
   * told, which is waited for. What is still pending when the connection is closed, the server never had.
   */
  async isTaken(): Promise<boolean> {
    if (!this.isAllSent()) return false;
    if (this.#pending > 0) await this.#allTaken().catch(() => undefined);
    return this.#pending === 0;
  }
}

/**
 * A PUT with the upload as its body. The body goes out only when the server asks for it with `100 Continue`, so that
 * whoever refuses does so before anything is sent. With a length that is known it is exact; without, the body comes
 * in chunks. Memory is that of the source's buffers.
 *
 * @returns the body of the answer, without white space around it
 * @throws XenApiError when the server refuses; PatchVdiError `sink` | `upload`; the reason of the signal
 */
export async function putStream(server: Server, source: UploadSource, options: PutOptions): Promise<string> {
  const { path, query, headersFor, secrets, signal } = options;
  const operation = `PUT ${path}`;
  const { contentLength } = source;
  const headers = {
    Expect: '100-continue',
    'Content-Type': 'application/octet-stream',
    ...(contentLength === undefined
      ? { 'Transfer-Encoding': 'chunked' }
      : { 'Content-Length': String(contentLength) }),
  };
  const request = await openRequest(
    server,
    { method: 'PUT', path, query: query ?? {}, headers, headersFor },
    signal,
  );
  const upload = new Upload(server, request, source, options);
  try {
    if (await upload.wanted()) await upload.send();
    const response = await upload.answer;
    if (response.statusCode !== 200) {
      throw await refusal(response, {
        address: server.address,
        operation,
        secrets,
        details: {
          leftBehind: upload.isAllSent() ? UNKNOWN_OUTCOME : 'no patch: the server has not taken the upload',
        },
      });
    }
    if (!(await upload.isTaken())) {
      throw serverFailure(server.address, 'the server answered before it had everything', {
        found: 'status 200',
        expected: 'an answer after the last byte',
        leftBehind: UNKNOWN_OUTCOME,
      });
    }
    const text = await readText(response, MAX_ANSWER_BYTES);
    // A connection that we end takes an answer that was not read yet with it, and reading that says nothing.
    signal?.throwIfAborted();
    if (upload.stalled !== undefined) throw upload.stalled;
    return text.trim();
  } catch (error) {
    if (signal?.aborted === true) throw signal.reason;
    if (upload.stalled !== undefined) throw upload.stalled;
    if (error instanceof PatchVdiError || isXenApiError(error)) throw error;
    throw brokenConnection(server, operation, error, UNKNOWN_OUTCOME);
  } finally {
    request.destroy();
  }
}
