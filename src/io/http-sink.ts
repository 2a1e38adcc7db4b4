import type { ClientRequest, IncomingMessage } from 'node:http';
import { PatchVdiError, invariant } from '../errors.js';
import { trace } from '../trace.js';
import { MIB } from '../units.js';
import {
  connectionFailure,
  describeAnswer,
  isUnreachable,
  parseTarget,
  startRequest,
  type HttpHeaders,
} from './http.js';
import type { HttpTarget } from './http.js';
import type { Sink } from './sink.js';
import { WritableSink } from './stream-sink.js';

const MAX_QUEUED_BYTES = MIB;

const INCOMPLETE = 'the server got an incomplete body, which neither mounts nor converts';
const NOTHING_SENT = 'nothing: the server was not reached';
const UNDECIDED = 'the server got everything; whether it kept that, it did not say';

interface Write {
  readonly bytes: Uint8Array;
  readonly position: number;
  readonly done: (() => void) | undefined;
}

/** How the server has answered so far. */
type Answer =
  | { readonly kind: 'none' | 'begun' | 'complete' }
  | { readonly kind: 'refusal'; readonly error: Promise<PatchVdiError> };

/**
 * Resolves when the event loop has looked for what has arrived since this call and handled it; calls resolve in
 * their order. (One turn is not enough: its look may lie some time back.)
 */
function afterNextPoll(): Promise<void> {
  return new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
}

/**
 * The body of a request. Whatever breaks it, the server's own words count, if there are any: a server that refuses
 * stops reading, and all that the writer sees is a broken pipe.
 */
class RequestBody extends WritableSink {
  readonly #request: ClientRequest;
  readonly #target: HttpTarget;
  readonly #outputLength: number;
  readonly #stop: AbortController;
  #answer: Answer = { kind: 'none' };
  #queue: Write[] = [];
  #queuedBytes = 0;
  #handedOver = 0;
  #onAnswer: (() => void) | undefined;

  constructor(target: HttpTarget, request: ClientRequest, outputLength: number, stop: AbortController) {
    super(target.name, request, stop.signal);
    this.#stop = stop;
    this.#target = target;
    this.#request = request;
    this.#outputLength = outputLength;
    request.on('response', (response) => this.#respond(response));
  }

  #respond(response: IncomingMessage): void {
    const { statusCode = 0 } = response;
    trace('http', () => `${statusCode} after ${this.#handedOver} of ${this.#outputLength} bytes`);
    response.on('error', () => undefined);
    if (statusCode >= 200 && statusCode < 300) {
      this.#answer = { kind: 'begun' };
      response.once('end', () => this.#complete(response)).resume();
      response.once('close', () => {
        if (!response.complete) this.fail(new Error('the answer broke off'));
      });
      return;
    }
    const error = this.#refusal(response);
    this.#answer = { kind: 'refusal', error };
    this.fail(new Error(`status ${statusCode}`));
    void error.then(() => this.#request.destroy());
  }

  /** Some servers, XAPI's among them, send the head of a good answer first; it counts when it ends after the body. */
  #complete(response: IncomingMessage): void {
    if (this.#handedOver < this.#outputLength) {
      const error = new PatchVdiError('sink', 'the server answered before it had everything', {
        context: {
          path: this.name,
          offset: this.#handedOver,
          found: `${response.statusCode} after ${this.#handedOver} bytes`,
          expected: `an answer after ${this.#outputLength} bytes`,
        },
        leftBehind: INCOMPLETE,
      });
      this.#answer = { kind: 'refusal', error: Promise.resolve(error) };
      this.fail(error);
      return;
    }
    this.#answer = { kind: 'complete' };
    this.#onAnswer?.();
  }

  async #refusal(response: IncomingMessage): Promise<PatchVdiError> {
    const found = await describeAnswer(response, this.#target);
    const redirect = response.headers.location !== undefined;
    return new PatchVdiError('sink', 'the server does not take the image', {
      context: { operation: 'PUT', path: this.name, found, expected: 'a status of 200 to 299' },
      ...(redirect ? { hint: 'a PUT is not sent twice: give the URL of the Location yourself' } : {}),
      leftBehind: this.#handedOver < this.#outputLength ? INCOMPLETE : UNDECIDED,
    });
  }

  protected override explain(cause: Error): PatchVdiError | Promise<PatchVdiError> {
    if (this.#answer.kind === 'refusal') return this.#answer.error;
    const all = this.#handedOver === this.#outputLength;
    const failure = connectionFailure(
      'sink',
      'the connection to the server broke',
      this.#target,
      cause,
      `after ${this.#handedOver} of ${this.#outputLength} bytes`,
    );
    return new PatchVdiError('sink', failure.message, {
      context: { ...failure.context, expected: 'an answer after the last byte' },
      leftBehind: isUnreachable(cause) ? NOTHING_SENT : all ? UNDECIDED : INCOMPLETE,
      cause,
      ...(failure.hint === undefined ? {} : { hint: failure.hint }),
    });
  }

  /** A source that is silent meanwhile must not hide it. */
  protected override failed(error: PatchVdiError): void {
    super.failed(error);
    this.#stop.abort(error);
  }

  /** The connection stands, and the head of the request was written to it. */
  connected(): Promise<void> {
    const event = this.#target.url.protocol === 'https:' ? 'secureConnect' : 'connect';
    return this.until((done) => {
      this.#request.once('socket', (socket) => socket.once(event, done)).flushHeaders();
    });
  }

  /**
   * A server that refuses may answer and close at once. A write that finds the connection closed loses the answer,
   * because Node closes its end then; so each write comes right after a look at what has arrived (afterNextPoll). It
   * also makes one writev of many small writes.
   */
  protected override send(bytes: Uint8Array, position: number, done?: () => void): void {
    this.#handedOver += bytes.length;
    this.#queuedBytes += bytes.length;
    this.#queue.push({ bytes, position, done });
    if (this.#queue.length === 1) void afterNextPoll().then(() => this.#sendQueue());
  }

  #sendQueue(): void {
    const queue = this.#queue;
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#request.cork();
    for (const { bytes, position, done } of queue) {
      if (this.failing) done?.();
      else super.send(bytes, position, done);
    }
    this.#request.uncork();
  }

  override drained(): Promise<void> | undefined {
    if (this.#queuedBytes < MAX_QUEUED_BYTES) return super.drained();
    return afterNextPoll().then(() => super.drained());
  }

  override async flush(): Promise<void> {
    await afterNextPoll();
    await super.flush();
  }

  override async commit(outputLength: number): Promise<void> {
    await super.commit(outputLength);
    this.#request.end();
    if (this.#answer.kind === 'complete') return;
    await this.until((done) => (this.#onAnswer = done));
  }

  override async discard(): Promise<void> {
    await super.discard();
    this.#request.on('error', () => undefined);
    if (this.#answer.kind !== 'complete' || this.#handedOver < this.#outputLength) this.#request.destroy();
  }
}

/**
 * A PUT whose body is the image. Its length is exact, so a server knows whether it has everything: a request that is
 * broken off never is complete. No redirect is followed.
 */
export class HttpSink implements Sink {
  readonly name: string;
  readonly seekable = false;
  readonly #target: HttpTarget;
  readonly #stop: AbortController;
  #body: RequestBody | undefined;

  /**
   * Connects only when the length is known.
   *
   * @param stop everything stops with the error of a server that refuses, also while nothing is being written
   * @throws PatchVdiError `usage`
   */
  constructor(url: string, headers: HttpHeaders, stop: AbortController) {
    this.#target = parseTarget(url, headers, 'the output');
    this.name = this.#target.name;
    this.#stop = stop;
  }

  async begin(outputLength: number): Promise<void> {
    trace('http', `PUT ${this.name}, ${outputLength} bytes`);
    const request = await startRequest(this.#target, 'PUT', { 'content-length': outputLength });
    this.#body = new RequestBody(this.#target, request, outputLength, this.#stop);
    await this.#body.connected();
  }

  #begun(): RequestBody {
    invariant(this.#body !== undefined, 'the length of a request is known before its first byte');
    return this.#body;
  }

  write(bytes: Uint8Array, position: number, done?: () => void): void {
    this.#begun().write(bytes, position, done);
  }

  writeZeros(position: number, length: number): void {
    this.#begun().writeZeros(position, length);
  }

  drained(): Promise<void> | undefined {
    return this.#begun().drained();
  }

  flush(): Promise<void> {
    return this.#begun().flush();
  }

  commit(outputLength: number): Promise<void> {
    return this.#begun().commit(outputLength);
  }

  async discard(): Promise<void> {
    await this.#body?.discard();
  }
}
