import type { XenConnection } from './connection.js';
import { afterwards } from './server-failure.js';
import { PATCHES, TASKS, VDIS, type TaskRecord } from './records.js';

/** The three ways to free the space of a patch. */
export type PatchRemoval = 'clean' | 'pool_clean' | 'destroy';

/** What is left of a patch. */
export interface PatchRemains {
  /** A record goes only when its file is missing and its VDI is gone. */
  readonly record: boolean;
  readonly vdi: boolean;
}

/**
 * `pool_patch.clean`, `pool_clean`, `destroy`.
 *
 * @param patch reference of the record
 * @param vdi reference of its VDI
 */
export async function removePatch(
  connection: XenConnection,
  how: PatchRemoval,
  patch: string,
  vdi: string,
): Promise<PatchRemains> {
  await connection.call(`pool_patch.${how}`, patch);
  return await afterwards(connection.address, 'what the call leaves of the patch', async () => {
    const patches = await connection.callAs(PATCHES, 'pool_patch.get_all_records');
    const vdis = await connection.callAs(VDIS, 'VDI.get_all_records');
    return { record: Object.hasOwn(patches, patch), vdi: Object.hasOwn(vdis, vdi) };
  });
}

export interface TaskEntry {
  readonly ref: string;
  readonly record: TaskRecord;
}

/** Whether a task has not ended. */
export function isUnderWay({ status }: TaskRecord): boolean {
  return status === 'pending' || status === 'cancelling';
}

/** All tasks: those under way first, then the newest first. */
export async function listTasks(connection: XenConnection): Promise<TaskEntry[]> {
  const tasks = await connection.callAs(TASKS, 'task.get_all_records');
  const rank = ({ record }: TaskEntry): string => `${isUnderWay(record) ? 1 : 0}${record.created}`;
  return Object.entries(tasks)
    .map(([ref, record]) => ({
      ref,
      record: { ...record, error_info: record.error_info.map(connection.clean) },
    }))
    .toSorted((a, b) => (rank(a) === rank(b) ? 0 : rank(a) < rank(b) ? 1 : -1));
}
