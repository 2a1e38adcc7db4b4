import type { Ref } from '../../pool/fields.js';
import type { Pool } from '../../pool/open-pool.js';
import type { ServerLog } from '../log.js';
import type { HostLink } from './host-link.js';
import { RemoteHostSide } from './remote-host-side.js';

/**
 * A slave is there (again): patches can be applied to it, and the records say what its applied folder says.
 *
 * @throws PoolError HOST_OFFLINE, INTERNAL_ERROR; no patch can be applied to it then
 */
export async function agreeWithSlave(
  pool: Pick<Pool, 'hosts' | 'applies'>,
  host: Ref,
  link: HostLink,
  log: Pick<ServerLog, 'recovered'>,
): Promise<void> {
  pool.hosts.add(new RemoteHostSide(host, link));
  try {
    const { unfinished, changed: hostPatches } = await pool.applies.agree(host);
    const unfinishedApplies = unfinished.map(({ uuid, beganAt }) => `${uuid}, begun at ${beganAt}`);
    log.recovered({ unfinishedApplies, hostPatches });
  } catch (error) {
    pool.hosts.remove(host);
    throw error;
  }
}
