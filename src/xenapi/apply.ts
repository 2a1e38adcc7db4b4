import { PatchVdiError, isPatchVdiError } from '../errors.js';
import { printable } from '../signature/printable.js';
import type { XenConnection } from './connection.js';
import { startAsync } from './make-task.js';
import { HOSTS, type HostRecord } from './records.js';
import { serverFailure } from './server-failure.js';
import {
  cancelAndWait,
  destroyTask,
  followTask,
  guardTask,
  isOver,
  taskFailure,
  type OnFraction,
} from './tasks.js';
import { XenApiError, isXenApiError } from './xen-api-error.js';

/** A patch is silent for as long as it works: two hours are what our own server gives it. */
const SILENCE_MILLISECONDS = 3 * 60 * 60_000;

export type PatchCall = 'precheck' | 'apply' | 'pool_apply';

/** Hosts by their references. */
export function listHosts(connection: XenConnection): Promise<Readonly<{ [ref: string]: HostRecord }>> {
  return connection.callAs(HOSTS, 'host.get_all_records');
}

/** A patch that runs does not let itself be cancelled: people are not kept waiting for it. Milliseconds. */
const CANCEL_MILLISECONDS = 3000;

const MAY_RUN = 'unknown: the patch may be running, or have been applied in part';

const WHEN_BACK = 'patch-vdi pool patches tells when the server is there again';

/** The task was lost sight of: what it does, or did, is not known, and it is left alone. */
function lostSight(connection: XenConnection, error: unknown): unknown {
  const words = { leftBehind: MAY_RUN, hint: WHEN_BACK };
  if (isXenApiError(error)) {
    // The server was started again, and knows nothing of the task.
    return serverFailure(connection.address, 'the server does not tell how the patch went', {
      ...words,
      found: printable(error.message, 300),
      cause: error,
    });
  }
  if (!isPatchVdiError(error) || error.kind !== 'sink') return error;
  const { found, expected } = error.context;
  return serverFailure(connection.address, error.message, { ...words, found, expected, cause: error });
}

/** We were stopped. @returns the error that says what became of the task */
async function afterStop(
  connection: XenConnection,
  task: string,
  operation: string,
  reason: unknown,
): Promise<unknown> {
  if (!isPatchVdiError(reason)) return reason;
  const limit = Math.min(CANCEL_MILLISECONDS, connection.timeouts.farewell);
  const ended = await cancelAndWait(connection, task, limit);
  const stopped = (message: string, leftBehind: string, hint?: string): PatchVdiError =>
    new PatchVdiError('interrupted', message, {
      context: reason.context,
      leftBehind,
      ...(hint === undefined ? {} : { hint }),
      cause: reason,
    });
  if (ended === undefined) return stopped(reason.message, MAY_RUN, WHEN_BACK);
  if (!isOver(ended)) {
    return stopped(
      'the patch is being applied and cannot be stopped',
      'it goes on on the server',
      'patch-vdi pool tasks shows it',
    );
  }
  await destroyTask(connection, task);
  if (ended.status === 'cancelled') {
    return stopped(reason.message, 'what the server had done until then; the task was cancelled');
  }
  if (ended.status === 'success') return stopped(`${reason.message}, too late`, 'the patch was applied');
  return taskFailure(connection, operation, ended);
}

/**
 * `pool_patch.precheck`, `apply` or `pool_apply`, as a task. Stopped here, the task is cancelled; but once the patch's
 * own `apply` runs, it goes on to its end, and its task stays.
 *
 * @param host undefined: for a call that takes none
 * @returns what the patch printed; empty of `pool_apply`
 * @throws XenApiError, PatchVdiError `sink`, `interrupted`; the reason of the signal
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
  const task = await startAsync(connection, operation, ...parameters);
  const follow = (): Promise<string> =>
    followTask(connection, task, operation, { onFraction, stall: () => SILENCE_MILLISECONDS });
  if (call === 'precheck') return await guardTask(connection, task, operation, follow);
  let result: string;
  try {
    result = await follow();
  } catch (error) {
    if (connection.signal?.aborted === true) throw await afterStop(connection, task, operation, error);
    // Of the task itself; other refusals are those of looking at it.
    if (!isXenApiError(error) || error.operation !== operation) throw lostSight(connection, error);
    await destroyTask(connection, task);
    // Also of a server that was started again: how far the patch has come, nobody knows.
    throw error.code === 'INTERNAL_ERROR'
      ? new XenApiError(error.operation, error.code, error.parameters, MAY_RUN)
      : error;
  }
  await destroyTask(connection, task);
  return result;
}

/** Says that a patch may run on a host once more. @param key of `pool_patch.other_config` */
export async function allowAgain(connection: XenConnection, patch: string, key: string): Promise<void> {
  try {
    await connection.call('pool_patch.add_to_other_config', patch, key, 'true');
  } catch (error) {
    if (!isXenApiError(error) || error.code !== 'MAP_DUPLICATE_KEY') throw error;
  }
}
