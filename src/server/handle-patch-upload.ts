import type { Ref } from '../pool/fields.js';
import type { Pool } from '../pool/open-pool.js';
import { toPoolError } from '../pool/pool-error.js';
import { isProbe, type Parameters } from './parameters.js';
import type { Request } from './routes.js';
import { refOf, taskOf } from './task-of.js';
import type { TaskOwners } from './task-owners.js';

/** What the client asked for: `sr_id` (a reference) or `sr_uuid`. @throws PoolError HANDLE_INVALID, UUID_INVALID */
function wantedSr(pool: Pool, parameters: Parameters): Ref | undefined {
  const uuid = parameters.get('sr_uuid') ?? '';
  if (uuid !== '') return pool.database.getByUuid('SR', uuid);
  const id = parameters.get('sr_id') ?? '';
  return id === '' ? undefined : refOf(pool, 'SR', id);
}

/**
 * `PUT /pool_patch_upload`. The answer is the reference of the record, which is the task's result, too; it is sent when
 * all is on the disk. Nothing of the body is asked for until the SR is chosen and has room.
 */
export async function handlePatchUpload(pool: Pool, owners: TaskOwners, request: Request): Promise<void> {
  const { exchange, parameters } = request;
  if (isProbe(parameters, exchange.contentLength)) {
    exchange.send(200, 'text/plain; charset=utf-8', 'nothing was uploaded: there was no body\n');
    return;
  }
  const task = taskOf(pool, owners, request);
  const ref = await orFail(pool, task, async () =>
    pool.patches.upload({
      sr: wantedSr(pool, parameters),
      contentLength: exchange.contentLength,
      source: exchange.body(),
      task,
      signal: exchange.signal,
      onAccepted: () => exchange.acceptBody(),
    }),
  );
  exchange.send(200, 'text/plain; charset=utf-8', `${ref}\n`);
}

/** What goes wrong before the pool has the task ends it, too: clients wait for its end. */
async function orFail<Result>(
  pool: Pool,
  task: Ref | undefined,
  work: () => Promise<Result>,
): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (task !== undefined && pool.database.find('task', task)?.status === 'pending') {
      const scene = { location: '', task, stateFolder: '', upload: 'patch' } as const;
      await pool.tasks.fail(task, toPoolError(error, scene)).catch(() => undefined);
    }
    throw error;
  }
}
