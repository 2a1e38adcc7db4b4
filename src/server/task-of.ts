import type { Ref } from '../pool/fields.js';
import type { Pool } from '../pool/open-pool.js';
import { PoolError, toPoolError } from '../pool/pool-error.js';
import type { Request } from './routes.js';
import type { TaskOwners } from './task-owners.js';

/**
 * The task that a client has made for its request, by reference or UUID; undefined when it named none.
 *
 * @throws PoolError HANDLE_INVALID, RBAC_PERMISSION_DENIED for somebody else's, OTHER_OPERATION_IN_PROGRESS for one
 *   that has ended
 */
export function taskOf(
  { database }: Pool,
  owners: TaskOwners,
  { parameters, account }: Pick<Request, 'parameters' | 'account'>,
): Ref | undefined {
  const named = parameters.get('task_id');
  if (named === undefined || named === '') return undefined;
  const ref = database.findByUuid('task', named) ?? named;
  owners.require(account, ref, 'task.use');
  const { status } = database.get('task', ref);
  if (status !== 'pending' && status !== 'cancelling') {
    throw new PoolError('OTHER_OPERATION_IN_PROGRESS', ['task', ref]);
  }
  return ref;
}

/**
 * A handler's work: what goes wrong before the pool has the task of the client ends it, too, for clients wait for its
 * end.
 */
export async function endingTask(
  pool: Pool,
  owners: TaskOwners,
  request: Request,
  work: () => Promise<void>,
): Promise<void> {
  try {
    await work();
  } catch (error) {
    const task = ownTask(pool, owners, request);
    if (task !== undefined) {
      const scene = { location: '', task, stateFolder: '', upload: 'patch' } as const;
      // The state folder may be full: then it ends with the next start.
      await pool.tasks.fail(task, toPoolError(error, scene)).catch(() => undefined);
    }
    throw error;
  }
}

/** Undefined also when the client named one that it may not use, or that has ended. */
function ownTask(pool: Pool, owners: TaskOwners, request: Request): Ref | undefined {
  try {
    return taskOf(pool, owners, request);
  } catch {
    return undefined;
  }
}

/** A record of a class by reference or UUID. @throws PoolError HANDLE_INVALID */
export function refOf({ database }: Pool, className: 'SR' | 'VDI', named: string): Ref {
  const ref = database.findByUuid(className, named) ?? named;
  database.get(className, ref);
  return ref;
}
