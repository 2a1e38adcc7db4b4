import { PatchVdiError, invariant } from '../errors.js';
import { cloningSrOfMaster, usableDefaultSr } from '../pool/choose-sr.js';
import { describeBytes } from '../units.js';
import type { XenConnection } from '../xenapi/connection.js';
import { findObject } from '../xenapi/find-object.js';
import type { SrRecord } from '../xenapi/records.js';
import { readSrInventory, type SrInventory } from '../xenapi/sr-inventory.js';
import { refusesVhd, type TransferFormat } from '../xenapi/vhd-refusal.js';
import { XenApiError } from '../xenapi/xen-api-error.js';

/** `auto`: VHD, which goes in while the upload comes; raw where the SR cannot take it. */
export type FormatChoice = TransferFormat | 'auto';

/** Where an image goes, and how. */
export interface UploadPlace {
  readonly ref: string;
  readonly sr: SrRecord;
  /** Why that one. */
  readonly chosen: 'named' | 'default' | 'fallback';
  readonly format: TransferFormat;
  /** Why it cannot take VHD. */
  readonly noVhd: string | undefined;
  /** Undefined when the pool does not know. */
  readonly freeBytes: number | undefined;
}

export interface PlaceRequest {
  /** A uuid, the start of one, or a name; undefined: the mission's rule. */
  readonly sr: string | undefined;
  readonly format: FormatChoice;
}

function formatFor(choice: FormatChoice, sr: SrRecord, noVhd: string | undefined): TransferFormat {
  if (choice === 'raw' || (choice === 'auto' && noVhd !== undefined)) return 'raw';
  if (noVhd === undefined) return 'vhd';
  throw new PatchVdiError('usage', 'that storage repository cannot take a VHD', {
    context: { path: sr.name_label, found: `type ${sr.type}: ${noVhd}`, expected: '--format raw, or auto' },
  });
}

function chooseRef(
  { srs, attached, ofMaster, defaultSr, master }: SrInventory,
  wanted: string | undefined,
): readonly [string, UploadPlace['chosen']] {
  const candidates = ofMaster.map(({ record: { uuid }, ...candidate }) => ({ ...candidate, uuid }));
  if (wanted !== undefined) {
    const [ref] = findObject('storage repository', srs, wanted, 'patch-vdi pool srs');
    // The pool sends us to a host that reaches it, if the master does not.
    if (!attached.has(ref)) throw new XenApiError('choose the SR', 'SR_HAS_NO_PBDS', [wanted]);
    return [ref, 'named'];
  }
  const byDefault = usableDefaultSr(candidates, defaultSr);
  if (byDefault !== undefined) return [byDefault.ref, 'default'];
  const cloning = cloningSrOfMaster(candidates);
  if (cloning !== undefined) return [cloning.ref, 'fallback'];
  throw new XenApiError('choose the SR', 'HOST_HAS_NO_PATCH_SR', [master]);
}

/**
 * Where the image goes: `pool.default_SR` if the master reaches it, else the first SR of the master that can clone
 * VDIs (the mission); or the one that was named.
 *
 * @throws XenApiError HOST_HAS_NO_PATCH_SR | SR_HAS_NO_PBDS and the pool's own; PatchVdiError `usage`, `sink`
 */
export async function choosePlace(
  connection: XenConnection,
  { sr: wanted, format }: PlaceRequest,
): Promise<UploadPlace> {
  const inventory = await readSrInventory(connection);
  const [ref, chosen] = chooseRef(inventory, wanted);
  const sr = inventory.srs[ref];
  invariant(sr !== undefined, 'a chosen SR has a record');
  const noVhd = refusesVhd(sr);
  const { physical_size: size, physical_utilisation: used } = sr;
  const freeBytes = size <= 0 || used < 0 ? undefined : Math.max(0, size - used);
  return { ref, sr, chosen, noVhd, freeBytes, format: formatFor(format, sr, noVhd) };
}

/**
 * All of the disk must fit, its scratch space too: it is written when the patch is applied.
 *
 * @throws PatchVdiError `space`
 */
export function requireSpace({ sr, freeBytes }: UploadPlace, bytes: number, server: string): void {
  if (freeBytes === undefined || freeBytes >= bytes) return;
  throw new PatchVdiError('space', 'the storage repository has not enough space', {
    context: {
      operation: 'OUT_OF_SPACE',
      path: server,
      found: `${describeBytes(freeBytes)} free in ${sr.name_label === '' ? sr.uuid : sr.name_label}`,
      expected: `${describeBytes(bytes)}, four times the upload`,
    },
    hint: 'see patch-vdi pool srs: remove VDIs that nobody needs, or choose another one with --sr',
    leftBehind: 'nothing was changed on the server',
  });
}
