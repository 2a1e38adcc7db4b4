import { constants } from 'node:fs';
import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { systemErrorCode } from '../errors.js';
import { KIB } from '../units.js';
import { isUuid } from './folder-places.js';
import type { AppliedPatch } from './host-side.js';
import type { ParseInfo, PatchInfo } from './info-document.js';

/** What `info` may print is no longer. */
const MAX_INFO_BYTES = 64 * KIB;

async function readInfo(
  path: string,
): Promise<{ readonly text: string; readonly modified: number } | undefined> {
  // Not what a link points to, and without waiting for the other end of a FIFO.
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(
    (error: unknown) => {
      if (['ENOENT', 'ELOOP', 'ENXIO'].includes(systemErrorCode(error) ?? '')) return undefined;
      throw error;
    },
  );
  if (file === undefined) return undefined;
  try {
    const stats = await file.stat();
    if (!stats.isFile()) return undefined;
    const { buffer, bytesRead } = await file.read(new Uint8Array(MAX_INFO_BYTES), 0, MAX_INFO_BYTES, 0);
    return { text: Buffer.from(buffer.subarray(0, bytesRead)).toString('utf8'), modified: stats.mtimeMs };
  } finally {
    await file.close();
  }
}

function infoOf(text: string, uuid: string, parseInfo: ParseInfo): PatchInfo | undefined {
  try {
    const info = parseInfo(text);
    return info.uuid === uuid ? info : undefined;
  } catch {
    // Somebody else's words: that the patch is applied is said by the name of the file.
    return undefined;
  }
}

/** "After a successful apply the output of `info` is kept in `/var/patch/applied/UUID`": what a host has applied. */
export async function readAppliedFolder(folder: string, parseInfo: ParseInfo): Promise<AppliedPatch[]> {
  let names: string[];
  try {
    names = await readdir(folder);
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return [];
    throw error;
  }
  const found: AppliedPatch[] = [];
  for (const uuid of names.filter(isUuid).toSorted()) {
    const read = await readInfo(join(folder, uuid));
    if (read === undefined) continue;
    found.push({ uuid, info: infoOf(read.text, uuid, parseInfo), appliedAt: read.modified });
  }
  return found;
}
