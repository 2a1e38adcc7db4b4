import { setTimeout as sleep } from 'node:timers/promises';
import type { Ref } from '../../pool/fields.js';
import type { Pool } from '../../pool/open-pool.js';
import { printable } from '../../signature/printable.js';
import type { ServerLog } from '../log.js';
import type { HostLink } from './host-link.js';
import { RemoteHostSide } from './remote-host-side.js';

/** Between two looks at a slave that still applies a patch that was lost sight of. */
const LOOK_MILLISECONDS = 2000;

interface Scene {
  readonly pool: Pick<Pool, 'hosts' | 'applies'>;
  readonly log: Pick<ServerLog, 'recovered' | 'info'>;
}

/**
 * A slave is there (again): patches can be applied to it, and the records say what its applied folder says. When it is
 * still busy with a patch, they say it once more when that has ended.
 *
 * @throws PoolError HOST_OFFLINE, INTERNAL_ERROR; no patch can be applied to it then
 */
export async function agreeWithSlave({ pool, log }: Scene, host: Ref, link: HostLink): Promise<void> {
  const scene = { pool, log };
  const side = new RemoteHostSide(host, link, () => void follow(scene, side));
  pool.hosts.add(side);
  try {
    await agree(scene, side);
    if (await isBusy(side)) void follow(scene, side);
  } catch (error) {
    pool.hosts.remove(host);
    throw error;
  }
}

/** One that cannot apply patches at all does not. */
async function isBusy(side: RemoteHostSide): Promise<boolean> {
  return await side.isApplying().catch(() => false);
}

async function agree({ pool, log }: Scene, { host }: RemoteHostSide): Promise<void> {
  const { unfinished, changed: hostPatches } = await pool.applies.agree(host);
  const unfinishedApplies = unfinished.map(({ uuid, beganAt }) => `${uuid}, begun at ${beganAt}`);
  log.recovered({ unfinishedApplies, hostPatches });
}

/** Until the slave is idle and the records are right, or it is detached: then that happens when it is back. Never rejects. */
async function follow(scene: Scene, side: RemoteHostSide): Promise<void> {
  const { hosts } = scene.pool;
  while (hosts.has(side)) {
    await sleep(LOOK_MILLISECONDS, undefined, { ref: false });
    if (!hosts.has(side)) return;
    try {
      if (await side.isApplying()) continue;
      await agree(scene, side);
      return;
    } catch (error) {
      // It may be on its way down: the next look tells.
      scene.log.info(`what came of a patch is not known yet: ${printable(String(error), 200)}`);
    }
  }
}
