import type { IncomingMessage } from 'node:http';
import * as v from 'valibot';
import { withoutSecrets } from '../io/http.js';
import { printable } from '../signature/printable.js';
import { KIB } from '../units.js';
import type { ServerAddress } from './server-address.js';
import { serverFailure, type FailureDetails } from './server-failure.js';
import { describedError } from './xen-api-error.js';

/** Of an answer that is no success, as far as it is read. */
const MAX_ERROR_BYTES = 256 * KIB;
const EXCERPT_CHARACTERS = 300;

/** The answer was longer than anybody would need. */
export class TooLongError extends Error {
  override readonly name = 'TooLongError';
}

/**
 * The body of an answer as text.
 *
 * @param maximumBytes what is longer is not read to its end
 * @throws TooLongError; the connection's own error, also when it broke off
 */
export async function readText(response: IncomingMessage, maximumBytes: number): Promise<string> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of response as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > maximumBytes) throw new TooLongError(`more than ${maximumBytes} bytes`);
    parts.push(part);
  }
  if (!response.complete) throw new Error('the answer broke off');
  return Buffer.concat(parts).toString('utf8');
}

/** The start of a text from a server, on one line, as it may be shown. */
export function excerpt(text: string, secrets: readonly string[]): string {
  const clean = withoutSecrets(text.slice(0, 8 * KIB), secrets);
  return printable(clean.replaceAll(/\s+/g, ' ').trim(), EXCERPT_CHARACTERS);
}

/** How the HTTP handlers of our server say what the XenAPI calls an error. */
const HANDLER_ERROR = v.object({
  error: v.object({ code: v.string(), parameters: v.array(v.string()) }),
});

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

export interface AnswerScene {
  readonly address: ServerAddress;
  /** Such as `PUT /pool_patch_upload`. */
  readonly operation: string;
  /** Words that must not be shown. */
  readonly secrets: readonly string[];
  readonly details?: Pick<FailureDetails, 'leftBehind'>;
}

/**
 * What a status means that is no success: a XenApiError if the server says which, else one of kind `sink`. The answer
 * is read, not longer than the connection lives.
 */
export async function refusal(response: IncomingMessage, scene: AnswerScene): Promise<Error> {
  const { address, operation, secrets, details = {} } = scene;
  let text = '';
  try {
    text = await readText(response, MAX_ERROR_BYTES);
  } catch {
    // The status alone has to do.
  }
  const parsed = v.safeParse(HANDLER_ERROR, parseJson(text));
  if (parsed.success) {
    const { code, parameters } = parsed.output.error;
    const described = describedError(operation, [code, ...parameters], (word) =>
      withoutSecrets(word, secrets),
    );
    if (described !== undefined) return described;
  }
  const { statusCode = 0, statusMessage = '', headers } = response;
  const status = `${statusCode} ${excerpt(statusMessage, secrets)}`.trim();
  const location = headers.location === undefined ? undefined : excerpt(headers.location, secrets);
  const words = excerpt(text, secrets);
  return serverFailure(address, `the server does not do ${operation}`, {
    ...details,
    found: location === undefined ? `${status}${words === '' ? '' : `: ${words}`}` : `${status}, ${location}`,
    expected: 'status 200',
    hint:
      location === undefined
        ? statusHint(statusCode)
        : 'give the URL of that server, if you trust it: nobody is followed with a password',
  });
}

function statusHint(status: number): string {
  if (status === 401 || status === 403) return 'check --user and the password, and the role of that user';
  if (status === 404)
    return 'check the URL: that server does not seem to be a pool of XenServer, XCP-ng or ours';
  if (status === 503 || status === 429) return 'the server is busy: try again later';
  return "look at the server's log";
}
