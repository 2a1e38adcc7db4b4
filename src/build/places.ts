import type { Writable } from 'node:stream';
import { PatchVdiError } from '../errors.js';
import { isBlockDevice } from '../io/block-device.js';
import type { UploadSource } from '../io/chunk.js';
import { DeviceSink } from '../io/device-sink.js';
import { FileSink } from '../io/file-sink.js';
import { isHttpUrl, type HttpHeaders } from '../io/http.js';
import { WatchedSink, watchSource } from '../io/idle-timeout.js';
import { IterableSource } from '../io/iterable-source.js';
import { openDescriptorSource, openPathSource, requireNoMember } from '../io/open-source.js';
import type { Sink } from '../io/sink.js';
import { WritableSink, openDescriptorSink } from '../io/stream-sink.js';
import { refusingZip } from '../io/zip-signature.js';
import type { ImageFormat } from '../plan/plan.js';
import type { ToolEnvironment } from '../tools/find.js';
import type { PathSink, SinkOption, SourceOption, UploadOptions } from './options.js';
import { IMAGE_STEP_BYTES } from './size-rule.js';

const DEFAULT_HTTP_IDLE_SECONDS = 300;
/** The longest that a timer can run. */
const MAX_IDLE_SECONDS = 2_147_483;

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
