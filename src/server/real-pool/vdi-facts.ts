import { isUuid } from '../../pool/folder-places.js';
import { PoolError } from '../../pool/pool-error.js';
import type { VdiFacts } from '../../pool/storage.js';
import { printable } from '../../signature/printable.js';
import { trace } from '../../trace.js';
import type { XenConnection } from '../../xenapi/connection.js';
import type { VdiRecord } from '../../xenapi/records.js';

/** @throws PoolError SR_BACKEND_FAILURE for a UUID that is none */
export function factsOf({ uuid, virtual_size, physical_utilisation }: VdiRecord): VdiFacts {
  if (!isUuid(uuid)) {
    throw new PoolError('SR_BACKEND_FAILURE', ['pool', `a VDI without a UUID: ${printable(uuid, 64)}`, '']);
  }
  return {
    uuid,
    location: uuid,
    virtualSize: virtual_size,
    // XAPI answers -1 while it does not know.
    physicalUtilisation: Math.max(0, physical_utilisation),
  };
}

/** Never fails: a VDI that keeps its old name is as good. */
export async function renameVdi(
  connection: XenConnection,
  ref: string,
  names: Readonly<Record<string, string>>,
): Promise<void> {
  for (const [field, value] of Object.entries(names)) {
    await connection.callBeforeEnd(`VDI.set_${field}`, ref, value).catch((error: unknown) => {
      trace('pool', () => `a VDI keeps its ${field}: ${String(error)}`);
    });
  }
}
