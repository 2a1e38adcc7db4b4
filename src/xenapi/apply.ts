import type { XenConnection } from './connection.js';
import { HOSTS, REFERENCE, type HostRecord } from './records.js';
import { followTask, guardTask, type OnFraction } from './tasks.js';
import { isXenApiError } from './xen-api-error.js';

/** A patch is silent for as long as it works: two hours are what our own server gives it. */
const SILENCE_MILLISECONDS = 3 * 60 * 60_000;

export type PatchCall = 'precheck' | 'apply' | 'pool_apply';

/** Hosts by their references. */
export function listHosts(connection: XenConnection): Promise<Readonly<{ [ref: string]: HostRecord }>> {
  return connection.callAs(HOSTS, 'host.get_all_records');
}

/**
 * `pool_patch.precheck`, `apply` or `pool_apply`, as a task. Stopped here, the task is cancelled; but once the patch's
 * own `apply` runs, it goes on to its end.
 *
 * @param host undefined: for a call that takes none
 * @returns what the patch printed; empty of `pool_apply`
 * @throws XenApiError, PatchVdiError `sink`; the reason of the signal
 */
export async function callPatch(
  connection: XenConnection,
  call: PatchCall,
  patch: string,
  host: string | undefined,
  onFraction?: OnFraction,
): Promise<string> {
  const operation = `pool_patch.${call}`;
  const parameters = host === undefined ? [patch] : [patch, host];
  const task = await connection.callAs(REFERENCE, `Async.${operation}`, ...parameters);
  return await guardTask(connection, task, operation, () =>
    followTask(connection, task, operation, { onFraction, stall: () => SILENCE_MILLISECONDS }),
  );
}

/** Says that a patch may run on a host once more. @param key of `pool_patch.other_config` */
export async function allowAgain(connection: XenConnection, patch: string, key: string): Promise<void> {
  try {
    await connection.call('pool_patch.add_to_other_config', patch, key, 'true');
  } catch (error) {
    if (!isXenApiError(error) || error.code !== 'MAP_DUPLICATE_KEY') throw error;
  }
}
