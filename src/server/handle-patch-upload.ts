import type { Ref } from '../pool/fields.js';
import type { Pool } from '../pool/open-pool.js';
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
  const ref = await pool.patches.upload({
    sr: wantedSr(pool, parameters),
    contentLength: exchange.contentLength,
    source: exchange.body(),
    task,
    signal: exchange.signal,
    onAccepted: () => exchange.acceptBody(),
  });
  exchange.send(200, 'text/plain; charset=utf-8', `${ref}\n`);
}
