import type { IncomingMessage } from 'node:http';
import { parseCookie } from 'cookie';
import { HttpRefusal } from './http-refusal.js';

/** More than any request needs. */
const MAX_PARAMETERS = 32;
const PLAIN_TEXT = /^[\x20-\x7e]*$/;

/** Of one request: from its query, and from its cookies for what the query does not say (XAPI takes both). */
export type Parameters = ReadonlyMap<string, string>;

/** The path of a request, and what it brings along. @throws HttpRefusal BAD_REQUEST */
export function splitTarget(target: string): { readonly path: string; readonly query: URLSearchParams } {
  const at = target.indexOf('?');
  const path = at === -1 ? target : target.slice(0, at);
  if (!path.startsWith('/')) throw new HttpRefusal('BAD_REQUEST', 'the target of the request is no path');
  return { path, query: new URLSearchParams(at === -1 ? '' : target.slice(at + 1)) };
}

/** @throws HttpRefusal BAD_REQUEST for a parameter that stands twice, or is not printable ASCII */
export function parametersOf(query: URLSearchParams, headers: IncomingMessage['headers']): Parameters {
  const parameters = new Map<string, string>();
  for (const [name, value] of query) {
    // Two readers of one request might take different ones.
    if (parameters.has(name)) throw new HttpRefusal('BAD_REQUEST', 'a parameter stands twice in the query');
    parameters.set(name, value);
  }
  for (const [name, value] of Object.entries(parseCookie(headers.cookie ?? ''))) {
    if (value !== undefined && !parameters.has(name)) parameters.set(name, value);
  }
  if (parameters.size > MAX_PARAMETERS) throw new HttpRefusal('BAD_REQUEST', 'too many parameters');
  for (const value of parameters.values()) {
    if (!PLAIN_TEXT.test(value)) throw new HttpRefusal('BAD_REQUEST', 'a parameter is not printable ASCII');
  }
  return parameters;
}

/** @throws HttpRefusal BAD_REQUEST when it is missing */
export function requiredParameter(parameters: Parameters, name: string): string {
  const value = parameters.get(name);
  if (value === undefined || value === '') {
    throw new HttpRefusal('BAD_REQUEST', `the parameter ${name} is missing`);
  }
  return value;
}

/**
 * Whether a request only looks for a redirection, as clients of XAPI do before they send a stream that they have only
 * once: a session, no task, and an empty body. XAPI answers 200 before it reads the body.
 */
export function isProbe(parameters: Parameters, contentLength: number | undefined): boolean {
  return contentLength === 0 && parameters.has('session_id') && !parameters.has('task_id');
}
