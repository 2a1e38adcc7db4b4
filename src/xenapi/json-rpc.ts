import * as v from 'valibot';
import { PatchVdiError } from '../errors.js';
import { withoutSecrets } from '../io/http.js';
import { MIB } from '../units.js';
import { answerTo, brokenConnection, limitRequest, openRequest, type Server } from './exchange.js';
import { excessOf } from './json-bounds.js';
import { TooLongError, excerpt, readText, refusal } from './read-answer.js';
import { UNKNOWN_OUTCOME, UNTOUCHED, serverFailure } from './server-failure.js';
import { describedError, isXenApiError } from './xen-api-error.js';

/** What a call's parameters may be. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json };

/** Nobody has a pool with so many records. */
const MAX_ANSWER_BYTES = 64 * MIB;

/** JSON-RPC 2.0 §5; XAPI puts the XenAPI's code into `message` and its parameters into `data`. */
const RPC_ANSWER = v.union([
  v.object({
    id: v.union([v.number(), v.string(), v.null()]),
    error: v.object({ message: v.string(), data: v.optional(v.unknown()) }),
  }),
  v.object({ id: v.union([v.number(), v.string()]), result: v.unknown() }),
]);

export interface RpcCall {
  readonly method: string;
  readonly params: readonly Json[];
  /** Words that must not be shown. */
  readonly secrets: readonly string[];
  readonly signal: AbortSignal | undefined;
  /** Milliseconds, until all of the answer is there. */
  readonly timeout: number;
}

/** Calls that change nothing, and may be made twice. */
function isReading(method: string): boolean {
  return /\.get_[A-Za-z_]+$/.test(method) || method === 'event.from';
}

/** Calls that may be made twice: they only read, or say how something is to be. */
export function isRepeatable(method: string): boolean {
  return isReading(method) || method === 'VDI.set_other_config';
}

const NOT_XENAPI = 'check the URL: that server does not seem to be a pool of XenServer, XCP-ng or ours';

/**
 * One call over `/jsonrpc`.
 *
 * @throws XenApiError when the server refuses it; PatchVdiError `sink` when it cannot be reached or makes no sense;
 *   the reason of the signal
 */
export async function callJsonRpc(server: Server, call: RpcCall): Promise<unknown> {
  const { method, params, secrets, signal, timeout } = call;
  const leftBehind = isReading(method) || method.startsWith('session.') ? UNTOUCHED : UNKNOWN_OUTCOME;
  const body = Buffer.from(JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }));
  const headers = {
    'Content-Type': 'application/json',
    Accept: 'application/json',
    'Content-Length': String(body.length),
  };
  const request = await openRequest(server, { method: 'POST', path: '/jsonrpc', headers }, signal);
  const tooLate = (): Error =>
    serverFailure(server.address, `the server does not answer: ${method}`, {
      found: `no complete answer after ${timeout / 1000} seconds`,
      hint: "look at the server's log",
      leftBehind,
    });
  const limit = limitRequest(request, timeout, tooLate, signal);
  let text: string;
  try {
    request.end(body);
    const response = await answerTo(request);
    if (response.statusCode !== 200) {
      throw await refusal(response, { address: server.address, operation: method, secrets });
    }
    text = await readText(response, MAX_ANSWER_BYTES);
  } catch (error) {
    throw limit.reached ?? explain(server, method, error, leftBehind);
  } finally {
    limit.stop();
    request.destroy();
  }
  return resultOf(server, call, text, leftBehind);
}

/** What broke a call. An error of ours stays what it is. */
function explain(server: Server, method: string, error: unknown, leftBehind: string): Error {
  if (error instanceof TooLongError) {
    return serverFailure(server.address, `the server's answer is too long: ${method}`, {
      found: error.message,
      expected: `at most ${MAX_ANSWER_BYTES} bytes`,
      leftBehind,
    });
  }
  if (error instanceof PatchVdiError || isXenApiError(error)) return error;
  return brokenConnection(server, method, error, leftBehind);
}

function resultOf(server: Server, call: RpcCall, text: string, leftBehind: string): unknown {
  const { method, secrets } = call;
  const refuse = (expected: string): never => {
    throw serverFailure(server.address, `the server's answer makes no sense: ${method}`, {
      found: text.trim() === '' ? 'an empty answer' : excerpt(text, secrets),
      expected,
      hint: NOT_XENAPI,
      leftBehind,
    });
  };
  const excess = excessOf(text);
  if (excess !== undefined) {
    throw serverFailure(server.address, `the server's answer is too large: ${method}`, {
      ...excess,
      hint: NOT_XENAPI,
      leftBehind,
    });
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return refuse('JSON');
  }
  const parsed = v.safeParse(RPC_ANSWER, json);
  if (!parsed.success) return refuse('an answer of JSON-RPC 2.0');
  const answer = parsed.output;
  if (!('error' in answer)) return answer.id === 1 ? answer.result : refuse('the answer to our call, id 1');
  const { message, data } = answer.error;
  const parameters: readonly unknown[] = Array.isArray(data) ? data : data === undefined ? [] : [data];
  const clean = (word: string): string => withoutSecrets(word, secrets);
  const error = describedError(method, [message, ...parameters], clean);
  if (error === undefined) return refuse('an error of the XenAPI');
  throw error;
}
