import { trace } from '../trace.js';
import type { DiskBytes, StorageRepository, TransferOptions, VdiFacts, VdiRequest } from './storage.js';

/** A new disk with that content; none when it fails, as far as the target can still be asked. */
export async function copyInto(
  target: StorageRepository,
  request: VdiRequest,
  runs: AsyncIterable<DiskBytes>,
  options: TransferOptions,
): Promise<VdiFacts> {
  const { uuid } = await target.createVdi(request);
  try {
    await target.fillVdi(uuid, runs, options);
    return await target.vdiFacts(uuid);
  } catch (error) {
    // The first error counts. What is left goes with the record of the disk.
    await target.destroyVdi(uuid).catch((failure: unknown) => {
      trace('pool', () => `VDI ${uuid} could not be removed: ${String(failure)}`);
    });
    throw error;
  }
}
