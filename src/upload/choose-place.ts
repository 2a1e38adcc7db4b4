import { PatchVdiError, invariant } from '../errors.js';
import { cloningSrOfMaster, usableDefaultSr, type SrCandidate } from '../pool/choose-sr.js';
import { describeBytes } from '../units.js';
import type { XenConnection } from '../xenapi/connection.js';
import { findObject } from '../xenapi/find-object.js';
import { PBDS, POOLS, REFERENCES, SMS, SRS, type SrRecord } from '../xenapi/records.js';
import { XenApiError } from '../xenapi/xen-api-error.js';

/** What an import can be told to be. */
export type TransferFormat = 'vhd' | 'raw';
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

const LVM_TYPES = new Set(['lvm', 'lvmoiscsi', 'lvmohba']);

/**
 * Why an SR cannot take VHD: XAPI's importer writes only what the VHD holds, so it needs disks that are zero (and
 * these are the SRs of which XAPI itself says that they are not).
 *
 * @returns undefined when it can
 */
function refusesVhd({ type, sm_config }: Pick<SrRecord, 'type' | 'sm_config'>): string | undefined {
  const kind = type.toLowerCase();
  if (kind === 'cslg') return 'StorageLink does not hand out zeroed disks';
  if (LVM_TYPES.has(kind) && sm_config['use_vhd'] !== 'true') {
    return 'LVM without VHD does not hand out zeroed disks';
  }
  const isThick = Object.entries(sm_config).some(
    ([key, value]) => key.toLowerCase() === 'allocation' && value.toLowerCase() === 'thick',
  );
  if (kind === 'equal' && isThick) return 'thick EqualLogic volumes are not zeroed';
  return undefined;
}

function formatFor(choice: FormatChoice, sr: SrRecord, noVhd: string | undefined): TransferFormat {
  if (choice === 'raw' || (choice === 'auto' && noVhd !== undefined)) return 'raw';
  if (noVhd === undefined) return 'vhd';
  throw new PatchVdiError('usage', 'that storage repository cannot take a VHD', {
    context: { path: sr.name_label, found: `type ${sr.type}: ${noVhd}`, expected: '--format raw, or auto' },
  });
}

async function capabilitiesByType(connection: XenConnection): Promise<Map<string, ReadonlySet<string>>> {
  const drivers = Object.values(await connection.callAs(SMS, 'SM.get_all_records'));
  return new Map(drivers.map(({ type, capabilities }) => [type, new Set(capabilities)]));
}

interface Inventory {
  readonly srs: Readonly<Record<string, SrRecord>>;
  /** SRs that some host of the pool has attached. */
  readonly attached: ReadonlySet<string>;
  /** In the order of the master's PBDs. */
  readonly candidates: readonly SrCandidate[];
  readonly defaultSr: string;
  readonly master: string;
}

async function readInventory(connection: XenConnection): Promise<Inventory> {
  const [pool] = Object.values(await connection.callAs(POOLS, 'pool.get_all_records'));
  if (pool === undefined) throw new XenApiError('pool.get_all_records', 'HANDLE_INVALID', ['pool']);
  const srs = await connection.callAs(SRS, 'SR.get_all_records');
  const pbds = await connection.callAs(PBDS, 'PBD.get_all_records');
  const ofMaster = await connection.callAs(REFERENCES, 'host.get_PBDs', pool.master);
  const capabilities = await capabilitiesByType(connection);
  const candidates = ofMaster.flatMap((ref) => {
    const pbd = pbds[ref];
    const sr = pbd === undefined ? undefined : srs[pbd.SR];
    if (pbd === undefined || sr === undefined) return [];
    return {
      ref: pbd.SR,
      uuid: sr.uuid,
      masterCanReach: pbd.currently_attached,
      capabilities: capabilities.get(sr.type) ?? new Set<string>(),
    };
  });
  const all = Object.values(pbds).filter((pbd) => pbd.currently_attached);
  const attached = new Set(all.map((pbd) => pbd.SR));
  return { srs, attached, candidates, defaultSr: pool.default_SR, master: pool.master };
}

function chooseRef(
  { srs, attached, candidates, defaultSr, master }: Inventory,
  wanted: string | undefined,
): readonly [string, UploadPlace['chosen']] {
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
  const inventory = await readInventory(connection);
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
