import { fstatSync, readFileSync } from 'node:fs';

/** `O_APPEND` on Linux, as /proc/PID/fdinfo shows flags (proc(5)). */
const APPEND_FLAG = 0o2000;

/**
 * Where a descriptor that was opened by somebody else stands, in bytes: the shell may have read or written some of
 * it already. One opened to append stands at the end. Linux tells; elsewhere the answer is 0.
 */
export function positionOf(fd: number): number {
  let info: string;
  try {
    info = readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8');
  } catch {
    return 0;
  }
  const flags = Number.parseInt(/^flags:\s*([0-7]+)/m.exec(info)?.[1] ?? '0', 8);
  if ((flags & APPEND_FLAG) !== 0) return fstatSync(fd).size;
  return Number(/^pos:\s*(\d+)/m.exec(info)?.[1] ?? 0);
}
