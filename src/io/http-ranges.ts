import type { IncomingHttpHeaders } from 'node:http';
import { PatchVdiError } from '../errors.js';
import { printable } from '../signature/printable.js';
import { withoutSecrets, type HttpTarget } from './http.js';
import { HttpBody, bodyLength, requirePlainBody } from './http-body.js';
import { getFollowing, refuseAnswer, type Fetched, type GetRequest } from './http-get.js';

/** What all requests of one image have in common. */
export type RangeRequest = Omit<GetRequest, 'headers' | 'kind'>;

/** HTTP-dates have seconds, so a date that is younger than this may belong to two versions (RFC 9110, 8.8.2.2). */
const STRONG_DATE_MILLISECONDS = 60_000;
const FOUND_CHARACTERS = 64;

/** A part of a resource: `bytes 0-65535/1048576` (RFC 9110, 14.4). Both ends are inside of it. */
interface ContentRange {
  readonly first: number;
  readonly last: number;
  readonly total: number;
}

function parseContentRange(text: string): ContentRange | undefined {
  const match = /^bytes (\d{1,16})-(\d{1,16})\/(\d{1,16})$/i.exec(text.trim());
  if (match === null) return undefined;
  const [first = 0, last = 0, total = 0] = match.slice(1).map(Number);
  const isSane = Number.isSafeInteger(total) && first <= last && last < total;
  return isSane ? { first, last, total } : undefined;
}

/** What the image is like now, in the server's words (RFC 9110, 8.8). */
interface Version {
  readonly etag: string | undefined;
  readonly lastModified: string | undefined;
}

function versionOf(headers: IncomingHttpHeaders): Version {
  return { etag: headers.etag, lastModified: headers['last-modified'] };
}

/** What may be sent as If-Range (RFC 9110, 13.1.5): a strong entity tag; a date only if there is no tag at all. */
function conditionOf({ etag, lastModified }: Version, headers: IncomingHttpHeaders): string | undefined {
  if (etag !== undefined) return etag.startsWith('"') ? etag : undefined;
  if (lastModified === undefined) return undefined;
  const age = Date.parse(headers.date ?? '') - Date.parse(lastModified);
  return age >= STRONG_DATE_MILLISECONDS ? lastModified : undefined;
}

const FIRST_STATUSES = [200, 206, 416];
const LATER_STATUSES = [...FIRST_STATUSES, 412];
/** What a redirect led to may be good for some minutes only, as a signed URL is. */
const EXPIRED_STATUSES = [401, 403, 404, 410];

/** An image on a server that has given a first part of it, by a request of ours. */
export class RangedImage {
  readonly sizeBytes: number;
  /** As the user gave it. */
  readonly #start: HttpTarget;
  /** Where redirects led. */
  #target: HttpTarget;
  readonly #request: RangeRequest;
  readonly #version: Version;
  readonly #condition: string | undefined;

  private constructor(start: HttpTarget, fetched: Fetched, request: RangeRequest, sizeBytes: number) {
    const { headers } = fetched.answer.response;
    this.sizeBytes = sizeBytes;
    this.#start = start;
    this.#target = fetched.target;
    this.#request = request;
    this.#version = versionOf(headers);
    this.#condition = conditionOf(this.#version, headers);
  }

  /**
   * The first request for an image.
   *
   * @param lengthBytes how many of its first bytes to ask for
   * @returns the image and its first bytes, of a server that gives ranges; else all of it, as one body
   * @throws PatchVdiError `image`; the reason of the abort signal
   */
  static async first(
    target: HttpTarget,
    request: RangeRequest,
    lengthBytes: number,
  ): Promise<{ readonly body: HttpBody; readonly image: RangedImage | undefined }> {
    const headers = { range: `bytes=0-${lengthBytes - 1}` };
    const fetched = await getFollowing(
      target,
      { ...request, kind: 'image', headers },
      FIRST_STATUSES,
      '206 or 200',
    );
    try {
      if (fetched.answer.response.statusCode === 416) refuseEmpty(fetched);
      requirePlainBody('image', fetched);
      if (fetched.answer.response.statusCode === 200) {
        return { body: new HttpBody('image', fetched, bodyLength('image', fetched)), image: undefined };
      }
      const { total } = requireRange(fetched, 0, lengthBytes - 1, undefined);
      const body = new HttpBody('image', fetched, bodyLength('image', fetched));
      return { body, image: new RangedImage(target, fetched, request, total) };
    } catch (error) {
      fetched.answer.request.destroy();
      throw error;
    }
  }

  /** Whether another version of the image would be noticed. */
  get hasValidator(): boolean {
    return this.#version.etag !== undefined || this.#version.lastModified !== undefined;
  }

  /**
   * Asks for the bytes from `first` to `last`, both inside of the image. The body may be longer than announced, and
   * break off: whoever reads it counts.
   *
   * @throws PatchVdiError `image`; the reason of the abort signal
   */
  async open(first: number, last: number): Promise<HttpBody> {
    const end = last === this.sizeBytes - 1 ? '' : last;
    const headers = {
      range: `bytes=${first}-${end}`,
      ...(this.#condition === undefined ? {} : { 'if-range': this.#condition }),
    };
    const fetched = await this.#get({ ...this.#request, kind: 'image', headers });
    try {
      this.#requireSame(fetched);
      requirePlainBody('image', fetched);
      requireRange(fetched, first, last, this.sizeBytes);
      return new HttpBody('image', fetched, bodyLength('image', fetched));
    } catch (error) {
      fetched.answer.request.destroy();
      throw error;
    }
  }

  /** Asks where the redirects led; if that is no more, the user's place again. */
  async #get(request: GetRequest): Promise<Fetched> {
    if (this.#target !== this.#start) {
      const statuses = [...LATER_STATUSES, ...EXPIRED_STATUSES];
      const fetched = await getFollowing(this.#target, request, statuses, '206');
      if (!EXPIRED_STATUSES.includes(fetched.answer.response.statusCode ?? 0)) return fetched;
      fetched.answer.request.destroy();
    }
    const fetched = await getFollowing(this.#start, request, LATER_STATUSES, '206');
    this.#target = fetched.target;
    return fetched;
  }

  /** The same version, and still by ranges. */
  #requireSame({ target, answer }: Fetched): void {
    const { statusCode, headers } = answer.response;
    const now = versionOf(headers);
    const differs = (before: string | undefined, after: string | undefined): boolean =>
      before !== undefined && after !== undefined && before !== after;
    const { etag, lastModified } = this.#version;
    if (differs(etag, now.etag)) throw changed(target, `ETag ${now.etag}`, `ETag ${etag}`);
    if (differs(lastModified, now.lastModified)) {
      throw changed(target, `Last-Modified ${now.lastModified}`, `Last-Modified ${lastModified}`);
    }
    if (statusCode === 206) return;
    const expected = '206, as for the first request';
    if (statusCode === 412 || statusCode === 416) throw changed(target, String(statusCode), expected);
    // This is the answer to If-Range when the version is another one, even if the server does not say so.
    if (this.#condition !== undefined && now.etag === undefined && now.lastModified === undefined) {
      throw changed(target, '200', expected);
    }
    refuseAnswer('image', target, 'the server no longer gives ranges', '200', expected);
  }
}

function changed(target: HttpTarget, found: string, expected: string): PatchVdiError {
  const clean = (text: string): string => printable(withoutSecrets(text, target.secrets), FOUND_CHARACTERS);
  return new PatchVdiError('image', 'the image changed while it was read', {
    context: { path: target.name, found: clean(found), expected: clean(expected) },
    hint: 'try again',
  });
}

function refuseEmpty({ target, answer }: Fetched): never {
  const range = printable(answer.response.headers['content-range'] ?? '', FOUND_CHARACTERS);
  const isEmpty = /^bytes \*\/0$/i.test(range);
  refuseAnswer(
    'image',
    target,
    isEmpty ? 'the image is empty' : 'the server does not give the image',
    `416${range === '' ? '' : `, Content-Range ${range}`}`,
    'the first bytes of an image',
  );
}

/**
 * The answer is one part, and the one that was asked for.
 *
 * @param size what the image's size has to be, if that is known
 */
function requireRange(
  fetched: Fetched,
  first: number,
  askedLast: number,
  size: number | undefined,
): ContentRange {
  const { target, answer } = fetched;
  const { headers } = answer.response;
  const message = 'the server gives another range than was asked for';
  const type = headers['content-type'] ?? '';
  if (/^multipart\//i.test(type.trim())) {
    refuseAnswer('image', target, message, `Content-Type ${printable(type, FOUND_CHARACTERS)}`, 'one range');
  }
  const text = headers['content-range'];
  const range = text === undefined ? undefined : parseContentRange(text);
  const found =
    text === undefined ? 'no Content-Range' : `Content-Range ${printable(text, FOUND_CHARACTERS)}`;
  if (range === undefined) {
    return refuseAnswer('image', target, message, found, `bytes ${first}-${askedLast} of a known size`);
  }
  if (size !== undefined && range.total !== size) throw changed(target, found, `a size of ${size} bytes`);
  const last = Math.min(askedLast, range.total - 1);
  if (range.first !== first || range.last !== last) {
    return refuseAnswer('image', target, message, found, `bytes ${first}-${last}/${range.total}`);
  }
  const length = bodyLength('image', fetched) ?? last - first + 1;
  if (length !== last - first + 1) {
    return refuseAnswer(
      'image',
      target,
      message,
      `${length} bytes with ${found}`,
      `${last - first + 1} bytes`,
    );
  }
  return range;
}
