import { lstatSync, unlinkSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { PatchVdiError, systemErrorCode } from '../errors.js';

/** A socket in the state folder: it answers as long as its process lives, however that ends. */
const LOCK_FILE = 'lock';

/**
 * A process that was killed while it started a program may have left a copy of itself that has its sockets until it
 * becomes that program (seen in tests): so an answer is believed only when it stays.
 */
const ATTEMPTS = 20;
const RETRY_MILLISECONDS = 100;

export interface StateLock {
  release(): Promise<void>;
}

function listen(path: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', reject);
    server.listen(path, () => {
      // The lock alone is no reason to go on.
      server.unref();
      resolve(server);
    });
  });
}

function isAnswering(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error) => resolve(systemErrorCode(error) === 'EAGAIN'));
  });
}

function inUse(folder: string): PatchVdiError {
  return new PatchVdiError('usage', 'the state folder is in use', {
    context: { path: folder, found: 'a server that answers', expected: 'no other server with this state' },
    hint: 'stop the other one first',
  });
}

/**
 * Two processes must not write one journal.
 *
 * @throws PatchVdiError `usage` when another one has it, or the socket cannot be made (a path of over 107 bytes)
 */
export async function lockState(folder: string): Promise<StateLock> {
  const path = join(folder, LOCK_FILE);
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    try {
      const server = await listen(path);
      const { ino } = lstatSync(path);
      const release = (): Promise<void> =>
        new Promise((resolve) => {
          // Closing removes the name: only ours.
          if (lstatSync(path, { throwIfNoEntry: false })?.ino !== ino) resolve();
          else server.close(() => resolve());
        });
      return { release };
    } catch (error) {
      const code = systemErrorCode(error);
      if (code !== 'EADDRINUSE') {
        throw new PatchVdiError('usage', 'the state folder cannot be locked', {
          context: { path, found: error instanceof Error ? error.message : String(error) },
          hint: 'the path of the state folder may be too long: choose a shorter one',
          cause: error,
        });
      }
      if (await isAnswering(path)) {
        await sleep(RETRY_MILLISECONDS);
        continue;
      }
      // Left by a process that was killed.
      try {
        unlinkSync(path);
      } catch (failure) {
        if (systemErrorCode(failure) !== 'ENOENT') throw failure;
      }
    }
  }
  throw inUse(folder);
}
