import { tmpdir } from 'node:os';
import type { Writable } from 'node:stream';
import { PatchVdiError } from '../errors.js';
import type { Sink } from '../io/sink.js';
import type { UploadSource } from '../io/chunk.js';
import { isBlockDevice } from '../io/block-device.js';
import { DeviceSink } from '../io/device-sink.js';
import { FileSink } from '../io/file-sink.js';
import { IterableSource } from '../io/iterable-source.js';
import { WatchedSink, watchSource } from '../io/idle-timeout.js';
import { isHttpUrl, type HttpHeaders } from '../io/http.js';
import { openDescriptorSource, openPathSource, requireNoMember } from '../io/open-source.js';
import { WritableSink, openDescriptorSink } from '../io/stream-sink.js';
import { refusingZip } from '../io/zip-signature.js';
import { IMAGE_FORMATS, type ImageFormat } from '../plan/plan.js';
import { validatePolicy, type SignaturePolicy } from '../signature/policy.js';
import { DEFAULT_SEARCH_PATH, type ToolEnvironment } from '../tools/find.js';
import { FILESYSTEMS, type FilesystemName } from '../tools/mke2fs.js';
import { checkIdentity, type IdentityRequest } from './identity.js';
import { IMAGE_STEP_BYTES, checkRequestedSize } from './size-rule.js';

/**
 * Where the upload comes from: a path (of a ZIP file, too), an http(s) URL, an open descriptor, or any async iterable of bytes. The descriptor of a file
 * stays open; that of a pipe or socket is closed when the build ends.
 */
export type SourceOption =
  | string
  | { readonly url: string; readonly headers?: HttpHeaders }
  | { readonly fd: number; readonly name?: string }
  | AsyncIterable<Uint8Array>;

/** An output that has a name: a new file, or a block device (Linux, format raw). */
export interface PathSink {
  readonly path: string;
  /** Replace an existing file, or a device that holds more than a file system (a partition table, a part of LVM ...). */
  readonly force?: boolean;
  /** The device reads as zeros from end to end: then none are written. */
  readonly targetIsZeroed?: boolean;
}

/**
 * Where the image goes: a path, an http(s) URL for a PUT, an open descriptor, or a Node stream (which the caller ends). A
 * file gets its name only when the image is complete and verified; a block device loses what it holds when the first
 * bytes of the upload are there.
 */
export type SinkOption =
  | string
  | PathSink
  | { readonly url: string; readonly headers?: HttpHeaders }
  | { readonly fd: number; readonly name?: string }
  | Writable;

/** What must hold before the image is sealed. One of the three is required; `unsigned` stands alone. */
export interface VerifyOption {
  /** A signature, checked by gpgv. */
  readonly signature?: SignaturePolicy;
  /** The SHA-256 of the upload, 64 hexadecimal digits. */
  readonly sha256?: string;
  /** Nothing is checked, and the caller says so. */
  readonly unsigned?: boolean;
}

/** Bytes so far, for progress bars. `totalBytes` is undefined while the length is unknown. */
export interface Progress {
  readonly phase: 'spool' | 'write';
  readonly bytes: number;
  readonly totalBytes: number | undefined;
}

/** How the source is read, and how long anything is waited for. */
export interface UploadOptions {
  /** Bytes of the upload, where the source does not know them itself. */
  readonly contentLength?: number | undefined;
  /** The member of a ZIP file that is the upload; default: the one that ends in `.xsupdate`. */
  readonly member?: string | undefined;
  /** False: a ZIP archive is the upload itself, not the packing around it. */
  readonly unzip?: boolean | undefined;
  /**
   * Seconds that the source may be silent, or a stream or server may take nothing. 0: for ever. Default: 300 for
   * http(s), else for ever.
   */
  readonly idleTimeoutSeconds?: number | undefined;
}

const DEFAULT_HTTP_IDLE_SECONDS = 300;
/** The longest that a timer can run. */
const MAX_IDLE_SECONDS = 2_147_483;

export interface ImageOptions extends IdentityRequest, UploadOptions {
  readonly format: ImageFormat;
  /** Default: ext4. The others are for old hosts. */
  readonly filesystem?: FilesystemName | undefined;
  /** Bytes of the image; rounded up to 2 MiB. Default: four times the upload, 4 GiB without a length. */
  readonly size?: number | undefined;
  /** Stops everything: the promise rejects with an error of kind `interrupted`, and nothing is left behind. */
  readonly signal?: AbortSignal | undefined;
  /** How e2fsprogs and gpgv are found, and where temporary files go. */
  readonly environment?: Partial<ToolEnvironment> | undefined;
}

export interface BuildOptions extends ImageOptions {
  readonly source: SourceOption;
  readonly sink: SinkOption;
  readonly verify: VerifyOption;
  /** Where an upload is kept that must be spooled; default: the environment's temporary folder. */
  readonly spoolFolder?: string | undefined;
  /** Report the SHA-256 of the upload. Costs about a third of the time. */
  readonly digest?: boolean | undefined;
  /** Called for every chunk, from the hot path: keep it short. What it throws stops the build. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

export function toolEnvironment(partial: Partial<ToolEnvironment> | undefined): ToolEnvironment {
  return {
    searchPath: partial?.searchPath ?? DEFAULT_SEARCH_PATH,
    temporaryFolder: partial?.temporaryFolder ?? tmpdir(),
  };
}

/** @throws PatchVdiError `usage` */
export function checkContentLength(length: number | undefined): number | undefined {
  if (length === undefined || (Number.isSafeInteger(length) && length >= 0)) return length;
  throw new PatchVdiError('usage', 'the content length cannot be used', {
    context: { found: String(length), expected: 'a whole number of bytes' },
  });
}

/**
 * No keyring and nothing explicit means refusal, before anything is written.
 *
 * @throws PatchVdiError `usage` | `signature`
 */
export function checkVerify(verify: VerifyOption): void {
  const { signature, sha256, unsigned } = verify;
  if (signature !== undefined) validatePolicy(signature);
  if (sha256 !== undefined && !/^[0-9a-f]{64}$/i.test(sha256)) {
    throw new PatchVdiError('usage', 'that is not a SHA-256', {
      context: { found: JSON.stringify(sha256), expected: '64 hexadecimal digits' },
    });
  }
  if (unsigned === true && (signature !== undefined || sha256 !== undefined)) {
    throw new PatchVdiError('usage', 'an upload cannot be both verified and allowed unsigned', {
      context: { found: 'allow-unsigned beside a keyring or a SHA-256', expected: 'one or the other' },
    });
  }
  if (signature === undefined && sha256 === undefined && unsigned !== true) {
    throw new PatchVdiError('signature', 'nothing says how to verify the upload', {
      context: { found: 'no keyring', expected: 'a keyring, a SHA-256, or the word that none is wanted' },
      hint: 'give --keyring FILE (or --allow-sha256 HEX; or --allow-unsigned, if you trust the upload for another reason)',
      leftBehind: 'nothing was touched',
    });
  }
}

/** Every check that needs neither file nor program; the image size that was asked for, rounded. */
export function checkImageOptions(options: ImageOptions): { readonly requestedSize: number | undefined } {
  checkIdentity(options);
  checkContentLength(options.contentLength);
  if (!IMAGE_FORMATS.includes(options.format)) {
    throw new PatchVdiError('usage', 'there is no such format', {
      context: { found: JSON.stringify(options.format), expected: IMAGE_FORMATS.join(', ') },
    });
  }
  if (!FILESYSTEMS.includes(filesystemOf(options))) {
    throw new PatchVdiError('usage', 'there is no such file system', {
      context: { found: JSON.stringify(options.filesystem), expected: FILESYSTEMS.join(', ') },
    });
  }
  return { requestedSize: checkRequestedSize(options.size) };
}

function checkUploadOptions({ member, unzip, idleTimeoutSeconds: seconds = 0 }: UploadOptions): void {
  if (member !== undefined && unzip === false) {
    throw new PatchVdiError('usage', 'a member needs unzipping', {
      context: { found: '--member beside --no-unzip', expected: 'one or the other' },
    });
  }
  if (!(seconds >= 0 && seconds <= MAX_IDLE_SECONDS)) {
    throw new PatchVdiError('usage', 'the idle timeout cannot be used', {
      context: { found: String(seconds), expected: `0 to ${MAX_IDLE_SECONDS} seconds` },
    });
  }
}

/** Undefined: for ever. */
function idleMilliseconds({ idleTimeoutSeconds }: UploadOptions, remote: boolean): number | undefined {
  const seconds = idleTimeoutSeconds ?? (remote ? DEFAULT_HTTP_IDLE_SECONDS : 0);
  return seconds === 0 ? undefined : seconds * 1000;
}

export function filesystemOf(options: Pick<ImageOptions, 'filesystem'>): FilesystemName {
  return options.filesystem ?? 'ext4';
}

/**
 * @param abortSignal ends the wait for a server's answer
 * @throws PatchVdiError `usage` | `upload`; the reason of the signal
 */
export async function openSource(
  source: SourceOption,
  options: UploadOptions,
  abortSignal: AbortSignal,
): Promise<UploadSource> {
  checkUploadOptions(options);
  const place = typeof source === 'string' && isHttpUrl(source) ? { url: source } : source;
  const remote = isRemote(place);
  const idle = idleMilliseconds(options, remote);
  const opened = remote
    ? await openRemoteSource(place, options, idle, abortSignal)
    : await openLocalSource(place, options);
  return idle === undefined ? opened : watchSource(opened, idle);
}

interface Remote {
  readonly url: string;
  readonly headers?: HttpHeaders;
}

function isRemote(place: SourceOption | SinkOption): place is Remote {
  // First the streams: some of them have a `url`, too.
  if (typeof place === 'string' || Symbol.asyncIterator in place || isWritable(place)) return false;
  return 'url' in place;
}

async function openRemoteSource(
  { url, headers = {} }: Remote,
  { contentLength: announced, member, unzip }: UploadOptions,
  idle: number | undefined,
  abortSignal: AbortSignal,
): Promise<UploadSource> {
  requireNoMember('the URL', member);
  const { openHttpSource } = await import('../io/http-source.js');
  const opened = await openHttpSource(url, { headers, announced, idleMilliseconds: idle, abortSignal });
  return unzip === false ? opened : refusingZip(opened);
}

async function openLocalSource(
  source: Exclude<SourceOption, Remote>,
  options: UploadOptions,
): Promise<UploadSource> {
  const { contentLength, member, unzip } = options;
  const request = { announced: contentLength, unzip, member };
  if (typeof source === 'string') return await openPathSource(source, request);
  // First the iterables: a Node read stream has an `fd`, too.
  if (Symbol.asyncIterator in source) {
    requireNoMember('upload', member);
    const made = new IterableSource('upload', source, contentLength);
    return unzip === false ? made : refusingZip(made);
  }
  if (!Number.isInteger(source.fd)) {
    throw new PatchVdiError('usage', 'the source cannot be read', {
      context: {
        found: 'an object without fd and without Symbol.asyncIterator',
        expected: 'a path, a URL, { fd }, or an async iterable',
      },
      hint: 'an old-style stream can be wrapped: new Readable().wrap(stream)',
    });
  }
  return await openDescriptorSource(source.name ?? `descriptor ${source.fd}`, source.fd, request);
}

/** What an output must know of the build that it is for. */
export interface SinkNeeds {
  readonly format: ImageFormat;
  readonly imageBytes: number;
  readonly environment: ToolEnvironment;
}

/**
 * @param stop a stream that stalls, or a server that refuses, stops everything with it
 * @throws PatchVdiError `usage` | `space` when it cannot be used: nothing was touched then
 */
export async function openSink(
  sink: SinkOption,
  options: UploadOptions,
  needs: SinkNeeds,
  stop: AbortController,
): Promise<Sink> {
  const place = typeof sink === 'string' && isHttpUrl(sink) ? { url: sink } : sink;
  const remote = isRemote(place);
  const opened = remote ? await openRemoteSink(place, stop) : openLocalSink(place, needs, stop.signal);
  const idle = idleMilliseconds(options, remote);
  // Files and devices take what they are given, however long a disk takes for it.
  return idle === undefined || opened.seekable ? opened : new WatchedSink(opened, idle, stop);
}

async function openRemoteSink({ url, headers = {} }: Remote, stop: AbortController): Promise<Sink> {
  const { HttpSink } = await import('../io/http-sink.js');
  return new HttpSink(url, headers, stop);
}

function openLocalSink(sink: Exclude<SinkOption, Remote>, needs: SinkNeeds, abortSignal: AbortSignal): Sink {
  if (typeof sink === 'string') return openPathSink({ path: sink }, needs, abortSignal);
  // First the streams: a Node write stream has a `path` and an `fd`, too.
  if (isWritable(sink)) return new WritableSink('output stream', sink, abortSignal);
  if ('path' in sink) return openPathSink(sink, needs, abortSignal);
  return openDescriptorSink(sink.name ?? `descriptor ${sink.fd}`, sink.fd, abortSignal);
}

function openPathSink(
  { path, force = false, targetIsZeroed = false }: PathSink,
  needs: SinkNeeds,
  abortSignal: AbortSignal,
): Sink {
  const { format, ...others } = needs;
  if (!isBlockDevice(path)) {
    if (!targetIsZeroed) return new FileSink(path, force);
    throw new PatchVdiError('usage', 'only a block device can be zeroed already', {
      context: { path, found: '--target-is-zeroed for a file', expected: 'a block device' },
    });
  }
  if (format !== 'raw') {
    throw new PatchVdiError('usage', 'a block device takes a raw image only', {
      context: { path, found: `format ${format}`, expected: 'format raw' },
      hint: 'a VHD is a file that describes a disk, and this is the disk itself: --format raw',
    });
  }
  return new DeviceSink(path, {
    ...others,
    abortSignal,
    imageStepBytes: IMAGE_STEP_BYTES,
    force,
    targetIsZeroed,
  });
}

function isWritable(place: object): place is Writable {
  return 'write' in place && typeof place.write === 'function';
}
