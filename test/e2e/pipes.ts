import { spawnSync } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Both ends of a pipe, as the shell makes them for `a | b`. (Node itself gives its children sockets.) */
export interface Pipe {
  readonly readFd: number;
  readonly writeFd: number;
  readonly closeRead: () => void;
  readonly closeWrite: () => void;
}

function closeOnce(fd: number): () => void {
  let open = true;
  return () => {
    if (open) closeSync(fd);
    open = false;
  };
}

/** A named pipe whose name is gone already. */
export function makePipe(): Pipe {
  const folder = mkdtempSync(join(tmpdir(), 'e2e-pipe-'));
  try {
    const path = join(folder, 'pipe');
    const made = spawnSync('mkfifo', [path]);
    if (made.status !== 0) throw new Error(`mkfifo: ${made.stderr.toString()}`);
    // Opened for both, no end has to wait for the other.
    const both = openSync(path, constants.O_RDWR);
    const readFd = openSync(path, constants.O_RDONLY);
    const writeFd = openSync(path, constants.O_WRONLY);
    closeSync(both);
    return { readFd, writeFd, closeRead: closeOnce(readFd), closeWrite: closeOnce(writeFd) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}
