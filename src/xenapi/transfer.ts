import type { UploadSource } from '../io/chunk.js';
import type { XenConnection } from './connection.js';
import type { ServerDownload } from './get-stream.js';
import { startAsync } from './make-task.js';
import { REFERENCE } from './records.js';
import { followTask, guardTask, withTask, type OnFraction } from './tasks.js';
import { isXenApiError } from './xen-api-error.js';

export interface UploadOptions {
  /** Of the storage repository; default: the server chooses. */
  readonly srUuid?: string | undefined;
  /** Bytes that the connection has taken. */
  readonly onProgress?: ((bytes: number) => void) | undefined;
}

/**
 * `PUT /pool_patch_upload`. It is the task that says whether it went well.
 *
 * @returns the reference of the pool_patch record
 * @throws XenApiError; PatchVdiError `sink` | `upload`; the reason of the signal, when the server has been told
 */
export async function uploadPatch(
  connection: XenConnection,
  source: UploadSource,
  { srUuid, onProgress }: UploadOptions,
): Promise<string> {
  const operation = 'PUT /pool_patch_upload';
  return await withTask(connection, 'patch-vdi pool upload', async (task) => {
    const query = { task_id: task, sr_uuid: srUuid };
    const answer = await connection.putStream('/pool_patch_upload', query, source, onProgress);
    const result = await followTask(connection, task, operation);
    return connection.check(REFERENCE, operation, result === '' ? answer : result);
  });
}

/**
 * `GET /pool_patch_download`.
 *
 * @param receive gets the bytes on their way
 */
export async function downloadPatch<Result>(
  connection: XenConnection,
  uuid: string,
  receive: (download: ServerDownload) => Promise<Result>,
): Promise<Result> {
  const download = await connection.getStream('/pool_patch_download', { uuid });
  try {
    return await receive(download);
  } finally {
    download.close();
  }
}

/**
 * `VDI.copy`, as a task where the server can.
 *
 * @returns the reference of the new VDI
 */
export async function copyVdi(
  connection: XenConnection,
  vdi: string,
  sr: string,
  onFraction?: OnFraction,
): Promise<string> {
  const operation = 'VDI.copy';
  let task: string;
  try {
    task = await startAsync(connection, operation, vdi, sr);
  } catch (error) {
    if (!isXenApiError(error) || error.code !== 'MESSAGE_METHOD_UNKNOWN') throw error;
    return await connection.callAs(REFERENCE, operation, vdi, sr);
  }
  return await guardTask(connection, task, operation, async () => {
    const result = await followTask(connection, task, operation, { onFraction });
    return connection.check(REFERENCE, operation, result);
  });
}
