import { readdir, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { allocatedBytes, diskBytes, diskPath, disksIn } from './folder-places.js';
import type { RepositoryUsage } from './storage.js';

/** Bytes that the files of the folder take. */
async function bytesIn(folder: string): Promise<number> {
  let total = 0;
  for (const name of await readdir(folder)) total += await allocatedBytes(join(folder, name));
  return total;
}

/**
 * As XAPI's file SRs tell it: `physicalSize - physicalUtilisation` is what is free. Without a quota, what others have
 * on the same file system counts as used.
 *
 * @param quotaBytes undefined: what the file system has
 */
export async function folderUsage(folder: string, quotaBytes: number | undefined): Promise<RepositoryUsage> {
  const { blocks, bsize } = await statfs(folder);
  let virtualAllocation = 0;
  for (const uuid of await disksIn(folder))
    virtualAllocation += (await diskBytes(diskPath(folder, uuid))) ?? 0;
  const physicalSize = quotaBytes ?? blocks * bsize;
  const free = Math.max(0, await folderFreeBytes(folder, quotaBytes));
  return { physicalSize, physicalUtilisation: Math.max(0, physicalSize - free), virtualAllocation };
}

/** What both the file system and the quota have left, in bytes; may be negative. */
export async function folderFreeBytes(folder: string, quotaBytes: number | undefined): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  if (quotaBytes === undefined) return bavail * bsize;
  return Math.min(bavail * bsize, quotaBytes - (await bytesIn(folder)));
}
