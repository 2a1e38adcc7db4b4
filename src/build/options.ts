import { tmpdir } from 'node:os';
import type { Writable } from 'node:stream';
import { PatchVdiError } from '../errors.js';
import type { Sink } from '../io/sink.js';
import type { UploadSource } from '../io/chunk.js';
import { FileSink } from '../io/file-sink.js';
import { IterableSource } from '../io/iterable-source.js';
import { openDescriptorSource, openPathSource } from '../io/open-source.js';
import { WritableSink, openDescriptorSink } from '../io/stream-sink.js';
import { IMAGE_FORMATS, type ImageFormat } from '../plan/plan.js';
import { validatePolicy, type SignaturePolicy } from '../signature/policy.js';
import { DEFAULT_SEARCH_PATH, type ToolEnvironment } from '../tools/find.js';
import { FILESYSTEMS, type FilesystemName } from '../tools/mke2fs.js';
import { checkIdentity, type IdentityRequest } from './identity.js';
import { checkRequestedSize } from './size-rule.js';

/**
 * Where the upload comes from: a path, an open descriptor, or any async iterable of bytes. The descriptor of a file
 * stays open; that of a pipe or socket is closed when the build ends.
 */
export type SourceOption =
  | string
  | { readonly fd: number; readonly name?: string }
  | AsyncIterable<Uint8Array>;

/**
 * Where the image goes: the path of a new file, an open descriptor, or a Node stream (which the caller ends).
 * A path gets its content only when the image is complete and verified.
 */
export type SinkOption =
  | string
  | { readonly path: string; readonly force?: boolean }
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

export interface ImageOptions extends IdentityRequest {
  readonly format: ImageFormat;
  /** Default: ext4. The others are for old hosts. */
  readonly filesystem?: FilesystemName | undefined;
  /** Bytes of the upload, where the source does not know them itself. */
  readonly contentLength?: number | undefined;
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

export function filesystemOf(options: Pick<ImageOptions, 'filesystem'>): FilesystemName {
  return options.filesystem ?? 'ext4';
}

export function openSource(source: SourceOption, contentLength: number | undefined): UploadSource {
  if (typeof source === 'string') return openPathSource(source, contentLength);
  // First the iterables: a Node read stream has an `fd`, too.
  if (Symbol.asyncIterator in source) return new IterableSource('upload', source, contentLength);
  if (!Number.isInteger(source.fd)) {
    throw new PatchVdiError('usage', 'the source cannot be read', {
      context: {
        found: 'an object without fd and without Symbol.asyncIterator',
        expected: 'a path, { fd }, or an async iterable',
      },
      hint: 'an old-style stream can be wrapped: new Readable().wrap(stream)',
    });
  }
  return openDescriptorSource(source.name ?? `descriptor ${source.fd}`, source.fd, contentLength);
}

/** @param abortSignal ends every wait for the reader of a stream */
export function openSink(sink: SinkOption, abortSignal: AbortSignal): Sink {
  if (typeof sink === 'string') return new FileSink(sink, false);
  // First the streams: a Node write stream has a `path` and an `fd`, too.
  if (isWritable(sink)) return new WritableSink('output stream', sink, abortSignal);
  if ('path' in sink) return new FileSink(sink.path, sink.force === true);
  return openDescriptorSink(sink.name ?? `descriptor ${sink.fd}`, sink.fd, abortSignal);
}

function isWritable(sink: Exclude<SinkOption, string>): sink is Writable {
  return 'write' in sink && typeof sink.write === 'function';
}
