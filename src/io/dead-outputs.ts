import { createHash, randomBytes } from 'node:crypto';
import { readdirSync, readlinkSync, unlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { systemErrorCode } from '../errors.js';
import { trace } from '../trace.js';

/**
 * Temporary outputs are `.NAME.patch-vdi-HOST-PID-RANDOM.tmp` beside NAME. HOST is there because the folder may be
 * shared: what runs on another host cannot be seen from here, so its files are left alone.
 */
const TEMPORARY_NAME = /^\..+\.patch-vdi-([0-9a-f]{8})-(\d{1,10})-[0-9a-f]{8}\.tmp$/s;

/** More entries than this are not looked through: the folder is somebody's archive, and tidying it is a courtesy. */
const MAX_ENTRIES = 100_000;

/** This host, and on Linux this PID namespace: containers may share a folder and a host name. */
function hostTag(): string {
  let namespace = '';
  try {
    namespace = readlinkSync('/proc/self/ns/pid');
  } catch {
    // Not Linux: the host name has to do.
  }
  return createHash('sha256').update(`${hostname()} ${namespace}`).digest('hex').slice(0, 8);
}

export function temporaryName(finalPath: string): string {
  const random = randomBytes(4).toString('hex');
  const name = `.${basename(finalPath)}.patch-vdi-${hostTag()}-${process.pid}-${random}.tmp`;
  return join(dirname(finalPath), name);
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it runs, as another user.
    return systemErrorCode(error) !== 'ESRCH';
  }
}

/** Removes the temporary outputs that builds of this host left in a folder when they were killed. */
export function removeDeadOutputs(folder: string): void {
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch {
    // Not listable, or not there: creating the output will say so if it matters.
    return;
  }
  const host = hostTag();
  for (const name of names.slice(0, MAX_ENTRIES)) {
    const match = TEMPORARY_NAME.exec(name);
    if (match?.[1] !== host || isRunning(Number(match[2]))) continue;
    try {
      unlinkSync(join(folder, name));
      trace('sink', `removed ${name}, left by a build that was killed`);
    } catch (error) {
      // Somebody else removed it first, or may not: neither stands in the way of this build.
      trace('sink', () => `${name} could not be removed: ${String(error)}`);
    }
  }
}
