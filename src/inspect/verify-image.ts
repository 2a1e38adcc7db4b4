import { createHash } from 'node:crypto';
import { isPatchVdiError, restate, type PatchVdiError } from '../errors.js';
import type { FindingCode } from '../finding-codes.js';
import type { Finding } from '../findings.js';
import type { SignaturePolicy, VerifiedSignature } from '../signature/verifier.js';
import type { ToolEnvironment } from '../tools/find.js';
import { MIB } from '../units.js';
import { abortable } from './extract.js';
import type { ImageFile } from './image-file.js';
import type { Image } from './image.js';
import { checkPayloadBlocks } from './payload-check.js';
import { inspectImage, type InspectReport } from './report.js';
import { unreadableFinding } from './unreadable.js';
import { nameWithin, passThroughVerifier } from './verify-file.js';

/** What `verifyImage` asks of an image. */
export interface VerifyImageOptions {
  /** The file to verify; default `/patch`. */
  readonly path?: string | undefined;
  /** Who may have signed. Undefined: only the structure is looked at. */
  readonly policy?: SignaturePolicy | undefined;
  readonly environment: ToolEnvironment;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?:
    | ((progress: { readonly bytes: number; readonly totalBytes: number }) => void)
    | undefined;
}

/** What was verified, and what came out. */
export interface VerifyReport {
  /** `not checked`: no keys were given, or there was no file to check. */
  readonly signature: 'good' | 'bad' | 'not checked';
  readonly signatures: readonly VerifiedSignature[];
  /** Why the signature is bad. */
  readonly signatureError: PatchVdiError | undefined;
  /** `damaged`: at least one finding is an error. */
  readonly structure: 'good' | 'damaged';
  /** Of the whole file, hex; undefined when it could not be read to its end. */
  readonly sha256: string | undefined;
  readonly report: InspectReport;
}

/** What reading and checking the file came to. */
interface Read {
  readonly signatures: readonly VerifiedSignature[];
  readonly signatureError: PatchVdiError | undefined;
  readonly sha256: string | undefined;
}

/** What a build would leave behind is not what is left by who only reads. */
const NOTHING_WRITTEN = 'nothing was touched: the image is as it was';

async function digestOf(file: ImageFile, options: VerifyImageOptions): Promise<string> {
  const hash = createHash('sha256');
  for await (const { fileOffset, bytes } of abortable(file.chunks(), options.signal)) {
    hash.update(bytes);
    options.onProgress?.({ bytes: fileOffset + bytes.length, totalBytes: file.size });
  }
  return hash.digest('hex');
}

async function readThrough(image: Image, file: ImageFile, options: VerifyImageOptions): Promise<Read> {
  const { policy, environment, signal } = options;
  if (policy === undefined) {
    return { signatures: [], signatureError: undefined, sha256: await digestOf(file, options) };
  }
  try {
    const { signatures, sha256 } = await passThroughVerifier(abortable(file.chunks(), signal), policy, {
      name: nameWithin(image, file.path),
      environment,
      clearTextLimitBytes: Math.max(image.virtualSize ?? 0, file.size, 16 * MIB),
      wantDigest: true,
      ...(signal === undefined ? {} : { abortSignal: signal }),
      onBytes: (bytes) => options.onProgress?.({ bytes, totalBytes: file.size }),
    });
    return { signatures, signatureError: undefined, sha256 };
  } catch (error) {
    if (isPatchVdiError(error) && error.kind === 'signature') {
      return {
        signatures: [],
        signatureError: restate(error, { leftBehind: NOTHING_WRITTEN }),
        sha256: undefined,
      };
    }
    throw error;
  }
}

/**
 * Warnings that are errors here: the bytes can be read as they stand, but a host sees others. It plays the journal back
 * and cuts or deletes orphans when it mounts; XAPI takes every VHD for one with blocks of 2 MiB.
 */
const HOST_SEES_OTHER_BYTES: ReadonlySet<FindingCode> = new Set([
  'journal-needs-recovery',
  'orphan-inodes',
  'vhd-block-size',
]);

function asVerified(finding: Finding): Finding {
  return HOST_SEES_OTHER_BYTES.has(finding.code) ? { ...finding, severity: 'error' } : finding;
}

/** Of a stream, what has gone by cannot be compared with what comes later. */
function reportStream(image: Image, path: string): void {
  image.report({
    code: 'payload-not-checked',
    severity: 'warning',
    structure: path,
    space: 'disk',
    offset: undefined,
    found: 'a stream: neither bitmaps nor the blocks of others were looked at',
    expected: 'a file, a device, or a server that offers ranges',
  });
}

/**
 * Verifies a patch VDI: the signature of the file in it, and every structure on the way to it, all bitmaps included.
 * Both are always looked at, whatever the other comes to.
 *
 * @throws PatchVdiError `usage` for a policy that cannot be used, `tool`, `interrupted`
 */
export async function verifyImage(image: Image, options: VerifyImageOptions): Promise<VerifyReport> {
  const path = options.path ?? '/patch';
  const report = await inspectImage(image, { path, thorough: true, signal: options.signal });
  let read: Read = { signatures: [], signatureError: undefined, sha256: undefined };
  let checked = false;
  if (report.patch !== undefined) {
    const filesystem = await image.filesystem();
    const file = await filesystem.file(path);
    try {
      if (image.forwardOnly) reportStream(image, path);
      else await checkPayloadBlocks(image, filesystem, file);
      read = await readThrough(image, file, options);
      checked = options.policy !== undefined;
    } catch (error) {
      // A file that cannot be read to its end is damage like any other.
      image.report(unreadableFinding('patch-data-unreadable', error));
    }
  }
  const findings = image.findings.map(asVerified);
  const healthy = !findings.some(({ severity }) => severity === 'error');
  return {
    signature: !checked ? 'not checked' : read.signatureError === undefined ? 'good' : 'bad',
    ...read,
    structure: healthy ? 'good' : 'damaged',
    report: { ...report, healthy, findings },
  };
}
