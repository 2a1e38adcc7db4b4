import type { Pool } from '../pool/open-pool.js';
import { PoolError } from '../pool/pool-error.js';
import type { TransferFormat } from '../pool/storage.js';
import { HttpRefusal } from './http-refusal.js';
import { isProbe, requiredParameter, type Parameters } from './parameters.js';
import type { Request } from './routes.js';
import { refOf, taskOf } from './task-of.js';
import type { TaskOwners } from './task-owners.js';

/** @throws PoolError VALUE_NOT_SUPPORTED: XAPI also knows tar and qcow2 */
function formatOf(parameters: Parameters): TransferFormat {
  const format = parameters.get('format') ?? 'raw';
  if (format === 'raw' || format === 'vhd') return format;
  throw new PoolError('VALUE_NOT_SUPPORTED', ['format', format, 'raw and vhd can be used']);
}

/**
 * `PUT /import_raw_vdi?vdi=&format=`: replaces the content of a VDI, as a whole or not at all.
 *
 * As XAPI does it: `200 OK` with a header `task-id` comes before any of the body is read; the task says how it ended. A
 * failure after that breaks the connection. Bodies without a length are refused.
 */
export async function handleImportRawVdi(pool: Pool, owners: TaskOwners, request: Request): Promise<void> {
  const { exchange, parameters } = request;
  const vdi = refOf(pool, 'VDI', requiredParameter(parameters, 'vdi'));
  const format = formatOf(parameters);
  const { contentLength } = exchange;
  if (exchange.request.headers['transfer-encoding'] !== undefined || parameters.has('chunked')) {
    throw new HttpRefusal('NOT_FOUND', 'an import has a Content-Length, and no Transfer-Encoding');
  }
  if (contentLength === undefined) throw new HttpRefusal('BAD_REQUEST', 'an import has a Content-Length');
  pool.vdis.replaceable(vdi);
  if (isProbe(parameters, contentLength)) {
    exchange.send(200, 'text/plain; charset=utf-8', 'nothing was imported: there was no body\n');
    return;
  }
  let task = taskOf(pool, owners, request);
  if (task === undefined) {
    owners.requireRoom(request.account);
    task = await pool.tasks.create('Importing raw VDI');
    owners.add(task, request.account);
  }
  exchange.acceptBody();
  exchange.head(200, { 'task-id': task, 'Content-Type': 'application/octet-stream' });
  exchange.response.flushHeaders();
  const { signal } = exchange;
  await pool.vdis.import(vdi, exchange.body(), { format, contentLength }, { task, signal });
  exchange.response.end();
}

/** `GET /export_raw_vdi?vdi=&format=`: the whole disk, with its length. */
export async function handleExportRawVdi(pool: Pool, owners: TaskOwners, request: Request): Promise<void> {
  const { exchange, parameters } = request;
  const vdi = refOf(pool, 'VDI', requiredParameter(parameters, 'vdi'));
  const format = formatOf(parameters);
  const task = taskOf(pool, owners, request);
  const { uuid } = pool.database.get('VDI', vdi);
  const scene = { upload: 'disk', location: () => 'this host' } as const;
  await pool.tasks.run(task, scene, exchange.signal, async (signal) => {
    const disk = await pool.vdis.export(vdi, format, { task, signal });
    try {
      exchange.head(200, {
        'Content-Type': 'application/octet-stream',
        'Content-Length': disk.lengthBytes,
        'Content-Disposition': `attachment; filename="${uuid}.${format}"`,
      });
      if (exchange.request.method === 'HEAD') exchange.response.end();
      else await exchange.sendStream(disk.stream());
    } finally {
      await disk.close();
    }
    await pool.database.change((draft) => pool.tasks.succeedIn(draft, task, ''));
  });
}
