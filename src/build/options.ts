import { tmpdir } from 'node:os';
import type { Writable } from 'node:stream';
import { PatchVdiError } from '../errors.js';
import type { HttpHeaders } from '../io/http.js';
import { IMAGE_FORMATS, type ImageFormat } from '../plan/plan.js';
import { validatePolicy, type SignaturePolicy } from '../signature/policy.js';
import { DEFAULT_SEARCH_PATH, type ToolEnvironment } from '../tools/find.js';
import { FILESYSTEMS, type FilesystemName } from '../tools/mke2fs.js';
import { checkIdentity, type IdentityRequest } from './identity.js';
import { checkRequestedSize } from './size-rule.js';

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
  readonly phase: 'spool' | 'verify' | 'write';
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

/** How the image is to be, for a build and for a plan alike. */
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

/** What `buildPatchImage` is to build: from which upload, where to, and what must hold before it is sealed. */
export interface BuildOptions extends ImageOptions {
  readonly source: SourceOption;
  readonly sink: SinkOption;
  readonly verify: VerifyOption;
  /**
   * A name that is not in use, in a folder that exists: the clear text of a signed message gets it (mode 0600) when the
   * verdict is good. When the build fails, nothing is left there either. It is to be used at once: unlike the image it
   * is not stored so that it survives a power failure.
   */
  readonly clearTextPath?: string | undefined;
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
