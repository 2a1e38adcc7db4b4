import type { ClientRequest, IncomingMessage } from 'node:http';
import { PatchVdiError } from '../errors.js';
import { StallClock, describeSilence } from '../io/idle-timeout.js';
import { printable } from '../signature/printable.js';
import {
  answerTo,
  brokenConnection,
  limitRequest,
  openRequest,
  type RequestHead,
  type Server,
} from './exchange.js';
import { refusal } from './read-answer.js';
import { MAX_REDIRECTS, nextHop } from './redirect.js';
import { UNTOUCHED, causeWords, serverFailure } from './server-failure.js';
import { isXenApiError } from './xen-api-error.js';

export interface GetOptions {
  readonly path: string;
  readonly query: RequestHead['query'];
  readonly headersFor?: RequestHead['headersFor'];
  readonly secrets: readonly string[];
  readonly signal: AbortSignal | undefined;
  /** To the host of the pool that sees the SR, as the handlers of disks have it. */
  readonly followRedirects?: boolean | undefined;
}

/** Bytes on their way in. */
export interface ServerDownload {
  /** Bytes, as the server announces them; undefined when it does not. */
  readonly contentLength: number | undefined;
  /**
   * Once, in order; the buffers are the receiver's. Nothing is read while nobody asks for more.
   *
   * @throws PatchVdiError `sink` when they break off or do not go on; the reason of the signal
   */
  readonly chunks: AsyncIterable<Uint8Array>;
  /** Idempotent. */
  close(): void;
}

function lengthOf(server: Server, operation: string, { headers }: IncomingMessage): number | undefined {
  const text = headers['content-length'];
  if (text === undefined) return undefined;
  const length = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(length)) return length;
  throw serverFailure(server.address, `the server announces an unusable length: ${operation}`, {
    found: printable(text, 40),
    expected: 'a number of bytes',
  });
}

async function* chunksOf(
  server: Server,
  request: ClientRequest,
  response: IncomingMessage,
  contentLength: number | undefined,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  const brokeOff = (cause: Error): PatchVdiError =>
    serverFailure(server.address, 'the download broke off', {
      found: `${bytes}${contentLength === undefined ? '' : ` of ${contentLength}`} bytes came (${causeWords(cause)})`,
      expected: 'all of them',
      hint: 'run it again',
      cause,
    });
  let stalled: PatchVdiError | undefined;
  const clock = new StallClock(server.timeouts.stall, () => {
    stalled = serverFailure(server.address, 'the download does not go on', {
      found: `${describeSilence(server.timeouts.stall)}, after ${bytes} bytes`,
      expected: 'the next bytes, or the end',
    });
    request.destroy(stalled);
  });
  const onAbort = (): void => void request.destroy(signal?.reason as Error);
  signal?.addEventListener('abort', onAbort);
  try {
    signal?.throwIfAborted();
    clock.start();
    for await (const chunk of response as AsyncIterable<Buffer>) {
      clock.stop();
      bytes += chunk.length;
      yield chunk;
      clock.start();
    }
    if (!response.complete) throw new Error('the answer is not complete');
  } catch (error) {
    if (signal?.aborted === true) throw signal.reason;
    throw stalled ?? (error instanceof PatchVdiError ? error : brokeOff(error as Error));
  } finally {
    clock.dispose();
    signal?.removeEventListener('abort', onAbort);
    request.destroy();
  }
  if (contentLength !== undefined && bytes !== contentLength) throw brokeOff(new Error('the answer ended'));
}

/**
 * A GET whose answer is a stream.
 *
 * @throws XenApiError when the server refuses; PatchVdiError `sink`; the reason of the signal
 */
export async function getStream(server: Server, options: GetOptions): Promise<ServerDownload> {
  return await getFrom(server, options, options.followRedirects === true ? MAX_REDIRECTS : 0);
}

async function getFrom(server: Server, options: GetOptions, redirects: number): Promise<ServerDownload> {
  const { path, query, headersFor, secrets, signal } = options;
  const operation = `GET ${path}`;
  const { stall } = server.timeouts;
  const request = await openRequest(server, { method: 'GET', path, query: query ?? {}, headersFor }, signal);
  const tooLate = (): Error =>
    serverFailure(server.address, `the server does not answer: ${operation}`, {
      found: describeSilence(stall),
      hint: "look at the server's log",
    });
  const limit = limitRequest(request, stall, tooLate, signal);
  try {
    request.end();
    const response = await answerTo(request);
    if (response.statusCode === 302 && redirects > 0) {
      const address = nextHop(server, response, path);
      request.destroy();
      return await getFrom({ ...server, address }, options, redirects - 1);
    }
    if (response.statusCode !== 200) {
      throw await refusal(response, { address: server.address, operation, secrets });
    }
    const contentLength = lengthOf(server, operation, response);
    const chunks = chunksOf(server, request, response, contentLength, signal);
    return { contentLength, chunks, close: () => void request.destroy() };
  } catch (error) {
    request.destroy();
    if (limit.reached !== undefined) throw limit.reached;
    if (error instanceof PatchVdiError || isXenApiError(error)) throw error;
    throw brokenConnection(server, operation, error, UNTOUCHED);
  } finally {
    limit.stop();
  }
}
