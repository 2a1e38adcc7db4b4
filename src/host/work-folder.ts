import { lstat, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { geteuid } from 'node:process';
import { PatchVdiError, systemErrorCode } from '../errors.js';
import { MOUNT_FOLDER } from '../tools/mount-holder.js';
import { temporaryFailure } from '../tools/private-folder.js';
import { isAlive, ownLife, PROCESS_LIFE } from './process-life.js';

/** Its name says whose it is, so that there is no moment in which a dead one cannot be recognised. */
const PREFIX = 'patch-vdi-apply-';
const NAME = new RegExp(`^${PREFIX}(${PROCESS_LIFE.source})-[A-Za-z0-9]{6}$`);

/**
 * A new folder for one patch (0700), with the mount point in it: copy, mount and gpgv's home lie in there.
 *
 * @param scratchFolder absolute
 * @throws PatchVdiError `usage` | `space`
 */
export async function makeWorkFolder(scratchFolder: string): Promise<string> {
  const life = ownLife();
  if (life === undefined) {
    throw new PatchVdiError('usage', 'this process cannot be told from others', {
      context: {
        operation: 'read /proc/self/stat',
        found: 'no /proc',
        expected: 'Linux, with /proc mounted',
      },
    });
  }
  try {
    const folder = await mkdtemp(join(resolve(scratchFolder), `${PREFIX}${life}-`));
    await mkdir(join(folder, MOUNT_FOLDER), { mode: 0o700 });
    return folder;
  } catch (cause) {
    throw temporaryFailure(scratchFolder, cause);
  }
}

/**
 * Removes the folders that processes left which were killed. Those of living ones, and of other users, stay.
 *
 * @returns the paths that were removed
 */
export async function sweepWorkFolders(scratchFolder: string): Promise<string[]> {
  const removed: string[] = [];
  for (const name of await namesIn(scratchFolder)) {
    const life = NAME.exec(name)?.[1];
    if (life === undefined || isAlive(life)) continue;
    const path = join(resolve(scratchFolder), name);
    const facts = await lstat(path).catch(() => undefined);
    if (facts === undefined || !facts.isDirectory() || facts.uid !== geteuid?.()) continue;
    await rm(path, { recursive: true, force: true });
    removed.push(path);
  }
  return removed;
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return [];
    throw temporaryFailure(folder, error);
  }
}
