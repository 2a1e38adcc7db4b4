import { readFileSync } from 'node:fs';

/**
 * A process for as long as it lives: its number and when it was started (proc(5), /proc/PID/stat, `starttime`), because
 * numbers come again. `PID.TICKS`.
 */
export type ProcessLife = string;

/** In a name or a file. */
export const PROCESS_LIFE = /\d{1,10}\.\d{1,20}/;

/** Place of `starttime` among the fields behind the name of the program, which may hold anything. */
const START_TIME_FIELD = 19;

function lifeOf(pid: number | 'self'): ProcessLife | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    // Dead, and only not yet waited for.
    if (fields[0] === 'Z' || fields[0] === 'X') return undefined;
    const number = pid === 'self' ? Number.parseInt(stat, 10) : pid;
    return `${number}.${fields[START_TIME_FIELD]}`;
  } catch {
    // There is no such process.
    return undefined;
  }
}

/** Of this process; undefined where there is no /proc, so nothing of this room can work. */
export function ownLife(): ProcessLife | undefined {
  return lifeOf('self');
}

/** Whether that process still lives. */
export function isAlive(life: ProcessLife): boolean {
  return lifeOf(Number.parseInt(life, 10)) === life;
}
