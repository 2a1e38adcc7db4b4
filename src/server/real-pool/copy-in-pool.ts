import type { TransferOptions, VdiFacts, VdiRequest } from '../../pool/storage.js';
import { trace } from '../../trace.js';
import type { XenConnection } from '../../xenapi/connection.js';
import type { Json } from '../../xenapi/json-rpc.js';
import { destroyPatiently } from '../../xenapi/pool-vdi.js';
import { REFERENCE, VDI } from '../../xenapi/records.js';
import { destroyTask, followTask } from '../../xenapi/tasks.js';
import { SERVE_COPY_PREFIX, SERVE_TASK_PREFIX } from '../../xenapi/vdi-labels.js';
import { copyOfTask, type FoundVdi, type OwnVdis } from './own-vdis.js';
import { factsOf, renameVdi } from './vdi-facts.js';

/** A copy that the pool makes by itself. */
export interface PoolCopy {
  readonly from: FoundVdi;
  readonly request: Omit<VdiRequest, 'virtualSize'>;
  /** Of the SR where the copy will be. */
  readonly own: OwnVdis;
  readonly operation: 'VDI.clone' | 'VDI.copy';
  /** The call's parameter after the VDI: options of the driver, or the reference of an SR. */
  readonly to: Json;
}

/**
 * Its task is noted on the original until the copy bears our mark: so a start after a kill knows which copy is ours.
 *
 * @throws XenApiError; PatchVdiError `sink`; the copy is destroyed then, as far as the pool can be asked
 */
export async function copyInPool(
  connection: XenConnection,
  copy: PoolCopy,
  { onProgress }: TransferOptions,
): Promise<VdiFacts> {
  const { from, request, operation } = copy;
  const note = async (prefix: string, value: string): Promise<void> => {
    await connection.call('VDI.add_to_other_config', from.ref, `${prefix}${request.uuid}`, value);
  };
  await note(SERVE_COPY_PREFIX, '');
  let task: string | undefined;
  try {
    const method = `Async.${operation}`;
    const made = await connection.callToMake(method, from.ref, copy.to);
    task = connection.check(REFERENCE, method, made);
    await note(SERVE_TASK_PREFIX, task);
    const result = await followTask(connection, task, operation, { onFraction: onProgress });
    const facts = await adopt(connection, connection.check(REFERENCE, operation, result), copy);
    await forget(connection, copy, task);
    return facts;
  } catch (error) {
    await undo(connection, copy, task);
    throw error;
  }
}

/** A copy inherits the marks of its original, and its name: it gets its own. */
async function adopt(connection: XenConnection, ref: string, { request, own }: PoolCopy): Promise<VdiFacts> {
  const { uuid, nameLabel } = request;
  const record = await connection.callAs(VDI, 'VDI.get_record', ref);
  await connection.call('VDI.set_other_config', ref, own.ownConfig(uuid, record));
  own.remember(uuid, ref);
  if (nameLabel !== '' && nameLabel !== record.name_label) {
    await renameVdi(connection, ref, { name_label: nameLabel });
  }
  return factsOf(record);
}

/** Never fails: notes that stay harm nobody. */
async function forget(
  connection: XenConnection,
  { from: { ref, record }, request }: PoolCopy,
  task: string | undefined,
): Promise<void> {
  for (const prefix of [SERVE_COPY_PREFIX, SERVE_TASK_PREFIX]) {
    const key = `${prefix}${request.uuid}`;
    await connection.callBeforeEnd('VDI.remove_from_other_config', ref, key).catch((error: unknown) => {
      trace('pool', () => `the note of a copy stays on VDI ${record.uuid}: ${String(error)}`);
    });
  }
  if (task !== undefined) await destroyTask(connection, task);
}

/** Never fails: what cannot be undone now is found again by what is noted on the original. */
async function undo(connection: XenConnection, copy: PoolCopy, task: string | undefined): Promise<void> {
  try {
    // The caller's signal has ended what he waits for, and not this.
    const calm = connection.withSignal(undefined);
    const made = task === undefined ? undefined : await copyOfTask(calm, task);
    const failure = made === undefined ? undefined : await destroyPatiently(calm, made.ref);
    if (failure !== undefined) throw failure;
    await forget(calm, copy, task);
  } catch (error) {
    trace('pool', () => `a copy of VDI ${copy.from.record.uuid} could not be undone: ${String(error)}`);
  }
}
