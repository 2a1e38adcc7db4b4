import type { ClientRequest, IncomingMessage, OutgoingHttpHeaders } from 'node:http';
import { PatchVdiError } from '../errors.js';
import { trace } from '../trace.js';
import { connectionFailure, describeAnswer, startRequest, urlName, type HttpTarget } from './http.js';
import { StallClock, describeSilence } from './idle-timeout.js';

const MAX_REDIRECTS = 10;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

/** What is fetched: the kind of the errors, and the word for it in them. */
export type FetchedKind = 'upload' | 'image';

export interface GetRequest {
  readonly kind: FetchedKind;
  /** Ours: they are sent to every origin. */
  readonly headers?: OutgoingHttpHeaders;
  /** How long the server may be silent. */
  readonly idleMilliseconds: number | undefined;
  readonly abortSignal: AbortSignal;
}

export interface HttpAnswer {
  readonly request: ClientRequest;
  readonly response: IncomingMessage;
  /** What went wrong since the head came, if anything; the body may be in buffers still. */
  readonly failures: readonly Error[];
}

/** The answer to a GET: its head; the body waits. */
async function get(
  target: HttpTarget,
  { kind, headers = {}, abortSignal, idleMilliseconds }: GetRequest,
): Promise<HttpAnswer> {
  abortSignal.throwIfAborted();
  trace('http', `GET ${target.name}`);
  const request = await startRequest(target, 'GET', { ...headers, 'accept-encoding': 'identity' });
  return await new Promise((resolve, reject) => {
    const clock =
      idleMilliseconds === undefined
        ? undefined
        : new StallClock(idleMilliseconds, () =>
            fail(
              new PatchVdiError(kind, 'the server does not answer', {
                context: {
                  path: target.name,
                  found: describeSilence(idleMilliseconds),
                  expected: 'an answer',
                },
                hint: '--idle-timeout says how long to wait',
                leftBehind: 'nothing was touched',
              }),
            ),
          );
    const settle = (action: () => void): void => {
      clock?.dispose();
      abortSignal.removeEventListener('abort', onAbort);
      action();
    };
    const fail = (error: unknown): void => {
      settle(() => reject(error as Error));
      request.destroy();
    };
    const onAbort = (): void => fail(abortSignal.reason);
    abortSignal.addEventListener('abort', onAbort);
    const failures: Error[] = [];
    request.on('error', (cause) => {
      failures.push(cause);
      settle(() => reject(connectionFailure(kind, `the ${kind} could not be fetched`, target, cause)));
    });
    request.on('response', (response) => {
      response.on('error', (cause) => failures.push(cause));
      settle(() => resolve({ request, response, failures }));
    });
    clock?.start();
    request.end();
    if (abortSignal.aborted) onAbort();
  });
}

/** @throws PatchVdiError of that kind, always: what the server says or does is of no use */
export function refuseAnswer(
  kind: FetchedKind,
  target: HttpTarget,
  message: string,
  found: string,
  expected: string,
  hint?: string,
): never {
  throw new PatchVdiError(kind, message, {
    context: { path: target.name, found, expected },
    leftBehind: 'nothing was touched',
    ...(hint === undefined ? {} : { hint }),
  });
}

/** Where a redirect leads. What the user sent along stays with the origin it was meant for. */
function follow(kind: FetchedKind, from: HttpTarget, location: string): HttpTarget {
  let url: URL;
  try {
    url = new URL(location, from.url);
  } catch {
    const found = 'a Location that is no URL';
    return refuseAnswer(kind, from, 'the server redirects to no URL', found, 'http://… or https://…');
  }
  const name = urlName(url);
  if (url.protocol !== 'https:' && (url.protocol !== 'http:' || from.url.protocol === 'https:')) {
    return refuseAnswer(
      kind,
      from,
      'the server redirects away from https',
      `Location ${name}`,
      'an https URL',
      url.protocol === 'http:' ? 'give that URL yourself if an unprotected way will do' : undefined,
    );
  }
  url.username = '';
  url.password = '';
  url.hash = '';
  const sameOrigin = url.origin === from.url.origin;
  trace('http', `redirected to ${name}${sameOrigin ? '' : ', without the headers that were given'}`);
  return { url, name, headers: sameOrigin ? from.headers : {}, secrets: from.secrets };
}

/** An answer, and who gave it in the end. */
export interface Fetched {
  readonly target: HttpTarget;
  readonly answer: HttpAnswer;
}

/**
 * Follows redirects until a server answers with one of those statuses; the body waits. The caller destroys the
 * request.
 *
 * @throws PatchVdiError of the request's kind; the reason of the abort signal
 */
export async function getFollowing(
  from: HttpTarget,
  request: GetRequest,
  statuses: readonly number[],
  expected: string,
): Promise<Fetched> {
  const { kind } = request;
  let target = from;
  for (let redirects = 0; ; redirects += 1) {
    const answer = await get(target, request);
    const { statusCode = 0, headers } = answer.response;
    try {
      if (statuses.includes(statusCode)) return { target, answer };
      if (!REDIRECTS.has(statusCode) || headers.location === undefined) {
        const found = await describeAnswer(answer.response, target);
        refuseAnswer(kind, target, `the server does not give the ${kind}`, found, expected);
      }
      if (redirects === MAX_REDIRECTS) {
        const found = `more than ${MAX_REDIRECTS} redirects`;
        refuseAnswer(kind, target, 'the server redirects without end', found, `${MAX_REDIRECTS} at most`);
      }
      target = follow(kind, target, headers.location);
    } catch (error) {
      answer.request.destroy();
      throw error;
    }
    answer.request.destroy();
  }
}
