import type { IncomingMessage, ServerResponse } from 'node:http';
import { once } from 'node:events';
import { MIB } from '../units.js';
import { HttpRefusal, httpErrorOf } from './http-refusal.js';
import type { Limits } from './limits.js';
import { Pace } from './pace.js';
import { chunksOf } from './request-body.js';

/** On every answer: none may be kept, and none is anything but what it says. */
const COMMON_HEADERS = { 'Cache-Control': 'no-store', 'X-Content-Type-Options': 'nosniff' };

/** What is read and thrown away of a body that nobody wants, so that its sender sees the answer. */
const LINGER_MILLISECONDS = 3000;
const LINGER_BYTES = 8 * MIB;

/** What a timer takes (Node, `setTimeout`). */
const MAX_TIMER_MILLISECONDS = 2_147_483_647;

type PaceLimits = Pick<Limits, 'idleSeconds' | 'idleBytes'>;

/** A request and its answer, as the handlers use them. */
export class Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Of the client. */
  readonly address: string;
  readonly #limits: Limits;
  readonly #stop = new AbortController();
  #expectsContinue: boolean;
  #bytesIn = 0;
  #bytesOut = 0;

  /** @param expectsContinue the client waits with its body until it is told to send it (RFC 9110, 10.1.1) */
  constructor(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean, limits: Limits) {
    this.request = request;
    this.response = response;
    this.address = request.socket.remoteAddress ?? 'unknown';
    this.#expectsContinue = expectsContinue;
    this.#limits = limits;
    response.on('close', () => {
      if (!response.writableFinished) this.stop(new HttpRefusal('BAD_REQUEST', 'the client went away'));
    });
    // Told by 'close', too; without a listener it would end the process.
    request.on('error', () => undefined);
    response.on('error', () => undefined);
  }

  /** Aborted when the client goes away, is too slow, or the server stops. */
  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  /** Bytes of bodies. */
  get moved(): { readonly in: number; readonly out: number } {
    return { in: this.#bytesIn, out: this.#bytesOut };
  }

  stop(reason: Error): void {
    this.#stop.abort(reason);
  }

  /** Bytes that the body is announced to have; undefined when it is not. @throws HttpRefusal */
  get contentLength(): number | undefined {
    const text = this.request.headers['content-length'];
    if (text === undefined) return undefined;
    const length = Number(text);
    if (/^\d{1,16}$/.test(text) && Number.isSafeInteger(length)) return length;
    throw new HttpRefusal('CONTENT_TOO_LARGE', 'nobody has a body of that length');
  }

  /** Lets a client that asked first send its body. */
  acceptBody(): void {
    if (this.#expectsContinue) this.response.writeContinue();
    this.#expectsContinue = false;
  }

  #pace(limits: PaceLimits = this.#limits): Pace {
    return new Pace(limits, (found) =>
      this.stop(new HttpRefusal('REQUEST_TIMEOUT', `the client is too slow: ${found}`)),
    );
  }

  /**
   * The body, once. The chunks are the receiver's.
   *
   * @param limits how fast it must come at least; default: the server's limits
   * @throws the reason of {@link signal}; the error of a connection that breaks off
   */
  async *body(limits?: PaceLimits): AsyncGenerator<Uint8Array> {
    const pace = this.#pace(limits);
    const { signal } = this;
    const chunks = chunksOf(this.request, signal);
    try {
      for (;;) {
        pace.wait();
        const next = await chunks.next();
        signal.throwIfAborted();
        if (next.done === true) return;
        pace.moved(next.value.length);
        this.#bytesIn += next.value.length;
        yield next.value;
      }
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    } finally {
      pace.dispose();
      await chunks.return(undefined);
    }
  }

  /** The whole body of a call. @throws HttpRefusal CONTENT_TOO_LARGE, REQUEST_TIMEOUT */
  async callBody(): Promise<Buffer> {
    const { bodyBytes, callSeconds } = this.#limits;
    const tooLarge = (): HttpRefusal =>
      new HttpRefusal('CONTENT_TOO_LARGE', `a call has at most ${bodyBytes} bytes`);
    if ((this.contentLength ?? 0) > bodyBytes) throw tooLarge();
    const encoding = this.request.headers['content-encoding'] ?? 'identity';
    if (encoding !== 'identity') {
      throw new HttpRefusal('UNSUPPORTED_MEDIA_TYPE', 'bodies are not to be encoded', {
        'Accept-Encoding': 'identity',
      });
    }
    this.acceptBody();
    const timer = setTimeout(
      () => this.stop(new HttpRefusal('REQUEST_TIMEOUT', `a call comes within ${callSeconds} s`)),
      callSeconds * 1000,
    );
    try {
      const parts: Uint8Array[] = [];
      let bytes = 0;
      for await (const part of this.body()) {
        bytes += part.length;
        if (bytes > bodyBytes) throw tooLarge();
        parts.push(part);
      }
      return Buffer.concat(parts);
    } finally {
      clearTimeout(timer);
    }
  }

  head(status: number, headers: Readonly<Record<string, string | number>> = {}): void {
    this.response.writeHead(status, { ...COMMON_HEADERS, ...headers });
  }

  /** A whole answer. */
  send(
    status: number,
    contentType: string,
    text: string,
    headers: Readonly<Record<string, string>> = {},
  ): void {
    const body = Buffer.from(text);
    this.#bytesOut += body.length;
    this.head(status, { 'Content-Type': contentType, 'Content-Length': body.length, ...headers });
    this.response.end(this.request.method === 'HEAD' ? undefined : body);
    this.#expectTaken(body.length);
    this.#linger();
  }

  /** Who reads no answer would keep its connection, and what waits for it, for ever: nothing else looks after it. */
  #expectTaken(bytes: number): void {
    const { request, response } = this;
    if (response.writableFinished) return;
    // At the pace that is the least of a large body.
    const { idleSeconds, idleBytes } = this.#limits;
    const seconds = idleSeconds * (1 + Math.floor(bytes / idleBytes));
    const timer = setTimeout(
      () => request.socket.destroy(),
      Math.min(seconds * 1000, MAX_TIMER_MILLISECONDS),
    );
    response.once('close', () => clearTimeout(timer));
  }

  /** An answer that is an error; nothing when its head is out: then the connection breaks, so that nobody takes it for whole. */
  sendError(error: unknown): number {
    const { status, code, parameters, headers } = httpErrorOf(error);
    if (this.response.headersSent) this.request.socket.destroy();
    else if (!this.response.destroyed) {
      this.send(status, 'application/json', `${JSON.stringify({ error: { code, parameters } })}\n`, headers);
    }
    return status;
  }

  /** The body of an answer whose head is out. */
  async sendStream(chunks: AsyncIterable<Uint8Array>): Promise<void> {
    const { response, signal } = this;
    const pace = this.#pace();
    const onAbort = (): void => void this.request.socket.destroy();
    signal.addEventListener('abort', onAbort);
    try {
      for await (const chunk of chunks) {
        signal.throwIfAborted();
        this.#bytesOut += chunk.length;
        if (!response.write(chunk)) {
          pace.wait();
          await once(response, 'drain', { signal });
        }
        pace.moved(chunk.length);
      }
      pace.wait();
      response.end();
      if (!response.writableFinished) await once(response, 'finish', { signal });
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    } finally {
      signal.removeEventListener('abort', onAbort);
      pace.dispose();
    }
  }

  /** A connection that is closed with bytes unread is reset, and its client may never see the answer. */
  #linger(): void {
    const { request } = this;
    if (request.complete) return;
    const giveUp = (): void => void request.socket.destroy();
    const timer = setTimeout(giveUp, LINGER_MILLISECONDS);
    let bytes = 0;
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > LINGER_BYTES) giveUp();
    });
    request.once('close', () => clearTimeout(timer));
    request.resume();
  }
}
