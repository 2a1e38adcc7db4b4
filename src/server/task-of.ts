import type { Ref } from '../pool/fields.js';
import type { Pool } from '../pool/open-pool.js';
import { PoolError } from '../pool/pool-error.js';
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

/** A record of a class by reference or UUID. @throws PoolError HANDLE_INVALID */
export function refOf({ database }: Pool, className: 'SR' | 'VDI', named: string): Ref {
  const ref = database.findByUuid(className, named) ?? named;
  database.get(className, ref);
  return ref;
}
