import { readdir, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { allocatedBytes, diskPath, disksIn } from './folder-places.js';
import type { RepositoryUsage } from './storage.js';

/** Bytes that the files of the folder take. */
async function bytesIn(folder: string): Promise<number> {
  let total = 0;
  for (const name of await readdir(folder)) total += await allocatedBytes(join(folder, name));
  return total;
}

/** @param quotaBytes undefined: what the file system has */
export async function folderUsage(folder: string, quotaBytes: number | undefined): Promise<RepositoryUsage> {
  const { blocks, bsize } = await statfs(folder);
  let virtualAllocation = 0;
  for (const uuid of await disksIn(folder)) virtualAllocation += (await stat(diskPath(folder, uuid))).size;
  const physicalUtilisation = await bytesIn(folder);
  return { physicalSize: quotaBytes ?? blocks * bsize, physicalUtilisation, virtualAllocation };
}

/** What both the file system and the quota have left, in bytes; may be negative. */
export async function folderFreeBytes(folder: string, quotaBytes: number | undefined): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  if (quotaBytes === undefined) return bavail * bsize;
  return Math.min(bavail * bsize, quotaBytes - (await bytesIn(folder)));
}
