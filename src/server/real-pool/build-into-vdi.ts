import { buildInto, type BuildInput, type BuildResult } from '../../build/build-image.js';
import type { XenConnection } from '../../xenapi/connection.js';
import { ImportSink } from '../../xenapi/import-sink.js';
import { createTask } from '../../xenapi/make-task.js';
import { imageBytesFor } from '../../xenapi/pool-vdi.js';
import { VDI } from '../../xenapi/records.js';
import { cancelTask, destroyTask } from '../../xenapi/tasks.js';
import { UPLOAD_KEY, labelled, labelsOf } from '../../xenapi/vdi-labels.js';
import type { TransferFormat } from '../../xenapi/vhd-refusal.js';
import type { FoundVdi, OwnVdis } from './own-vdis.js';

/** A VDI of ours that gets an image. */
export interface TargetVdi {
  readonly found: FoundVdi;
  /** Of our own record. */
  readonly uuid: string;
  readonly own: OwnVdis;
  readonly format: TransferFormat;
  /** Of this program. */
  readonly version: string;
}

/**
 * As a VHD in one pass: its seal goes out when the verdict is there. Raw is verified first. Labels say what is in it
 * when it is complete.
 *
 * @throws XenApiError; PatchVdiError of every kind but `image`; whoever asked for it destroys the VDI then
 */
export async function buildIntoVdi(
  connection: XenConnection,
  { found: { ref, record }, uuid, own, format, version }: TargetVdi,
  input: Omit<BuildInput, 'format'>,
): Promise<BuildResult> {
  await connection.call('VDI.set_other_config', ref, { ...record.other_config, [UPLOAD_KEY]: uuid });
  let task: string | undefined;
  try {
    const built = await buildInto({ ...input, format, digest: true }, async ({ imageBytes }, stop) => {
      const made = await createTask(connection, 'patch-vdi serve: upload', uuid);
      task = made;
      const { name_label: nameLabel, virtual_size: virtualSize } = record;
      const vdi = { ref, uuid: record.uuid, nameLabel, virtualSize };
      const name = `VDI ${record.uuid} at ${connection.name}`;
      const bytes = imageBytesFor(vdi, imageBytes, connection.name);
      return new ImportSink({ connection, task: made, stop, vdi: ref, format, imageBytes: bytes, name });
    });
    const now = await connection.callAs(VDI, 'VDI.get_record', ref);
    const config = labelled(own.ownConfig(uuid, now), labelsOf(built, version));
    await connection.call('VDI.set_other_config', ref, config);
    return built;
  } catch (error) {
    if (task !== undefined) await cancelTask(connection, task);
    throw error;
  } finally {
    if (task !== undefined) await destroyTask(connection, task);
  }
}
