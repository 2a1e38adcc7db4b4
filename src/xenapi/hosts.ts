import type { XenConnection } from './connection.js';
import { HOSTS, HOSTS_METRICS, POOLS, type HostRecord } from './records.js';
import { isXenApiError } from './xen-api-error.js';

export interface HostEntry {
  readonly ref: string;
  readonly record: HostRecord;
  readonly isMaster: boolean;
  /** Whether the master reaches it; undefined where the server does not tell. */
  readonly live: boolean | undefined;
}

/** `host_metrics.live` by reference; undefined where a server has no such records, as one of ours. */
async function liveMetrics(connection: XenConnection): Promise<ReadonlyMap<string, boolean> | undefined> {
  try {
    const metrics = await connection.callAs(HOSTS_METRICS, 'host_metrics.get_all_records');
    return new Map(Object.entries(metrics).map(([ref, { live }]) => [ref, live]));
  } catch (error) {
    if (isXenApiError(error) && error.code === 'MESSAGE_METHOD_UNKNOWN') return undefined;
    throw error;
  }
}

/** All hosts: the master, then the others by name. */
export async function listPoolHosts(connection: XenConnection): Promise<HostEntry[]> {
  const hosts = await connection.callAs(HOSTS, 'host.get_all_records');
  const pools = await connection.callAs(POOLS, 'pool.get_all_records');
  const live = await liveMetrics(connection);
  const masters = new Set(Object.values(pools).map(({ master }) => master));
  const rank = ({ isMaster, record }: HostEntry): string =>
    `${isMaster ? 0 : 1}${record.name_label}\n${record.uuid}`;
  return Object.entries(hosts)
    .map(([ref, record]) => ({
      ref,
      record,
      isMaster: masters.has(ref),
      // A server of ours disables the hosts that it does not reach.
      live: live === undefined ? record.enabled : live.get(record.metrics),
    }))
    .toSorted((a, b) => (rank(a) === rank(b) ? 0 : rank(a) < rank(b) ? -1 : 1));
}
