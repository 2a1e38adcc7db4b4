import type { Ref } from '../pool/fields.js';
import type { Pool } from '../pool/open-pool.js';
import { PoolError } from '../pool/pool-error.js';
import type { Parameters } from './parameters.js';

/**
 * The task that a client has made for its request, by reference or UUID; undefined when it named none.
 *
 * @throws PoolError HANDLE_INVALID, OTHER_OPERATION_IN_PROGRESS for one that has ended, or never was a client's
 */
export function taskOf({ database }: Pool, parameters: Parameters): Ref | undefined {
  const named = parameters.get('task_id');
  if (named === undefined || named === '') return undefined;
  const ref = database.findByUuid('task', named) ?? named;
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
