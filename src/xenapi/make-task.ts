import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { PatchVdiError, isPatchVdiError } from '../errors.js';
import { trace } from '../trace.js';
import type { Json } from './json-rpc.js';
import type { XenConnection } from './connection.js';
import { REFERENCE, TASKS } from './records.js';
import { lostConnection } from './server-failure.js';
import { isXenApiError } from './xen-api-error.js';

/** How often a lost task is looked for, at most: the server may still be making it. */
const LOOKS = 4;
/** Each pause is so many times the one before it. */
const BACKOFF = 4;

/** Whether a call that has failed may have been made all the same. */
function mayBeMade(error: unknown, method: string): boolean {
  if (isXenApiError(error)) return error.operation !== method;
  return lostConnection(error) !== 'unreachable';
}

/** Destroys the task with that description, if there is one. Never fails: one that is forgotten goes by itself. */
async function destroyLost(connection: XenConnection, description: string): Promise<void> {
  const method = 'task.get_all_records';
  const until = performance.now() + connection.timeouts.farewell;
  for (let look = 1, pause = connection.timeouts.poll; look <= LOOKS; look += 1, pause *= BACKOFF) {
    try {
      const tasks = connection.check(TASKS, method, await connection.callBeforeEnd(method));
      const found = Object.entries(tasks).find(([, task]) => task.name_description === description);
      if (found !== undefined) {
        await connection.callBeforeEnd('task.destroy', found[0]);
        return;
      }
    } catch (error) {
      trace('xenapi', () => `a lost task: ${error instanceof Error ? error.message : String(error)}`);
    }
    if (performance.now() + pause > until) return;
    if (look < LOOKS) await sleep(pause);
  }
}

/**
 * `task.create`, once: it is never made again. Its description is like no other; so when the answer is lost, the task is
 * found by it, and destroyed.
 *
 * @param label what it is called where tasks are listed
 * @param about what it is for
 * @returns its reference
 * @throws XenApiError; PatchVdiError `sink`; the reason of the signal
 */
export async function createTask(connection: XenConnection, label: string, about: string): Promise<string> {
  const method = 'task.create';
  const description = `${about === '' ? '' : `${about}, `}patch-vdi ${randomUUID()}`;
  connection.signal?.throwIfAborted();
  try {
    return connection.check(REFERENCE, method, await connection.callToMake(method, label, description));
  } catch (error) {
    if (mayBeMade(error, method)) await destroyLost(connection, description);
    throw error;
  }
}

/**
 * `Async.…`: the task is the server's own, and nothing in it says whose call it was. When the answer is lost, what goes
 * on is not touched (somebody else may do the same at that time): the error says where to look.
 *
 * @returns the reference of the task
 * @throws XenApiError; PatchVdiError `sink`; the reason of the signal
 */
export async function startAsync(
  connection: XenConnection,
  operation: string,
  ...parameters: readonly Json[]
): Promise<string> {
  const method = `Async.${operation}`;
  try {
    return connection.check(REFERENCE, method, await connection.callToMake(method, ...parameters));
  } catch (error) {
    if (!isPatchVdiError(error) || error.kind !== 'sink' || !mayBeMade(error, method)) throw error;
    throw new PatchVdiError('sink', error.message, {
      context: error.context,
      hint: `patch-vdi pool tasks shows whether ${method} goes on, and can cancel it`,
      leftBehind: `perhaps a task ${method}, and what it makes: the server did not say`,
      cause: error,
    });
  }
}
