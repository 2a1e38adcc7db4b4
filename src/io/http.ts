import type { ClientRequest, IncomingMessage, OutgoingHttpHeaders } from 'node:http';
import { PatchVdiError, systemErrorCode, type ErrorKind } from '../errors.js';
import { printable } from '../signature/printable.js';

/** Header fields that the user adds to a request. */
export type HttpHeaders = Readonly<Record<string, string>>;

/** Where a request goes. The URL has no credentials and no fragment, so it may be compared and resolved against. */
export interface HttpTarget {
  readonly url: URL;
  /** For messages: without credentials, and with only a hint of the query, which may hold a token. */
  readonly name: string;
  /** What the user's headers and the URL's credentials come to; for this origin only. */
  readonly headers: HttpHeaders;
  /** Words that must not be printed, whoever says them. */
  readonly secrets: readonly string[];
}

/** These frame the message or change what the body means: they are ours. */
const OWN_HEADERS = new Set([
  'accept-encoding',
  'connection',
  'content-encoding',
  'content-length',
  'content-range',
  'expect',
  'host',
  'keep-alive',
  'range',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);
/** RFC 9110 §5.1 and §5.5, without obsolete text. */
const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const HEADER_VALUE = /^[\t\u0020-\u007e\u0080-\u00ff]*$/;

const EXCERPT_BYTES = 2048;
const EXCERPT_CHARACTERS = 300;
const EXCERPT_MILLISECONDS = 5000;
const NAME_CHARACTERS = 200;

export function isHttpUrl(text: string): boolean {
  return /^https?:\/\//i.test(text);
}

/** A URL as it may be printed. */
export function urlName(url: URL): string {
  const query = url.search === '' ? '' : '?…';
  return printable(`${url.protocol}//${url.host}${url.pathname}${query}`, NAME_CHARACTERS);
}

function checkHeaders(headers: HttpHeaders): void {
  const seen = new Set<string>();
  for (const [name, value] of Object.entries(headers)) {
    const key = name.toLowerCase();
    const fault = !HEADER_NAME.test(name)
      ? 'a name with other characters than letters, digits and hyphens'
      : !HEADER_VALUE.test(value)
        ? `a value of ${name} with line ends or control characters`
        : OWN_HEADERS.has(key)
          ? `${name}, which patch-vdi sets itself`
          : seen.has(key)
            ? `${name} twice`
            : undefined;
    if (fault !== undefined) {
      throw new PatchVdiError('usage', 'a header cannot be sent', {
        context: { found: fault, expected: 'Name: value' },
      });
    }
    seen.add(key);
  }
}

function basicCredentials(url: URL): string | undefined {
  if (url.username === '' && url.password === '') return undefined;
  const decoded = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  return `Basic ${Buffer.from(decoded).toString('base64')}`;
}

/** Values of headers, and the words in them: `Bearer TOKEN` must not come back as `TOKEN`. */
function secretsOf(url: URL, headers: HttpHeaders): string[] {
  const words = [
    ...Object.values(headers),
    url.password,
    decodeURIComponent(url.password),
    url.search.slice(1),
  ].flatMap((text) => [text, ...text.split(/[\s;,=&]+/)]);
  return [...new Set(words.filter((word) => word.length >= 6))].toSorted((a, b) => b.length - a.length);
}

/**
 * A URL and headers from the user. Credentials in the URL become an Authorization header, unless there is one.
 *
 * @param what for messages: `the upload`
 * @throws PatchVdiError `usage`, which does not repeat the URL or a header's value
 */
export function parseTarget(text: string, given: HttpHeaders, what: string): HttpTarget {
  checkHeaders(given);
  let url: URL;
  let authorization: string | undefined;
  try {
    url = new URL(text);
    authorization = basicCredentials(url);
  } catch {
    // The cause would repeat the text.
    throw new PatchVdiError('usage', `${what} has no usable URL`, {
      context: { found: 'a text that is no URL', expected: 'http://… or https://…' },
    });
  }
  const hasOwn = Object.keys(given).some((name) => name.toLowerCase() === 'authorization');
  const headers = authorization === undefined || hasOwn ? given : { ...given, Authorization: authorization };
  const secrets = secretsOf(url, headers);
  url.username = '';
  url.password = '';
  url.hash = '';
  return { url, name: urlName(url), headers, secrets };
}

/** Starts a request on a connection of its own, which is not kept. */
export async function startRequest(
  target: HttpTarget,
  method: 'GET' | 'PUT',
  headers: OutgoingHttpHeaders,
): Promise<ClientRequest> {
  const { request } =
    target.url.protocol === 'https:' ? await import('node:https') : await import('node:http');
  return request(target.url, { method, agent: false, headers: { ...target.headers, ...headers } });
}

/** Nobody was there: not a byte of a body has gone out. */
export function isUnreachable(cause: Error): boolean {
  return UNREACHABLE_CODE.test(systemErrorCode(cause) ?? '');
}

const UNREACHABLE_CODE = /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH)$/;
const TLS_CODE = /^(ERR_TLS|ERR_SSL|EPROTO|CERT_|UNABLE_TO_|DEPTH_ZERO|SELF_SIGNED|HOSTNAME_MISMATCH)/;

/** A connection that could not be made or broke, in words of ours around those of the system. */
export function connectionFailure(
  kind: ErrorKind,
  message: string,
  target: HttpTarget,
  cause: Error,
  found?: string,
): PatchVdiError {
  const tls = TLS_CODE.test(systemErrorCode(cause) ?? '');
  const words = printable(cause.message, EXCERPT_CHARACTERS);
  return new PatchVdiError(kind, tls ? 'the server could not be trusted' : message, {
    context: { path: target.name, found: found === undefined ? words : `${found} (${words})` },
    ...(tls ? { hint: 'NODE_EXTRA_CA_CERTS=FILE adds the certificate of an authority of your own' } : {}),
    ...(isUnreachable(cause) ? { hint: 'look at the name and the port, and whether the server runs' } : {}),
    cause,
  });
}

/** Without what must not be printed, wherever it comes from. */
export function withoutSecrets(text: string, secrets: readonly string[]): string {
  return secrets.reduce((rest, secret) => rest.replaceAll(secret, '***'), text);
}

/** The start of an answer's body, on one line, fit to be printed. Never waits long, never fails. */
function excerptOf(response: IncomingMessage, secrets: readonly string[]): Promise<string> {
  return new Promise((resolve) => {
    const parts: Buffer[] = [];
    let bytes = 0;
    const end = (): void => {
      clearTimeout(timer);
      const text = Buffer.concat(parts).toString('utf8', 0, Math.min(bytes, EXCERPT_BYTES));
      const clean = withoutSecrets(text, secrets).replaceAll(/\s+/g, ' ').trim();
      resolve(printable(clean, EXCERPT_CHARACTERS));
    };
    const timer = setTimeout(end, EXCERPT_MILLISECONDS);
    response.on('data', (part: Buffer) => {
      if (bytes < EXCERPT_BYTES) parts.push(part);
      bytes += part.length;
      if (bytes >= EXCERPT_BYTES) end();
    });
    response.on('end', end).on('error', end).on('close', end);
  });
}

/** `404 Not Found: no such file`; a Location is named without its credentials. */
export async function describeAnswer(response: IncomingMessage, target: HttpTarget): Promise<string> {
  const reason = printable(withoutSecrets(response.statusMessage ?? '', target.secrets), 100);
  const status = `${response.statusCode} ${reason}`.trim();
  const { location } = response.headers;
  if (location !== undefined) return `${status}, Location ${locationName(location, target)}`;
  const excerpt = await excerptOf(response, target.secrets);
  return excerpt === '' ? status : `${status}: ${excerpt}`;
}

function locationName(location: string, target: HttpTarget): string {
  try {
    return urlName(new URL(location, target.url));
  } catch {
    return 'that is no URL';
  }
}
