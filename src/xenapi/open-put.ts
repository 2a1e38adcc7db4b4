import type { ClientRequest, IncomingMessage } from 'node:http';
import { PatchVdiError } from '../errors.js';
import { describeSilence } from '../io/idle-timeout.js';
import { trace } from '../trace.js';
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
import type { ServerAddress } from './server-address.js';
import { UNTOUCHED, serverFailure } from './server-failure.js';
import { isXenApiError } from './xen-api-error.js';

export interface OpenPutOptions {
  readonly path: string;
  readonly query: RequestHead['query'];
  /** Bytes of the body, exactly. */
  readonly contentLength: number;
  readonly secrets: readonly string[];
  readonly signal: AbortSignal | undefined;
}

/** A PUT that was let in: not a byte of its body has gone out. */
export interface OpenedPut {
  readonly request: ClientRequest;
  /** `200`; what comes in it later is for whoever has the request. */
  readonly response: IncomingMessage;
  /** Who takes it. */
  readonly address: ServerAddress;
}

async function ask(at: Server, options: OpenPutOptions): Promise<Omit<OpenedPut, 'address'>> {
  const { path, query, contentLength, signal } = options;
  const operation = `PUT ${path}`;
  const { stall } = at.timeouts;
  const headers = { 'Content-Type': 'application/octet-stream', 'Content-Length': String(contentLength) };
  const request = await openRequest(at, { method: 'PUT', path, query: query ?? {}, headers }, signal);
  const tooLate = (): Error =>
    serverFailure(at.address, `the server does not answer: ${operation}`, {
      found: describeSilence(stall),
      expected: 'status 200 before the body, as a host of a pool gives it',
      hint: "a proxy between may hold the answer back: ask the host itself; or look at the server's log",
    });
  const limit = limitRequest(request, stall, tooLate, signal);
  try {
    request.flushHeaders();
    return { request, response: await answerTo(request) };
  } catch (error) {
    request.destroy();
    throw limit.reached ?? brokenConnection(at, operation, error, UNTOUCHED);
  } finally {
    limit.stop();
  }
}

/**
 * A PUT whose answer comes before its body, as XAPI's handlers for disks have it. Only the head goes out; the status
 * says whether the body is wanted, and where: `302` leads to the host that can see the SR, by the same scheme and with
 * the same checks. (So there is no need for a request with an empty body that fails on purpose, which others use to
 * find that out, and which may still hold the VDI when the real one comes.)
 *
 * @returns the caller's, to be destroyed
 * @throws XenApiError when the server refuses; PatchVdiError `sink`; the reason of the signal
 */
export async function openPut(server: Server, options: OpenPutOptions): Promise<OpenedPut> {
  const { path, secrets } = options;
  let at = server;
  for (let hops = 0; ; hops += 1) {
    const { request, response } = await ask(at, options);
    const { statusCode } = response;
    if (statusCode === 200) return { request, response, address: at.address };
    try {
      if (statusCode !== 302 || hops === MAX_REDIRECTS) {
        const scene = { address: at.address, operation: `PUT ${path}`, secrets };
        throw await withinTime(refusal(response, scene), at, request);
      }
      at = { ...at, address: nextHop(at, response, path) };
      trace('xenapi', () => `PUT ${path}: on to ${at.address.name}`);
    } catch (error) {
      if (error instanceof PatchVdiError || isXenApiError(error)) throw error;
      throw brokenConnection(at, `PUT ${path}`, error, UNTOUCHED);
    } finally {
      request.destroy();
    }
  }
}

/** A page of words about a refusal is not waited for for ever. */
async function withinTime<Result>(
  work: Promise<Result>,
  { timeouts }: Server,
  request: ClientRequest,
): Promise<Result> {
  const timer = setTimeout(() => request.destroy(), timeouts.farewell);
  return await work.finally(() => clearTimeout(timer));
}
