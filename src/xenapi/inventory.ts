import { invariant } from '../errors.js';
import type { XenConnection } from './connection.js';
import {
  HOSTS,
  HOST_PATCHES,
  NULL_REF,
  PATCH,
  PATCHES,
  PBDS,
  POOLS,
  SMS,
  SRS,
  VDIS,
  type PatchRecord,
  type SrRecord,
  type VdiRecord,
} from './records.js';
import { isUnfinished, readLabels, type VdiLabels } from './vdi-labels.js';
import { isXenApiError } from './xen-api-error.js';

/** Where the bytes of a patch are. */
export type PatchPlace =
  | { readonly kind: 'vdi'; readonly uuid: string; readonly sr: string; readonly srName: string }
  /** On the master. */
  | { readonly kind: 'file' }
  /** Cleaned away; the record is still there. */
  | { readonly kind: 'nowhere' }
  /** No VDI; whether there is a file, the server does not say to this user. */
  | { readonly kind: 'unknown' };

/** So many patches without a VDI are asked for. */
const MAX_ASKED = 100;

/** What a host has of a patch. */
export interface PatchedHost {
  /** Its name, or its uuid. */
  readonly name: string;
  readonly uuid: string;
  /** False: an apply there was killed, and the patch may have run in part. */
  readonly applied: boolean;
}

/** A patch with what belongs to it. */
export interface PatchEntry {
  /** Undefined where the server does not tell. */
  readonly hosts?: readonly PatchedHost[] | undefined;
  readonly ref: string;
  readonly record: PatchRecord;
  readonly place: PatchPlace;
}

export interface SrEntry {
  readonly ref: string;
  readonly record: SrRecord;
  readonly isDefault: boolean;
  /** Of its driver; undefined where the server tells nothing of drivers. */
  readonly capabilities: readonly string[] | undefined;
  /** Whether a host has it attached; undefined where the server does not tell. */
  readonly reachable: boolean | undefined;
}

export interface VdiEntry {
  readonly ref: string;
  readonly record: VdiRecord;
  readonly srName: string;
  /** The patch that is kept in it. */
  readonly patch: PatchRecord | undefined;
  /** What "patch-vdi upload" has written there. */
  readonly labels: VdiLabels | undefined;
  /** An upload that was never finished, or is under way. */
  readonly unfinished: boolean;
}

type Records<Record> = Readonly<{ [ref: string]: Record }>;

function placeOf(
  patch: PatchRecord,
  vdis: Records<VdiRecord>,
  srs: Records<SrRecord>,
): PatchPlace | undefined {
  const vdi = patch.VDI === NULL_REF ? undefined : vdis[patch.VDI];
  if (vdi === undefined) return undefined;
  const sr = srs[vdi.SR];
  return { kind: 'vdi', uuid: vdi.uuid, sr: sr?.uuid ?? '', srName: sr?.name_label ?? '' };
}

/** No field tells of the file: so it is asked for, and not read. */
async function placeOfFile(connection: XenConnection, { uuid }: PatchRecord): Promise<PatchPlace> {
  try {
    const download = await connection.getStream('/pool_patch_download', { uuid });
    download.close();
    return { kind: 'file' };
  } catch (error) {
    if (!isXenApiError(error)) throw error;
    return { kind: error.code === 'CANNOT_FIND_PATCH' ? 'nowhere' : 'unknown' };
  }
}

const byName = <Entry extends { readonly record: { readonly name_label: string; readonly uuid: string } }>(
  entries: Entry[],
): Entry[] =>
  entries.toSorted(({ record: a }, { record: b }) =>
    a.name_label === b.name_label ? (a.uuid < b.uuid ? -1 : 1) : a.name_label < b.name_label ? -1 : 1,
  );

/** Which hosts have which patch, by the patch's reference; undefined where the server has no such records. */
async function patchedHosts(
  connection: XenConnection,
): Promise<ReadonlyMap<string, readonly PatchedHost[]> | undefined> {
  try {
    const records = await connection.callAs(HOST_PATCHES, 'host_patch.get_all_records');
    const hosts = await connection.callAs(HOSTS, 'host.get_all_records');
    const found = new Map<string, PatchedHost[]>();
    for (const { host, pool_patch, applied } of Object.values(records)) {
      const { uuid = '', name_label: name = '' } = hosts[host] ?? {};
      found.set(pool_patch, [...(found.get(pool_patch) ?? []), { uuid, name: name || uuid, applied }]);
    }
    return found;
  } catch (error) {
    if (isXenApiError(error) && error.code === 'MESSAGE_METHOD_UNKNOWN') return undefined;
    throw error;
  }
}

async function withPlaces(connection: XenConnection, patches: Records<PatchRecord>): Promise<PatchEntry[]> {
  const vdis = await connection.callAs(VDIS, 'VDI.get_all_records');
  const srs = await connection.callAs(SRS, 'SR.get_all_records');
  const isSomewhere = Object.values(patches).some(({ host_patches }) => host_patches.length > 0);
  const hosts = isSomewhere ? await patchedHosts(connection) : undefined;
  const entries: PatchEntry[] = [];
  let asked = 0;
  for (const [ref, record] of Object.entries(patches)) {
    let place = placeOf(record, vdis, srs);
    if (place === undefined && asked < MAX_ASKED) {
      asked += 1;
      place = await placeOfFile(connection, record);
    }
    entries.push({ ref, record, place: place ?? { kind: 'unknown' }, hosts: hosts?.get(ref) });
  }
  return entries;
}

/** All records of patches. A pool that knows nothing of patches has none. */
export async function patchRecords(connection: XenConnection): Promise<Records<PatchRecord>> {
  try {
    return await connection.callAs(PATCHES, 'pool_patch.get_all_records');
  } catch (error) {
    if (isXenApiError(error) && error.code === 'MESSAGE_METHOD_UNKNOWN') return {};
    throw error;
  }
}

/** All patches, by name. */
export async function listPatches(connection: XenConnection): Promise<PatchEntry[]> {
  return byName(await withPlaces(connection, await patchRecords(connection)));
}

/** One patch. */
export async function getPatch(connection: XenConnection, ref: string): Promise<PatchEntry> {
  const record = await connection.callAs(PATCH, 'pool_patch.get_record', ref);
  const [entry] = await withPlaces(connection, { [ref]: record });
  invariant(entry !== undefined, 'one record makes one entry');
  return entry;
}

async function capabilitiesByType(
  connection: XenConnection,
): Promise<Map<string, readonly string[]> | undefined> {
  try {
    const drivers = await connection.callAs(SMS, 'SM.get_all_records');
    return new Map(Object.values(drivers).map(({ type, capabilities }) => [type, capabilities]));
  } catch (error) {
    if (isXenApiError(error) && error.code === 'MESSAGE_METHOD_UNKNOWN') return undefined;
    throw error;
  }
}

/** References of the SRs that some host has attached. */
async function attachedSrs(connection: XenConnection): Promise<ReadonlySet<string> | undefined> {
  try {
    const pbds = await connection.callAs(PBDS, 'PBD.get_all_records');
    return new Set(Object.values(pbds).flatMap(({ SR, currently_attached: is }) => (is ? [SR] : [])));
  } catch (error) {
    if (isXenApiError(error) && error.code === 'MESSAGE_METHOD_UNKNOWN') return undefined;
    throw error;
  }
}

/** All storage repositories, by name. */
export async function listRepositories(connection: XenConnection): Promise<SrEntry[]> {
  const srs = await connection.callAs(SRS, 'SR.get_all_records');
  const pools = await connection.callAs(POOLS, 'pool.get_all_records');
  const capabilities = await capabilitiesByType(connection);
  const attached = await attachedSrs(connection);
  const defaults = new Set(Object.values(pools).map(({ default_SR }) => default_SR));
  return byName(
    Object.entries(srs).map(([ref, record]) => ({
      ref,
      record,
      isDefault: defaults.has(ref),
      capabilities: capabilities?.get(record.type),
      reachable: attached?.has(ref),
    })),
  );
}

/** `Patch UUID (name-label)`, as the VDI of a patch is named. */
const PATCH_VDI_NAME = /^Patch [0-9a-f-]{36} \(/;

/** Whether a VDI is one of a patch: of a record, of an upload, or of a record that is gone. */
export function isOfPatch({ record, patch, labels, unfinished }: VdiEntry): boolean {
  return patch !== undefined || labels !== undefined || unfinished || PATCH_VDI_NAME.test(record.name_label);
}

/** VDIs of patches, also of ones whose record is gone; or all. By name. */
export async function listVdis(connection: XenConnection, all: boolean): Promise<VdiEntry[]> {
  const vdis = await connection.callAs(VDIS, 'VDI.get_all_records');
  const srs = await connection.callAs(SRS, 'SR.get_all_records');
  const patches = await patchRecords(connection);
  const patchOf = new Map(Object.values(patches).map((patch) => [patch.VDI, patch]));
  const entries = Object.entries(vdis).map(([ref, record]) => ({
    ref,
    record,
    srName: srs[record.SR]?.name_label ?? '',
    patch: patchOf.get(ref),
    labels: readLabels(record.other_config),
    unfinished: isUnfinished(record.other_config),
  }));
  return byName(entries.filter((entry) => all || isOfPatch(entry)));
}

/** VDIs that "patch-vdi upload" has stored: patches of which the pool itself has no record. By name. */
export async function listStored(connection: XenConnection): Promise<VdiEntry[]> {
  const entries = await listVdis(connection, false);
  return entries.filter(({ patch, labels }) => patch === undefined && labels !== undefined);
}
