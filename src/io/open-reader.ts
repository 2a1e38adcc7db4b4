import { closeSync, constants, fstatSync, openSync, statSync, type BigIntStats } from 'node:fs';
import type { ByteReader } from '../bytes.js';
import { PatchVdiError, systemErrorCode } from '../errors.js';
import { checkedBytes } from '../units.js';
import { deviceSizeBytes } from './block-device.js';
import { callersReader } from './callers-reader.js';
import { positionOf } from './descriptor-position.js';
import { deviceNumber } from './device-use.js';
import { FileReader } from './file-reader.js';
import { ForwardReader } from './forward-reader.js';
import { isHttpUrl, type HttpHeaders } from './http.js';
import { PipeSource } from './pipe-source.js';

/**
 * Where an image is: a path or an http(s) URL; a URL with headers of the caller's own; an open descriptor and what to
 * call it; a reader of the caller's own.
 */
export type ReaderPlace =
  | string
  | { readonly url: string; readonly headers?: HttpHeaders }
  | { readonly fd: number; readonly name: string }
  | ByteReader;

export interface ReaderRequest {
  /** Ends every wait, and fails every read from then on, with its reason. */
  readonly abortSignal?: AbortSignal;
  /**
   * How long a server or a pipe may be silent while it is waited for; 0: for ever. Default: 300 seconds for a
   * server, for ever for a pipe.
   */
  readonly idleMilliseconds?: number;
}

const DEFAULT_HTTP_IDLE_MILLISECONDS = 300_000;
/** What a timer takes (Node, `setTimeout`). */
const MAX_IDLE_MILLISECONDS = 2_147_483_647;

interface CheckedRequest {
  readonly abortSignal: AbortSignal;
  readonly idleMilliseconds: number | undefined;
}

function checkRequest(request: ReaderRequest, isRemote: boolean): CheckedRequest {
  const idle = request.idleMilliseconds ?? (isRemote ? DEFAULT_HTTP_IDLE_MILLISECONDS : 0);
  if (!(idle >= 0 && idle <= MAX_IDLE_MILLISECONDS)) {
    throw new PatchVdiError('usage', 'the idle timeout cannot be used', {
      context: { found: String(idle), expected: `0 to ${MAX_IDLE_MILLISECONDS} milliseconds` },
    });
  }
  const abortSignal = request.abortSignal ?? new AbortController().signal;
  return { abortSignal, idleMilliseconds: idle === 0 ? undefined : idle };
}

function cannotOpen(path: string, cause: unknown): PatchVdiError {
  const hints: Readonly<Record<string, string>> = {
    ENOENT: 'check the name of the image',
    EACCES: 'only its owner or root may read it, as a rule',
    EPERM: 'only its owner or root may read it, as a rule',
  };
  const hint = hints[systemErrorCode(cause) ?? ''];
  return new PatchVdiError('usage', 'the image cannot be opened', {
    context: { operation: 'open', path, found: cause instanceof Error ? cause.message : String(cause) },
    ...(hint === undefined ? {} : { hint }),
    cause,
  });
}

function notAnImage(path: string, found: string): PatchVdiError {
  return new PatchVdiError('usage', 'the image cannot be opened', {
    context: { operation: 'open', path, found, expected: 'a file, a block device or a pipe' },
    hint: 'name the image itself',
  });
}

/** What cannot hold an image is refused before it is opened: opening a device can make it act. */
function refuseOddKinds(path: string, stats: BigIntStats): void {
  if (stats.isDirectory()) throw notAnImage(path, 'it is a folder');
  if (stats.isCharacterDevice()) throw notAnImage(path, 'it is a character device');
}

function pipeBrokeOff(name: string, cause: Error): PatchVdiError {
  return new PatchVdiError('image', 'the image broke off', {
    context: { operation: 'read the image', path: name, found: cause.message },
    cause,
  });
}

/** @param inherited the descriptor was opened by somebody else, who may have read some of it */
function descriptorReader(name: string, fd: number, inherited: boolean, request: CheckedRequest): ByteReader {
  const stats = fstatSync(fd, { bigint: true });
  refuseOddKinds(name, stats);
  if (stats.isFIFO() || stats.isSocket()) {
    return new ForwardReader(name, new PipeSource(name, fd, undefined, pipeBrokeOff), request);
  }
  const endBytes = stats.isBlockDevice()
    ? deviceSizeBytes(name, deviceNumber(stats.rdev))
    : checkedBytes(stats.size);
  const startBytes = inherited ? Math.min(positionOf(fd), endBytes) : 0;
  const { abortSignal } = request;
  return new FileReader({
    name,
    fd,
    startBytes,
    sizeBytes: endBytes - startBytes,
    ownsFd: !inherited,
    abortSignal,
  });
}

function openPath(path: string, request: CheckedRequest): ByteReader {
  let fd: number;
  try {
    refuseOddKinds(path, statSync(path, { bigint: true }));
    // Without O_NONBLOCK the open of a named pipe would wait for its writer, and Ctrl-C with it.
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch (error) {
    throw error instanceof PatchVdiError ? error : cannotOpen(path, error);
  }
  try {
    return descriptorReader(path, fd, false, request);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function openDescriptor(name: string, fd: number, request: CheckedRequest): ByteReader {
  try {
    return descriptorReader(name, fd, true, request);
  } catch (error) {
    throw error instanceof PatchVdiError ? error : cannotOpen(name, error);
  }
}

async function openUrl(url: string, headers: HttpHeaders, request: CheckedRequest): Promise<ByteReader> {
  if (!isHttpUrl(url)) {
    // The text is not repeated: it may hold a password.
    throw new PatchVdiError('usage', 'the image has no usable URL', {
      context: { found: 'a URL of another kind', expected: 'http://… or https://…' },
    });
  }
  const { openHttpReader } = await import('./http-reader.js');
  return await openHttpReader(url, headers, request);
}

/**
 * Opens an image, as bytes that can be read at any place; of a pipe, or of a server that gives no ranges, from front
 * to back.
 *
 * A path and a URL are opened here, and closed by the reader's `close`. So is a pipe or socket behind a descriptor:
 * it is made non-blocking. The descriptor of a file or a block device stays open, and where it stands is where the
 * image begins. A reader of the caller's own stays open, too: `close` ends only the use of it.
 *
 * @throws PatchVdiError `usage` for what cannot be opened; `image` for what a server answers; the reason of the abort
 *   signal
 */
export async function openReader(place: ReaderPlace, request: ReaderRequest = {}): Promise<ByteReader> {
  const isUrl = typeof place === 'string' ? isHttpUrl(place) : !('readInto' in place) && 'url' in place;
  const checked = checkRequest(request, isUrl);
  checked.abortSignal.throwIfAborted();
  if (typeof place === 'string') {
    return isUrl ? await openUrl(place, {}, checked) : openPath(place, checked);
  }
  if ('readInto' in place) return callersReader(place, checked.abortSignal);
  if ('url' in place) return await openUrl(place.url, place.headers ?? {}, checked);
  return openDescriptor(place.name, place.fd, checked);
}
