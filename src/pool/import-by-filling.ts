import { MIB } from '../units.js';
import { countedStream } from './counted-stream.js';
import { streamRuns } from './disk-runs.js';
import type { ImportOptions, StorageRepository } from './storage.js';
import { openImportedVhd } from './vhd-import.js';

/**
 * `importVdi` of a repository, made of its `fillVdi`. Raw bytes go in as they come; a VHD is kept until all of it is
 * there, and checked.
 *
 * @param spoolFolder with room for a VHD
 * @throws PatchVdiError `upload` for a stream that is too long, or a VHD that cannot be taken; `space`; what `source`
 *   and the repository throw
 */
export async function importByFilling(
  repository: Pick<StorageRepository, 'vdiFacts' | 'fillVdi'>,
  { uuid, spoolFolder }: { readonly uuid: string; readonly spoolFolder: string },
  source: AsyncIterable<Uint8Array>,
  options: ImportOptions,
): Promise<void> {
  const { virtualSize } = await repository.vdiFacts(uuid);
  const isRaw = options.format === 'raw';
  // A VHD has tables besides, and may come with blocks that are smaller than ours.
  const counted = countedStream(source, isRaw ? virtualSize : 2 * virtualSize + 16 * MIB, options);
  const { signal } = options;
  // Progress is that of the bytes that come, which are counted already.
  if (isRaw) return await repository.fillVdi(uuid, streamRuns(counted, signal), { signal });
  const vhd = await openImportedVhd(counted, spoolFolder, virtualSize, signal);
  try {
    await repository.fillVdi(uuid, vhd.runs(), options);
  } finally {
    await vhd.close();
  }
}
