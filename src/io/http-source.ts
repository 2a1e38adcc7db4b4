import type { ClientRequest, IncomingMessage } from 'node:http';
import { PatchVdiError } from '../errors.js';
import { printable } from '../signature/printable.js';
import { trace } from '../trace.js';
import type { ChunkReceiver, UploadSource } from './chunk.js';
import { connectionFailure, describeAnswer, parseTarget, startRequest, urlName } from './http.js';
import type { HttpHeaders, HttpTarget } from './http.js';
import { StallClock, describeSilence } from './idle-timeout.js';
import { pumpReadable } from './pump-readable.js';

const MAX_REDIRECTS = 10;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

export interface HttpSourceRequest {
  readonly headers: HttpHeaders;
  /** Length in bytes that the user gave. */
  readonly announced: number | undefined;
  /** How long the server may be silent. */
  readonly idleMilliseconds: number | undefined;
  readonly abortSignal: AbortSignal;
}

interface Answer {
  readonly request: ClientRequest;
  readonly response: IncomingMessage;
  /** What went wrong since the head came, if anything; the body may be in buffers still. */
  readonly failures: readonly Error[];
}

/** The answer to a GET: its head; the body waits. */
async function get(
  target: HttpTarget,
  { abortSignal, idleMilliseconds }: HttpSourceRequest,
): Promise<Answer> {
  abortSignal.throwIfAborted();
  trace('http', `GET ${target.name}`);
  const request = await startRequest(target, 'GET', { 'accept-encoding': 'identity' });
  return await new Promise((resolve, reject) => {
    const clock =
      idleMilliseconds === undefined
        ? undefined
        : new StallClock(idleMilliseconds, () =>
            fail(
              new PatchVdiError('upload', 'the server does not answer', {
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
      settle(() => reject(connectionFailure('upload', 'the upload could not be fetched', target, cause)));
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

function refuse(target: HttpTarget, message: string, found: string, expected: string, hint?: string): never {
  throw new PatchVdiError('upload', message, {
    context: { path: target.name, found, expected },
    leftBehind: 'nothing was touched',
    ...(hint === undefined ? {} : { hint }),
  });
}

/** Where a redirect leads. What the user sent along stays with the origin it was meant for. */
function follow(from: HttpTarget, location: string): HttpTarget {
  let url: URL;
  try {
    url = new URL(location, from.url);
  } catch {
    return refuse(
      from,
      'the server redirects to no URL',
      'a Location that is no URL',
      'http://… or https://…',
    );
  }
  const name = urlName(url);
  if (url.protocol !== 'https:' && (url.protocol !== 'http:' || from.url.protocol === 'https:')) {
    return refuse(
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

/** The body's length as the server announces it, and as the user does: both, if given, agree. */
function announcedLength(target: HttpTarget, response: IncomingMessage, announced: number | undefined) {
  const text = response.headers['content-length'];
  if (text === undefined) return announced;
  const length = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(length)) {
    return refuse(
      target,
      'the server announces an unusable length',
      printable(text, 40),
      'a number of bytes',
    );
  }
  if (announced !== undefined && announced !== length) {
    throw new PatchVdiError('usage', 'the upload does not have the announced length', {
      context: {
        path: target.name,
        found: `${length} bytes`,
        expected: `${announced} bytes (--content-length)`,
      },
      hint: 'leave the length out: the server tells it',
    });
  }
  return length;
}

/**
 * Opens an upload by its URL: follows redirects until a server answers with the body, and leaves that waiting.
 *
 * @throws PatchVdiError `usage` | `upload`; the reason of the abort signal
 */
export async function openHttpSource(text: string, request: HttpSourceRequest): Promise<UploadSource> {
  let target = parseTarget(text, request.headers, 'the upload');
  for (let redirects = 0; ; redirects += 1) {
    const answer = await get(target, request);
    const { statusCode = 0, headers } = answer.response;
    try {
      if (statusCode === 200) return openBody(target, answer, request.announced);
      if (!REDIRECTS.has(statusCode) || headers.location === undefined) {
        const found = await describeAnswer(answer.response, target);
        refuse(target, 'the server does not give the upload', found, '200');
      }
      if (redirects === MAX_REDIRECTS) {
        const found = `more than ${MAX_REDIRECTS} redirects`;
        refuse(target, 'the server redirects without end', found, `${MAX_REDIRECTS} at most`);
      }
      target = follow(target, headers.location);
    } catch (error) {
      answer.request.destroy();
      throw error;
    }
    answer.request.destroy();
  }
}

function openBody(target: HttpTarget, answer: Answer, announced: number | undefined): UploadSource {
  const encoding = answer.response.headers['content-encoding'] ?? 'identity';
  if (encoding.toLowerCase() !== 'identity') {
    refuse(
      target,
      'the server packs the upload on the way',
      `Content-Encoding ${printable(encoding, 40)}`,
      'the bytes as they are (Accept-Encoding: identity was sent)',
      'turn that off on the server, or save the file and name it',
    );
  }
  return new HttpSource(target, answer, announcedLength(target, answer.response, announced));
}

class HttpSource implements UploadSource {
  readonly name: string;
  readonly contentLength: number | undefined;
  readonly #target: HttpTarget;
  readonly #answer: Answer;

  constructor(target: HttpTarget, answer: Answer, contentLength: number | undefined) {
    this.name = target.name;
    this.contentLength = contentLength;
    this.#target = target;
    this.#answer = answer;
  }

  async pump(receive: ChunkReceiver, abortSignal: AbortSignal): Promise<void> {
    const { response, failures } = this.#answer;
    let bytes = 0;
    const brokenOff = (cause: Error): PatchVdiError => {
      const of = this.contentLength === undefined ? '' : ` of ${this.contentLength}`;
      return connectionFailure(
        'upload',
        'the upload broke off',
        this.#target,
        failures[0] ?? cause,
        `${bytes}${of} bytes came`,
      );
    };
    const counted: ChunkReceiver = (chunk) => {
      bytes += chunk.bytes.length;
      return receive(chunk);
    };
    await pumpReadable(response, counted, abortSignal, brokenOff);
    const [failure] = failures;
    // Bytes behind the announced ones are no HTTP: the parser has complained.
    if (failure !== undefined && bytes === this.contentLength) {
      const found = `bytes behind the ${bytes} announced ones`;
      throw connectionFailure(
        'upload',
        'the server sends more than it announced',
        this.#target,
        failure,
        found,
      );
    }
    if (failure !== undefined || !response.complete) throw brokenOff(new Error('the answer is not complete'));
  }

  close(): void {
    this.#answer.request.destroy();
  }
}
