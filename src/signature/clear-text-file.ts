import { constants, linkSync, lstatSync, rmdirSync, unlinkSync, type BigIntStats } from 'node:fs';
import { lstat, mkdtemp, open, rm, stat, type FileHandle } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { invariant, systemErrorCode } from '../errors.js';
import { trace } from '../trace.js';
import {
  cannotRemove,
  clearTextFailure,
  nameInUse,
  notPrivate,
  replaced,
  wrongLength,
} from './clear-text-errors.js';

/**
 * The file that gpgv writes the clear text of a signed message to. gpgv would follow a link, empty a file that is
 * there, make a new one readable for everybody, and leave it there when the signature is bad. So it gets a file of
 * ours (mode 0600) in a new private folder beside the final name, and the final name appears when all is well.
 *
 * Who may write to the parent folder could move our folder away: what gets the final name is the very file that we
 * hold open, or else there is an error.
 */
export class ClearTextFile {
  /** Absolute; what gpgv may write to, and nobody else can get at. */
  readonly workPath: string;
  readonly #finalPath: string;
  readonly #folder: string;
  readonly #file: FileHandle;
  #identity: BigIntStats | undefined;
  #state: 'open' | 'named' | 'discarded' = 'open';
  #discarding: Promise<void> | undefined;

  private constructor(finalPath: string, folder: string, workPath: string, file: FileHandle) {
    this.#finalPath = finalPath;
    this.#folder = folder;
    this.workPath = workPath;
    this.#file = file;
  }

  /**
   * @param path the final name, in a folder that exists
   * @throws PatchVdiError `usage` when the name is in use or cannot be created, `space`
   */
  static async create(path: string): Promise<ClearTextFile> {
    const finalPath = resolve(path);
    let folder: string | undefined;
    try {
      await requireFresh(finalPath);
      folder = await mkdtemp(join(dirname(finalPath), '.patch-vdi-clear-'));
      await requirePrivate(folder);
      const workPath = join(folder, 'clear-text');
      const file = await open(workPath, constants.O_CREAT | constants.O_EXCL | constants.O_RDWR, 0o600);
      return new ClearTextFile(finalPath, folder, workPath, file);
    } catch (cause) {
      if (folder !== undefined) await rm(folder, { recursive: true, force: true });
      throw clearTextFailure(finalPath, cause, 'usage');
    }
  }

  /** The final name's folder, for messages. */
  get parentFolder(): string {
    return dirname(this.#finalPath);
  }

  /**
   * Makes sure that what gpgv wrote, after it has exited, is whole and stored on the disk. It has no name yet.
   *
   * @param clearTextBytes by our own count
   * @param mustSurvive false: it is whole, but a power failure may take it
   * @throws PatchVdiError `tool` for another length, `space` | `sink` when it cannot be stored
   */
  async store(clearTextBytes: number, mustSurvive = true): Promise<void> {
    try {
      this.#identity = await this.#file.stat({ bigint: true });
      const { size } = this.#identity;
      if (size !== BigInt(clearTextBytes)) throw wrongLength(this.#finalPath, Number(size), clearTextBytes);
      if (mustSurvive) await this.#file.sync();
    } catch (cause) {
      throw clearTextFailure(this.#finalPath, cause, 'sink');
    }
  }

  /**
   * Gives the stored file its final name. Synchronous, so that no `discard` comes between.
   *
   * @throws PatchVdiError `usage` when the name has come into use meanwhile, `sink` when it cannot be given
   */
  name(): void {
    invariant(
      this.#state === 'open' && this.#identity !== undefined,
      'a clear text is stored before it is named',
    );
    let linked = false;
    try {
      linkSync(this.workPath, this.#finalPath);
      linked = isSame(this.#identity, lstatSync(this.#finalPath, { bigint: true }));
      if (!linked) throw replaced(this.#finalPath);
      unlinkSync(this.workPath);
      rmdirSync(this.#folder);
    } catch (cause) {
      if (linked) unlinkSync(this.#finalPath);
      throw clearTextFailure(this.#finalPath, cause, 'sink');
    }
    this.#state = 'named';
    trace('signature', () => `the clear text is ${this.#finalPath}`);
  }

  /**
   * Lets the file go; removes it unless it has its final name. gpgv must have exited. Idempotent.
   *
   * @throws PatchVdiError `sink` when it cannot be removed
   */
  close(): Promise<void> {
    this.#discarding ??= this.#state === 'named' ? this.#file.close() : this.#discard();
    return this.#discarding;
  }

  async #discard(): Promise<void> {
    this.#state = 'discarded';
    try {
      // Should the name be out of reach by now (the folder was moved), then what it names is empty at least.
      await this.#file.truncate(0);
      await this.#file.close();
      await rm(this.#folder, { recursive: true, force: true });
    } catch (cause) {
      throw cannotRemove(this.#folder, cause);
    }
  }
}

async function requireFresh(path: string): Promise<void> {
  try {
    await lstat(path);
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return;
    throw error;
  }
  throw nameInUse(path);
}

/** Some file systems know no modes (FAT) or have their own idea of them. */
async function requirePrivate(folder: string): Promise<void> {
  const mode = (await stat(folder)).mode % 0o1000;
  if (mode % 0o100 !== 0) throw notPrivate(dirname(folder), mode);
}

function isSame(ours: BigIntStats, named: BigIntStats): boolean {
  return named.dev === ours.dev && named.ino === ours.ino;
}
