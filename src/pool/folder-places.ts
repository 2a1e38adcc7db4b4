import { constants } from 'node:fs';
import { lstat, open, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { invariant, systemErrorCode } from '../errors.js';
import { trace } from '../trace.js';
import { KIB } from '../units.js';

/*
 * What lies in the folder of a repository: `UUID.raw` for each disk; `.UUID.…` for anything unfinished that belongs to
 * that disk; and a mark that says which repository this is, so that the empty folder below a file system that is not
 * mounted is not taken for a repository that has lost all of its disks.
 */

export const MARK_FILE = '.patch-vdi-sr.json';

/** More than a mark has. */
const MAX_MARK_BYTES = 4 * KIB;

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const DISK_NAME = /^([0-9a-f-]{36})\.raw$/;
const UNFINISHED_NAME = /^\.([0-9a-f-]{36})\./;

/** Whether a text may become part of a path. */
export function isUuid(text: string): boolean {
  return UUID.test(text);
}

export function diskPath(folder: string, uuid: string): string {
  invariant(isUuid(uuid), 'a disk is named by a UUID');
  return join(folder, `${uuid}.raw`);
}

/** A name beside the disk that {@link unfinishedIn} finds again. */
export function unfinishedPath(folder: string, uuid: string, purpose: string): string {
  invariant(isUuid(uuid), 'a disk is named by a UUID');
  return join(folder, `.${uuid}.${purpose}`);
}

export async function disksIn(folder: string): Promise<string[]> {
  const names = await readdir(folder);
  return names.flatMap((name) => DISK_NAME.exec(name)?.[1] ?? []).filter(isUuid);
}

/** Removes files and folders that belong to those disks but are none. */
export async function removeUnfinished(folder: string, uuids: ReadonlySet<string>): Promise<string[]> {
  const names = (await readdir(folder)).filter((name) => uuids.has(UNFINISHED_NAME.exec(name)?.[1] ?? ''));
  for (const name of names) await rm(join(folder, name), { recursive: true, force: true });
  return names;
}

/** What a guest sees of a disk; undefined for none: what a link leads to is no disk of ours, and a FIFO has no size. */
export async function diskBytes(path: string): Promise<number | undefined> {
  try {
    const stats = await lstat(path);
    return stats.isFile() ? stats.size : undefined;
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Of the name itself, wherever a link would lead; 0 for a file that is gone. */
export async function allocatedBytes(path: string): Promise<number> {
  try {
    // In units of 512 bytes whatever the file system's block is (stat(2)).
    return (await lstat(path)).blocks * 512;
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return 0;
    throw error;
  }
}

/** The beginning of a file; '' for what is no regular file, and would keep a reader waiting. */
async function shortText(path: string): Promise<string> {
  // A FIFO would keep even the opening waiting, and with it one of the few threads that files have.
  const file = await open(path, constants.O_RDONLY + constants.O_NONBLOCK);
  try {
    if (!(await file.stat()).isFile()) return '';
    const { buffer, bytesRead } = await file.read(Buffer.alloc(MAX_MARK_BYTES), 0, MAX_MARK_BYTES, 0);
    return buffer.toString('utf8', 0, bytesRead);
  } finally {
    await file.close();
  }
}

/**
 * The UUID of the repository whose folder this is; undefined when it is none, or not there.
 *
 * @throws an error of the system when that cannot be told: the storage is broken, or not ours to read
 */
export async function markOf(folder: string): Promise<string | undefined> {
  let text: string;
  try {
    text = await shortText(join(folder, MARK_FILE));
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(systemErrorCode(error) ?? '')) return undefined;
    throw error;
  }
  const uuid = /"uuid": "([0-9a-f-]{36})"/.exec(text)?.[1];
  return uuid !== undefined && isUuid(uuid) ? uuid : undefined;
}

/** Whether it is the folder of that repository, and can be read now. */
export async function hasMark(folder: string, uuid: string): Promise<boolean> {
  try {
    return (await markOf(folder)) === uuid;
  } catch (error) {
    // A disk that dies, an NFS server that has forgotten us: the other repositories are still there.
    trace('pool', () => `SR ${uuid} cannot be read: ${String(error)}`);
    return false;
  }
}
