import type { BuildResult } from '../build/build-image.js';
import { invariant } from '../errors.js';

/** What the VDIs of this program carry in their `other_config`. */
const PREFIX = 'patch-vdi:';

/** While an upload is under way: which one. A VDI that still has it was never finished. */
export const UPLOAD_KEY = `${PREFIX}upload`;

/*
 * What `serve --pool` writes beside that. A copy that somebody makes in the pool inherits all of it: so a VDI is ours
 * only if it says its own UUID.
 */

/** By whom it was made: the UUID of our own pool record. */
export const SERVE_KEY = `${PREFIX}serve`;
/** The UUID that its record had before the pool chose one. */
export const SERVE_VDI_KEY = `${SERVE_KEY}-vdi`;
/** Its own UUID, as soon as that is known. */
export const SERVE_SELF_KEY = `${SERVE_KEY}-self`;
/** On a VDI that is being copied: this and the UUID that the copy's record has. The copy inherits it. */
export const SERVE_COPY_PREFIX = `${SERVE_KEY}-copy:`;
/** The same, as soon as it is known: the value is the reference of the task. */
export const SERVE_TASK_PREFIX = `${SERVE_KEY}-task:`;

const isOfServe = (key: string): boolean => key === SERVE_KEY || key.startsWith(`${SERVE_KEY}-`);

/** What is known of a patch in a VDI. All of it is what somebody has written there, and proves nothing. */
export interface VdiLabels {
  /** Of the program that has made the image. */
  readonly version: string;
  /** Of the upload, lower-case hex. */
  readonly sha256: string;
  /** Bytes of the upload. */
  readonly size: number;
  /** Fingerprints of the primary keys that have signed, separated by spaces; empty when it was not asked for. */
  readonly signer: string;
  /** UUID of the file system in the image, as `blkid` prints it: the same in every copy. */
  readonly uuid: string;
}

type Config = Readonly<Record<string, string>>;

/** The same map, of an upload that is finished. */
export function labelled(config: Config, { version, sha256, size, signer, uuid }: VdiLabels): Config {
  const others = Object.entries(config).filter(([key]) => !key.startsWith(PREFIX) || isOfServe(key));
  const ours = { version, sha256, size: String(size), signer, uuid };
  return Object.fromEntries([
    ...others,
    ...Object.entries(ours).map(([key, value]) => [`${PREFIX}${key}`, value] as const),
  ]);
}

/** What a build with a digest says of its image. @param version of this program */
export function labelsOf(built: BuildResult, version: string): VdiLabels {
  invariant(built.sha256 !== undefined, 'the digest that was asked for is there');
  return {
    version,
    sha256: built.sha256,
    size: built.payloadLength,
    signer: built.signatures.map(({ primaryFingerprint }) => primaryFingerprint).join(' '),
    uuid: built.filesystemUuid,
  };
}

/** The labels of a VDI, if it has them all. */
export function readLabels(config: Config): VdiLabels | undefined {
  const [version, sha256, size, signer, uuid] = ['version', 'sha256', 'size', 'signer', 'uuid'].map(
    (key) => config[`${PREFIX}${key}`],
  );
  if (version === undefined || signer === undefined || uuid === undefined) return undefined;
  if (sha256 === undefined || !/^[0-9a-f]{64}$/.test(sha256)) return undefined;
  const bytes = size !== undefined && /^\d{1,16}$/.test(size) ? Number(size) : Number.NaN;
  return Number.isSafeInteger(bytes) ? { version, sha256, size: bytes, signer, uuid } : undefined;
}

/** Whether it has some of the labels, but not all, or none that can be read: then what is in it is not known. */
export function hasBrokenLabels(config: Config): boolean {
  if (readLabels(config) !== undefined) return false;
  return ['version', 'sha256', 'size', 'signer', 'uuid'].some((key) =>
    Object.hasOwn(config, `${PREFIX}${key}`),
  );
}

/** Whether it is of an upload that was never finished. */
export function isUnfinished(config: Config): boolean {
  return Object.hasOwn(config, UPLOAD_KEY);
}
