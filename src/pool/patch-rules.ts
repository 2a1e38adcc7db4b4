import { imageSize } from '../build/size-rule.js';
import type { RecordOf } from './classes.js';
import type { Ref } from './fields.js';
import { PoolError } from './pool-error.js';

/**
 * "A VDI will be created whose size is 4x the apparent size of the patch, defaulting to 4GiB if we have no size
 * information (i.e. no `content-length` header)". Bytes; at least what a file system needs, in steps of 2 MiB.
 *
 * @throws PatchVdiError `space` beyond what a file system can have
 */
export function patchVdiSize(contentLength: number | undefined): number {
  return imageSize(contentLength, undefined);
}

/**
 * "There must be enough free space in an SR": known before a byte of the patch is read.
 *
 * @throws PoolError OUT_OF_SPACE
 */
export function requireSpace(virtualSize: number, freeBytes: number, location: string): void {
  if (virtualSize > freeBytes) throw new PoolError('OUT_OF_SPACE', [location]);
}

/** What stands behind a record of a patch. */
export interface PatchBacking {
  /** The `filename` field is empty, or "refers to a missing file on the master". */
  readonly fileMissing: boolean;
  /** "the `VDI` field is a dangling reference": NULL, or of a record that is gone. */
  readonly vdiDangling: boolean;
  /** A host says that it has applied this patch. */
  readonly isApplied: boolean;
}

/**
 * "`pool_patch` records will only be deleted if both the `filename` field refers to a missing file on the master *and*
 * the `VDI` field is a dangling reference." The record of a patch that a host has applied says what that host is: it
 * stays besides.
 */
export function mayBeDeleted({ fileMissing, vdiDangling, isApplied }: PatchBacking): boolean {
  return fileMissing && vdiDangling && !isApplied;
}

/** `destroy` is "refused while applied". @throws PoolError PATCH_IS_APPLIED */
export function requireNotApplied(isApplied: boolean): void {
  if (isApplied) throw new PoolError('PATCH_IS_APPLIED');
}

/**
 * What was verified, and what a record vouches for, is not replaced by whoever may write disks.
 *
 * @throws PoolError OPERATION_NOT_ALLOWED
 */
export function requireNoPatch(
  vdi: Ref,
  patches: readonly (readonly [Ref, Pick<RecordOf<'pool_patch'>, 'uuid' | 'VDI'>])[],
): void {
  const patch = patches.find(([, { VDI }]) => VDI === vdi)?.[1].uuid;
  if (patch === undefined) return;
  throw new PoolError('OPERATION_NOT_ALLOWED', [`the VDI holds the patch ${patch}: upload the patch again`]);
}

/** Where the bytes of a patch are. */
export type PatchSource = 'file' | 'vdi' | 'nowhere';

/** A patch is served "from the master's file", or out of its VDI. */
export function patchSource({ fileMissing, vdiDangling }: PatchBacking): PatchSource {
  if (!fileMissing) return 'file';
  return vdiDangling ? 'nowhere' : 'vdi';
}

/** The VDI of a patch is named `Patch UUID (name-label)`. */
export function patchVdiName(uuid: string, nameLabel: string): string {
  return `Patch ${uuid} (${nameLabel})`;
}

/** Calls that the mission deprecates, and what to say about each. */
export const DEPRECATIONS = {
  /** "`pool_patch.clean_on_host` will be deprecated. It will still try to clean a patch *from the local filesystem*". */
  'pool_patch.clean_on_host': 'pool_patch.clean_on_host removes local files only: use VDI.destroy',
  /** "`pool_patch.clean` will be deprecated. It will still try to clean a patch from the *local filesystem* of the master". */
  'pool_patch.clean': "pool_patch.clean removes the master's local file only: use VDI.destroy",
  /** "`pool_patch.pool_clean` will be deprecated. […] Users will be encouraged to call `VDI.destroy` instead." */
  'pool_patch.pool_clean': 'pool_patch.pool_clean destroys the VDI of the patch: use VDI.destroy',
} as const;

export type DeprecatedCall = keyof typeof DEPRECATIONS;
