import { createHash, randomBytes } from 'node:crypto';
import { PatchVdiError } from '../errors.js';

/** What makes an image this one and no other, apart from its contents. */
export interface ImageIdentity {
  readonly filesystemUuid: string;
  readonly hashSeed: string;
  readonly vhdUuid: string;
  readonly label: string;
  /** Seconds since 1970, for every timestamp. */
  readonly timeSeconds: number;
}

/** What tells one image from another. What is left out is random, or made from the epoch if there is one. */
export interface IdentityRequest {
  /** Of the file system. */
  readonly uuid?: string | undefined;
  /** Of the VHD: its unique id. */
  readonly vhdUuid?: string | undefined;
  /** Of the file system: at most 16 bytes of UTF-8. */
  readonly label?: string | undefined;
  /** Of hashed folders, as a UUID; for building an image again that was built without an epoch. */
  readonly hashSeed?: string | undefined;
  /** Seconds since 1970, 1 to 2³² − 1: the same inputs give the same bytes. */
  readonly sourceDateEpoch?: number | undefined;
}

/** Our namespace for version 5 UUIDs; a random UUID, fixed for ever. */
const NAMESPACE = '3e0d4b5a-6f0a-4d0e-9d2b-1f6a7c9e5b21';
const MAX_EPOCH_SECONDS = 2 ** 32 - 1;
const MAX_LABEL_BYTES = 16;

/** 16 bytes of a UUID in text form, in the order of RFC 9562. */
export function uuidBytes(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text.replaceAll('-', ''), 'hex'));
}

/** The text form of 16 bytes. */
export function uuidText(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes).toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

function withVersion(bytes: Uint8Array, version: number): string {
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | (version << 4);
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  return uuidText(bytes);
}

/** A UUID made of a name: the same name, the same UUID (RFC 9562, section 5.5). */
export function uuidFromName(name: string): string {
  const hash = createHash('sha1').update(uuidBytes(NAMESPACE)).update(name, 'utf8').digest();
  return withVersion(hash.subarray(0, 16), 5);
}

/** The UUID in lower case. @throws PatchVdiError `usage` */
export function checkUuid(option: string, text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const lower = text.toLowerCase();
  const isUuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(lower);
  if (isUuid && /[1-9a-f]/.test(lower)) return lower;
  throw new PatchVdiError('usage', `${option} is not a UUID`, {
    context: { found: JSON.stringify(text), expected: '8-4-4-4-12 hexadecimal digits, not all zero' },
  });
}

function checkLabel(label: string): string {
  const bytes = Buffer.byteLength(label, 'utf8');
  // Half a surrogate pair has no bytes of its own.
  const isWellFormed = Buffer.from(label, 'utf8').toString('utf8') === label;
  if (bytes <= MAX_LABEL_BYTES && isWellFormed && !/\p{Cc}/u.test(label)) return label;
  throw new PatchVdiError('usage', 'the label cannot be used', {
    context: {
      found: `${bytes} bytes: ${JSON.stringify(label)}`,
      expected: `at most ${MAX_LABEL_BYTES} bytes of UTF-8, no control characters`,
    },
  });
}

/** @throws PatchVdiError `usage` */
export function checkEpoch(seconds: number | undefined): number | undefined {
  if (seconds === undefined) return undefined;
  if (Number.isInteger(seconds) && seconds >= 1 && seconds <= MAX_EPOCH_SECONDS) return seconds;
  throw new PatchVdiError('usage', 'the source date epoch cannot be used', {
    context: { found: String(seconds), expected: `whole seconds since 1970, 1 to ${MAX_EPOCH_SECONDS}` },
  });
}

/** Checks what the user gave, before anything is touched. */
export function checkIdentity(request: IdentityRequest): void {
  checkUuid('the file system UUID', request.uuid);
  checkUuid('the VHD UUID', request.vhdUuid);
  checkUuid('the hash seed', request.hashSeed);
  checkLabel(request.label ?? '');
  checkEpoch(request.sourceDateEpoch);
}

/** The one time of an image, in seconds since 1970: what was asked for, else now. @throws PatchVdiError `usage` */
export function imageTimeSeconds({ sourceDateEpoch }: IdentityRequest): number {
  return checkEpoch(sourceDateEpoch) ?? Math.floor(Date.now() / 1000);
}

/**
 * The identity of an image: what was asked for, else made from the epoch and the image's shape (same inputs, same
 * bytes), else random. The format is not part of the file system's: a VHD holds the same disk as the raw image.
 *
 * @param shape everything that the bytes of the disk depend on besides the upload: sizes, file system
 * @param timeSeconds of all that belongs to the image, so asked for once
 * @throws PatchVdiError `usage`
 */
export function imageIdentity(
  request: IdentityRequest,
  shape: readonly (string | number)[],
  format = 'raw',
  timeSeconds = imageTimeSeconds(request),
): ImageIdentity {
  const isRandom = checkEpoch(request.sourceDateEpoch) === undefined;
  const label = checkLabel(request.label ?? '');
  const make = (role: string): string =>
    isRandom
      ? withVersion(randomBytes(16), 4)
      : uuidFromName(JSON.stringify([role, timeSeconds, label, ...shape]));
  return {
    filesystemUuid: checkUuid('the file system UUID', request.uuid) ?? make('file system'),
    hashSeed: checkUuid('the hash seed', request.hashSeed) ?? make('hash seed'),
    vhdUuid: checkUuid('the VHD UUID', request.vhdUuid) ?? make(`vhd ${format}`),
    label,
    timeSeconds,
  };
}
