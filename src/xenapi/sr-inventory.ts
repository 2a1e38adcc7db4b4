import type { XenConnection } from './connection.js';
import { PBDS, POOLS, REFERENCES, SMS, SRS, type SrRecord } from './records.js';
import { XenApiError } from './xen-api-error.js';

/** An SR behind a PBD of the master. */
export interface SrOfMaster {
  readonly ref: string;
  readonly record: SrRecord;
  /** The PBD is attached. */
  readonly masterCanReach: boolean;
  /** Of its driver. */
  readonly capabilities: ReadonlySet<string>;
}

/** The storage repositories of a pool. */
export interface SrInventory {
  readonly srs: Readonly<Record<string, SrRecord>>;
  /** SRs that some host of the pool has attached. */
  readonly attached: ReadonlySet<string>;
  /** In the order of the master's PBDs. */
  readonly ofMaster: readonly SrOfMaster[];
  /** A reference. */
  readonly defaultSr: string;
  /** A reference. */
  readonly master: string;
}

async function capabilitiesByType(connection: XenConnection): Promise<Map<string, ReadonlySet<string>>> {
  const drivers = Object.values(await connection.callAs(SMS, 'SM.get_all_records'));
  return new Map(drivers.map(({ type, capabilities }) => [type, new Set(capabilities)]));
}

/** Asks a pool for its storage repositories. @throws XenApiError; PatchVdiError `sink` */
export async function readSrInventory(connection: XenConnection): Promise<SrInventory> {
  const [pool] = Object.values(await connection.callAs(POOLS, 'pool.get_all_records'));
  if (pool === undefined) throw new XenApiError('pool.get_all_records', 'HANDLE_INVALID', ['pool']);
  const srs = await connection.callAs(SRS, 'SR.get_all_records');
  const pbds = await connection.callAs(PBDS, 'PBD.get_all_records');
  const pbdsOfMaster = await connection.callAs(REFERENCES, 'host.get_PBDs', pool.master);
  const capabilities = await capabilitiesByType(connection);
  const ofMaster = pbdsOfMaster.flatMap((ref) => {
    const pbd = pbds[ref];
    const record = pbd === undefined ? undefined : srs[pbd.SR];
    if (pbd === undefined || record === undefined) return [];
    return {
      ref: pbd.SR,
      record,
      masterCanReach: pbd.currently_attached,
      capabilities: capabilities.get(record.type) ?? new Set<string>(),
    };
  });
  const all = Object.values(pbds).filter((pbd) => pbd.currently_attached);
  const attached = new Set(all.map((pbd) => pbd.SR));
  return { srs, attached, ofMaster, defaultSr: pool.default_SR, master: pool.master };
}
