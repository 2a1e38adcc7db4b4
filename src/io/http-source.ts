import { PatchVdiError } from '../errors.js';
import type { UploadSource } from './chunk.js';
import { parseTarget, type HttpHeaders } from './http.js';
import { HttpBody, bodyLength, requirePlainBody } from './http-body.js';
import { getFollowing, type Fetched } from './http-get.js';

export interface HttpSourceRequest {
  readonly headers: HttpHeaders;
  /** Length in bytes that the user gave. */
  readonly announced: number | undefined;
  /** How long the server may be silent. */
  readonly idleMilliseconds: number | undefined;
  readonly abortSignal: AbortSignal;
}

/** The body's length as the server announces it, and as the user does: both, if given, agree. */
function announcedLength(fetched: Fetched, announced: number | undefined): number | undefined {
  const length = bodyLength('upload', fetched);
  if (length === undefined || announced === undefined || announced === length) return length ?? announced;
  throw new PatchVdiError('usage', 'the upload does not have the announced length', {
    context: {
      path: fetched.target.name,
      found: `${length} bytes`,
      expected: `${announced} bytes (--content-length)`,
    },
    hint: 'leave the length out: the server tells it',
  });
}

/**
 * Opens an upload by its URL: follows redirects until a server answers with the body, and leaves that waiting.
 *
 * @throws PatchVdiError `usage` | `upload`; the reason of the abort signal
 */
export async function openHttpSource(
  text: string,
  { headers, announced, idleMilliseconds, abortSignal }: HttpSourceRequest,
): Promise<UploadSource> {
  const target = parseTarget(text, headers, 'the upload');
  const request = { kind: 'upload', idleMilliseconds, abortSignal } as const;
  const fetched = await getFollowing(target, request, [200], '200');
  try {
    requirePlainBody('upload', fetched);
    return new HttpBody('upload', fetched, announcedLength(fetched, announced));
  } catch (error) {
    fetched.answer.request.destroy();
    throw error;
  }
}
