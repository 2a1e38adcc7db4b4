import { request as httpRequest, type ClientRequest, type IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { dial } from './dial.js';
import { hostField, type ServerAddress } from './server-address.js';
import { causeWords, serverFailure } from './server-failure.js';
import type { ReadyTrust } from './trust.js';

/** How long to wait for a server; milliseconds. */
export interface ServerTimeouts {
  /** Until a connection stands. */
  readonly connect: number;
  /** Until a call is answered, all of it. */
  readonly call: number;
  /** Without one byte that comes or goes, while bytes are waited for. */
  readonly stall: number;
  /** For what must be told to the server before we end, such as a cancelled task. */
  readonly farewell: number;
  /** Between two looks at a task. */
  readonly poll: number;
}

export const DEFAULT_TIMEOUTS: ServerTimeouts = {
  connect: 20_000,
  call: 300_000,
  stall: 300_000,
  farewell: 20_000,
  poll: 300,
};

/** A server that we have decided to talk to. */
export interface Server {
  readonly address: ServerAddress;
  readonly trust: ReadyTrust;
  readonly timeouts: ServerTimeouts;
}

export interface RequestHead {
  readonly method: 'GET' | 'PUT' | 'POST';
  readonly path: string;
  /** Undefined values are left out. */
  readonly query?: Readonly<Record<string, string | undefined>>;
  readonly headers?: Readonly<Record<string, string>>;
  /** Headers that depend on the connection. @param target path and query */
  readonly headersFor?: ((socket: Socket, target: string) => Readonly<Record<string, string>>) | undefined;
}

function targetOf({ path, query = {} }: RequestHead): string {
  const given = Object.entries(query).filter((entry): entry is [string, string] => entry[1] !== undefined);
  const text = new URLSearchParams(given).toString();
  return text === '' ? path : `${path}?${text}`;
}

/**
 * A request whose head is not sent yet, on a connection of its own: one that was kept could be closed by the server at
 * the moment of the next call, and nobody knew whether that call was made.
 *
 * @throws PatchVdiError `sink`; the reason of the signal
 */
export async function openRequest(
  { address, trust, timeouts }: Server,
  head: RequestHead,
  signal: AbortSignal | undefined,
): Promise<ClientRequest> {
  const socket = await dial(address, trust, timeouts.connect, signal);
  const target = targetOf(head);
  const request = httpRequest({
    createConnection: () => socket,
    method: head.method,
    path: target,
    setHost: false,
    headers: {
      Host: hostField(address),
      Connection: 'close',
      ...head.headers,
      ...head.headersFor?.(socket, target),
    },
  });
  // It stays, so that a connection which breaks when nobody waits for it any more surprises nobody.
  request.on('error', () => undefined);
  return request;
}

/** The next final answer. @throws the connection's own error */
export function answerTo(request: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request.once('response', (response) => {
      response.on('error', () => undefined);
      resolve(response);
    });
    request.once('error', reject);
    request.once('close', () => reject(new Error('the connection was closed without an answer')));
  });
}

/** The error of a connection that broke after it stood. */
export function brokenConnection(
  { address }: Server,
  operation: string,
  cause: unknown,
  leftBehind: string,
): Error {
  return serverFailure(address, `the connection to the server broke: ${operation}`, {
    found: causeWords(cause),
    expected: 'an answer of HTTP',
    leftBehind,
    cause,
    loss: 'broken',
  });
}

/** What watches a request. */
export interface RequestLimit {
  /** Why it was ended, if it was. (A response that is being read says only that it was aborted.) */
  readonly reached: Error | undefined;
  stop(): void;
}

/** Ends a request when `signal` is aborted or the time is over. */
export function limitRequest(
  request: ClientRequest,
  milliseconds: number,
  tooLate: () => Error,
  signal: AbortSignal | undefined,
): RequestLimit {
  let reached: Error | undefined;
  const end = (error: Error): void => {
    reached ??= error;
    request.destroy(error);
  };
  const onAbort = (): void => end(signal?.reason as Error);
  const timer = setTimeout(() => end(tooLate()), milliseconds);
  signal?.addEventListener('abort', onAbort);
  if (signal?.aborted === true) onAbort();
  return {
    get reached() {
      return reached;
    },
    stop() {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    },
  };
}
