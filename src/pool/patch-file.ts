import { lstat, rm } from 'node:fs/promises';
import { dirname, resolve, sep } from 'node:path';
import { invariant, systemErrorCode } from '../errors.js';
import { syncFolder } from './store-folder.js';

/**
 * A patch of the time before VDIs is a file in the master's patch folder (`/var/patch` of a real host).
 *
 * @returns its size in bytes; undefined when it is missing, or no regular file
 */
export async function patchFileSize(filename: string): Promise<number | undefined> {
  if (filename === '') return undefined;
  try {
    // Not what a link points to: that is no patch.
    const stats = await lstat(filename);
    return stats.isFile() ? stats.size : undefined;
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(systemErrorCode(error) ?? '')) return undefined;
    throw error;
  }
}

/** Removes it for good. Safe when it is gone. */
export async function removePatchFile(folder: string, filename: string): Promise<void> {
  if (filename === '') return;
  invariant(resolve(filename).startsWith(resolve(folder) + sep), 'a patch file lies in the patch folder');
  await rm(filename, { force: true });
  await syncFolder(dirname(filename)).catch((error: unknown) => {
    // The folder is gone as well.
    if (systemErrorCode(error) !== 'ENOENT') throw error;
  });
}
