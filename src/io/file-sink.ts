import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  lstatSync,
  openSync,
  statSync,
  unlinkSync,
  type Stats,
} from 'node:fs';
import { link, open, rename, unlink, type FileHandle } from 'node:fs/promises';
import { fsync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { promisify } from 'node:util';
import { PatchVdiError, invariant, systemErrorCode } from '../errors.js';
import { trace } from '../trace.js';
import { removeDeadOutputs, temporaryName } from './dead-outputs.js';
import type { Sink } from './sink.js';
import { writeFailure } from './system-errors.js';
import { writeAt } from './write-at.js';

const fsyncAsync = promisify(fsync);

function statOrUndefined(path: string): Stats | undefined {
  try {
    return lstatSync(path);
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined;
    throw cannotCreate(path, error);
  }
}

function cannotCreate(path: string, cause: unknown): PatchVdiError {
  const code = systemErrorCode(cause);
  if (code === 'ENOSPC' || code === 'EDQUOT') return writeFailure(path, 0, cause);
  const hints: Readonly<Record<string, string>> = {
    ENOENT: `create the folder first: mkdir -p ${dirname(path)}`,
    ENOTDIR: 'a part of the path is not a folder',
    EACCES: 'choose a folder that you may write to',
    EROFS: 'choose a folder on a file system that is not read-only',
    ENAMETOOLONG: 'choose a shorter name: a temporary name of some 40 characters more stands beside it',
  };
  const hint = hints[code ?? ''];
  return new PatchVdiError('usage', 'the output cannot be created', {
    context: { operation: 'create', path, found: cause instanceof Error ? cause.message : String(cause) },
    ...(hint === undefined ? {} : { hint }),
    cause,
  });
}

/** A link to a device or a pipe, such as /dev/stdout, is not meant to become a file. */
function mayBeReplaced(path: string, stats: Stats): boolean {
  if (!stats.isSymbolicLink()) return stats.isFile();
  const target = statSync(path, { throwIfNoEntry: false });
  return target === undefined || target.isFile();
}

function refuseExisting(path: string, stats: Stats | undefined, force: boolean): void {
  if (stats === undefined || (force && mayBeReplaced(path, stats))) return;
  const what = stats.isDirectory() ? 'a folder' : stats.isFile() ? 'a file' : 'not a regular file';
  throw new PatchVdiError('usage', 'the output exists already', {
    context: { operation: 'create', path, found: what, expected: 'a name that is not in use' },
    hint: stats.isFile() ? 'choose another name, or replace it with --force' : 'choose another name',
  });
}

/**
 * For whoever has work to do before the output is opened.
 *
 * @throws PatchVdiError `usage` when the name is in use and must not be replaced
 */
export function requireFreeName(path: string, force: boolean): void {
  refuseExisting(path, statOrUndefined(resolve(path)), force);
}

/**
 * A new file. It grows under a temporary name beside the final one and gets the final name when it is complete and
 * stored: fsync, link and unlink (rename with `force`), fsync of the folder. Of two builders exactly one wins.
 */
export class FileSink implements Sink {
  readonly name: string;
  readonly seekable = true;
  readonly #path: string;
  readonly #temporaryPath: string;
  readonly #force: boolean;
  readonly #fd: number;
  #state: 'open' | 'committed' | 'discarded' = 'open';

  /**
   * @param path final name
   * @param from a file on the same file system that becomes the output instead of a new one, such as what gpgv wrote;
   *   its name goes
   * @throws PatchVdiError `usage` when the name is in use or cannot be created: nothing was touched then
   */
  constructor(path: string, force: boolean, from?: string) {
    this.name = path;
    this.#path = resolve(path);
    this.#force = force;
    requireFreeName(path, force);
    removeDeadOutputs(dirname(this.#path));
    this.#temporaryPath = from ?? temporaryName(this.#path);
    const create = constants.O_CREAT | constants.O_EXCL;
    try {
      this.#fd = openSync(
        this.#temporaryPath,
        constants.O_RDWR | (from === undefined ? create : constants.O_NOFOLLOW),
        0o666,
      );
    } catch (error) {
      throw cannotCreate(path, error);
    }
    trace('sink', `writing ${this.#temporaryPath}`);
  }

  write(bytes: Uint8Array, position: number, done?: () => void): void {
    writeAt(this.#fd, this.name, bytes, position);
    done?.();
  }

  writeZeros(): void {
    // The file is new: whatever was not written reads as zeros, and takes no space.
  }

  drained(): undefined {
    return undefined;
  }

  async flush(): Promise<void> {
    try {
      await fsyncAsync(this.#fd);
      trace('sink', 'fsync');
    } catch (error) {
      throw writeFailure(this.name, 0, error);
    }
  }

  async commit(outputLength: number): Promise<void> {
    invariant(this.#state === 'open', 'an output is committed once');
    try {
      ftruncateSync(this.#fd, outputLength);
    } catch (error) {
      throw writeFailure(this.name, outputLength, error);
    }
    await this.flush();
    this.#requireOurs(this.#temporaryPath);
    await this.#giveFinalName();
    try {
      this.#requireOurs(this.#path);
    } finally {
      closeSync(this.#fd);
    }
    await this.#syncFolder();
    trace('sink', `${this.#path} is complete`);
  }

  /** Names can be moved and replaced by whoever may write to the folder; only what we wrote may get the final one. */
  #requireOurs(path: string): void {
    const ours = fstatSync(this.#fd);
    const named = lstatSync(path, { throwIfNoEntry: false });
    if (named?.dev === ours.dev && named.ino === ours.ino) return;
    throw new PatchVdiError('sink', 'the output was replaced while it was being built', {
      context: {
        operation: 'name the output',
        path,
        found: named === undefined ? 'no such file' : 'a file that is not the one we wrote',
        expected: 'the file we wrote',
      },
      hint: 'somebody else writes to that folder: choose one that only you may write to',
      leftBehind: `what is now called ${path} is not ours: look at it`,
    });
  }

  async #giveFinalName(): Promise<void> {
    try {
      if (this.#force) {
        await rename(this.#temporaryPath, this.#path);
        this.#state = 'committed';
        return;
      }
      await link(this.#temporaryPath, this.#path);
    } catch (cause) {
      if (systemErrorCode(cause) === 'EEXIST') {
        throw new PatchVdiError('usage', 'the output appeared while it was being built', {
          context: { operation: 'name the output', path: this.name, found: 'a file of that name' },
          hint: 'another program made it: look at that one, or replace it with --force',
          leftBehind: 'the file that is there is not ours; ours is gone',
          cause,
        });
      }
      if (['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS'].includes(systemErrorCode(cause) ?? '')) {
        throw new PatchVdiError('sink', 'the file system of the output has no hard links', {
          context: {
            operation: 'name the output',
            path: this.name,
            found: String(cause),
            expected: 'link(2) to work',
          },
          hint: 'use --force, which renames instead (and replaces a file of that name), or another folder',
          cause,
        });
      }
      throw writeFailure(this.name, 0, cause);
    }
    // From here on the image has its name: nothing that fails now may empty it.
    this.#state = 'committed';
    await this.#removeTemporaryName();
  }

  async #removeTemporaryName(): Promise<void> {
    try {
      await unlink(this.#temporaryPath);
    } catch (cause) {
      closeSync(this.#fd);
      throw new PatchVdiError('sink', 'the temporary name of the output could not be removed', {
        context: { operation: 'name the output', path: this.#temporaryPath, found: String(cause) },
        leftBehind: `the image, complete; and ${this.#temporaryPath}, which is a second name of it`,
        cause,
      });
    }
  }

  async #syncFolder(): Promise<void> {
    let folder: FileHandle | undefined;
    try {
      folder = await open(dirname(this.#path), 'r');
      await folder.sync();
    } catch (cause) {
      // Some folders may be written to but not opened, some file systems cannot sync one; the file itself is stored.
      if (['EACCES', 'EPERM', 'EINVAL', 'ENOTSUP', 'EBADF'].includes(systemErrorCode(cause) ?? '')) return;
      throw new PatchVdiError('sink', 'the folder of the output could not be stored', {
        context: { operation: 'store the folder', path: this.name, found: String(cause) },
        leftBehind: 'the image, complete; its name may be lost if this machine stops now',
        cause,
      });
    } finally {
      await folder?.close();
    }
  }

  discard(): Promise<void> {
    if (this.#state === 'open') {
      this.#state = 'discarded';
      // Should the name be out of reach by now (the folder was moved), then what it names is empty at least.
      ftruncateSync(this.#fd, 0);
      closeSync(this.#fd);
      try {
        unlinkSync(this.#temporaryPath);
      } catch (error) {
        // Gone already (somebody cleaned up): that is what we want.
        if (systemErrorCode(error) !== 'ENOENT')
          return Promise.reject(writeFailure(this.#temporaryPath, 0, error));
      }
    }
    return Promise.resolve();
  }
}
