import { setTimeout as sleep } from 'node:timers/promises';
import { trace } from '../trace.js';
import type { XenConnection } from './connection.js';
import { createTask } from './make-task.js';
import { TASK, type TaskRecord } from './records.js';
import { UNKNOWN_OUTCOME, serverFailure } from './server-failure.js';
import { XenApiError, describedError } from './xen-api-error.js';

/** From 0 to 1. */
export type OnFraction = (fraction: number) => void;

/** XAPI packs the result of an asynchronous call into the XML of XML-RPC. */
const PACKED = /^<value>(?:<string>)?([^<]*)(?:<\/string>)?<\/value>$/;

/** What XML-RPC's text has references for, as servers write them. */
const REFERENCES: Readonly<Record<string, string>> = {
  '&amp;': '&',
  '&lt;': '<',
  '&gt;': '>',
  '&quot;': '"',
  '&apos;': "'",
  '&#13;': '\r',
};

/** The result of a task that has succeeded, unpacked. */
export function resultText(result: string): string {
  const packed = PACKED.exec(result)?.[1];
  if (packed === undefined) return result;
  return packed.replaceAll(
    /&(?:amp|lt|gt|quot|apos|#13);/g,
    (reference) => REFERENCES[reference] ?? reference,
  );
}

/** The error of a task that has failed or was cancelled. */
export function taskFailure(
  { clean }: XenConnection,
  operation: string,
  { status, error_info }: TaskRecord,
): XenApiError {
  const error = describedError(operation, error_info, clean);
  if (error !== undefined) return error;
  return new XenApiError(operation, status === 'cancelled' ? 'TASK_CANCELLED' : 'INTERNAL_ERROR', []);
}

/** Whether a task has ended, in whatever way. */
export const isOver = ({ status }: TaskRecord): boolean => status !== 'pending' && status !== 'cancelling';

export interface FollowOptions {
  readonly onFraction?: OnFraction | undefined;
  /** How long it may stand still; milliseconds. Asked at every look. Default: the connection's `stall`. */
  readonly stall?: (() => number) | undefined;
}

/**
 * Waits for a task to end.
 *
 * @returns its result
 * @throws XenApiError when it fails or is cancelled; PatchVdiError `sink` also when it stands still; the reason of
 *   the connection's signal
 */
export async function followTask(
  connection: XenConnection,
  task: string,
  operation: string,
  { onFraction, stall: stallOf }: FollowOptions = {},
): Promise<string> {
  const { poll, stall: usualStall } = connection.timeouts;
  let fraction = -1;
  let movedAt = performance.now();
  for (;;) {
    const record = await connection.callAs(TASK, 'task.get_record', task);
    const stall = stallOf?.() ?? usualStall;
    if (record.status === 'success') return resultText(record.result);
    if (isOver(record)) throw taskFailure(connection, operation, record);
    // Beyond its end a task does not go on.
    const progress = Math.min(1, record.progress);
    if (progress > fraction) {
      movedAt = performance.now();
      fraction = progress;
      onFraction?.(Math.max(0, fraction));
    } else if (performance.now() - movedAt > stall) {
      throw serverFailure(connection.address, `the task does not go on: ${operation}`, {
        found: `no progress for ${stall / 1000} seconds, at ${Math.round(fraction * 100)} %`,
        expected: 'that it ends',
        hint: 'patch-vdi pool tasks lists what is under way, and can cancel it; --idle-timeout of an upload says how long to wait',
        leftBehind: UNKNOWN_OUTCOME,
      });
    }
    await sleep(poll, undefined, connection.signal === undefined ? {} : { signal: connection.signal }).catch(
      () => connection.signal?.throwIfAborted(),
    );
  }
}

/**
 * Cancels a task and waits, not long, until it has ended. Never fails.
 *
 * @param milliseconds how long; default: the connection's `farewell`
 * @returns its last record, of a task that may not have ended; undefined: the server does not tell
 */
export async function cancelAndWait(
  connection: XenConnection,
  task: string,
  milliseconds = connection.timeouts.farewell,
): Promise<TaskRecord | undefined> {
  const { poll } = connection.timeouts;
  const until = performance.now() + milliseconds;
  let record: TaskRecord | undefined;
  try {
    await connection.callBeforeEnd('task.cancel', task);
    while (performance.now() < until) {
      const answer = await connection.callBeforeEnd('task.get_record', task);
      record = connection.check(TASK, 'task.get_record', answer);
      if (isOver(record)) break;
      await sleep(poll);
    }
  } catch (error) {
    trace('xenapi', () => `task.cancel: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
  return record;
}

/** Why a task failed, if it did so until now. Never fails itself. */
export async function taskWord(
  connection: XenConnection,
  task: string,
  operation: string,
): Promise<Error | undefined> {
  try {
    const answer = await connection.callBeforeEnd('task.get_record', task);
    const record = connection.check(TASK, 'task.get_record', answer);
    return isOver(record) && record.status !== 'success'
      ? taskFailure(connection, operation, record)
      : undefined;
  } catch (error) {
    trace('xenapi', () => `task.get_record: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
}

/**
 * Does something with a task of its own, which is cancelled when we are stopped, and destroyed in the end. Whatever
 * breaks the connection, the task knows better why: a server that refuses stops reading.
 *
 * @param work gets the task's reference
 */
export async function withTask<Result>(
  connection: XenConnection,
  label: string,
  work: (task: string) => Promise<Result>,
): Promise<Result> {
  const task = await createTask(connection, label, '');
  return await guardTask(connection, task, label, () => work(task));
}

/** Asks for the end of a task, and does not wait for it. Never fails. */
export async function cancelTask(connection: XenConnection, task: string): Promise<void> {
  await connection.callBeforeEnd('task.cancel', task).catch((error: unknown) => {
    trace('xenapi', () => `task.cancel: ${error instanceof Error ? error.message : String(error)}`);
  });
}

/** Never fails: a task that is forgotten goes by itself. */
export async function destroyTask(connection: XenConnection, task: string): Promise<void> {
  await connection.callBeforeEnd('task.destroy', task).catch((error: unknown) => {
    trace('xenapi', () => `task.destroy: ${error instanceof Error ? error.message : String(error)}`);
  });
}

/** The same for a task that is there. */
export async function guardTask<Result>(
  connection: XenConnection,
  task: string,
  label: string,
  work: () => Promise<Result>,
): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    // What the server has refused is over.
    if (error instanceof XenApiError) throw error;
    const stopped = connection.signal?.aborted === true;
    const word = stopped ? undefined : await taskWord(connection, task, label);
    if (word !== undefined) throw word;
    await cancelAndWait(connection, task);
    throw error;
  } finally {
    await destroyTask(connection, task);
  }
}
