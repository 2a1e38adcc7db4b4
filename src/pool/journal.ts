import { open, rename, rm, stat, writeFile, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { PatchVdiError, isPatchVdiError, systemErrorCode } from '../errors.js';
import { writeFailure } from '../io/system-errors.js';
import { trace } from '../trace.js';
import { KIB, MIB, describeBytes } from '../units.js';
import { FIRST_LINK, encodeLine } from './journal-line.js';
import { MAX_LINE_BYTES, damagedJournal, readJournal, type TornEnd } from './read-journal.js';
import { syncFolder } from './store-folder.js';

/** What a journal may grow by beyond its state before it is written anew. */
const SLACK_BYTES = MIB;
/** Enough for some hundred lines that undo something. */
const RESERVE_BYTES = 256 * KIB;
const SNAPSHOT_CHUNK_CHARACTERS = MIB;

export interface JournalOptions {
  /** Takes the lines that are there, in order; returns what is wrong with one. */
  readonly accept: (value: unknown, line: number) => string | undefined;
  /** The whole state as lines, for a journal that is new or written anew. */
  readonly snapshot: () => Iterable<unknown>;
  /** Default 1 MiB. */
  readonly slackBytes?: number;
}

/**
 * A file of lines that only grows at its end, and is written anew (temporary file, fsync, rename, fsync of the
 * folder) when it is more than twice the state: so it is never larger than that, and 1 MiB. What `append` has resolved
 * for is on the disk, also after kill -9 or a power failure. One process at a time.
 */
export class Journal {
  readonly #path: string;
  readonly #options: JournalOptions;
  #file: FileHandle | undefined;
  #bytes = 0;
  #link = FIRST_LINK;
  /** Size after which it is written anew. */
  #limitBytes = 0;

  private constructor(path: string, options: JournalOptions) {
    this.#path = path;
    this.#options = options;
  }

  /** @throws PatchVdiError `image` when it is damaged; `space` | `sink` when it cannot be made */
  static async open(
    path: string,
    options: JournalOptions,
  ): Promise<{ readonly journal: Journal; readonly torn: TornEnd | undefined }> {
    const journal = new Journal(path, options);
    await rm(journal.#newPath, { force: true });
    let torn: TornEnd | undefined;
    if (await exists(path)) torn = await journal.#read();
    else await journal.#rewrite();
    await journal.#keepReserve();
    return { journal, torn };
  }

  get #newPath(): string {
    return `${this.#path}.new`;
  }

  async #read(): Promise<TornEnd | undefined> {
    const { bytes, lines, link, torn } = await readJournal(this.#path, this.#options.accept);
    // It got its name with its first lines in it.
    if (lines === 0) throw damagedJournal(this.#path, { line: 1, offset: 0 }, 'no line', 'the first line');
    this.#file = await open(this.#path, 'r+');
    if (torn !== undefined) {
      await this.#file.truncate(bytes);
      await this.#file.sync();
    }
    this.#bytes = bytes;
    this.#link = link;
    // How large the state in it is shows when it is written anew for the first time.
    this.#limitBytes = this.#slackBytes;
    return torn;
  }

  get #slackBytes(): number {
    return this.#options.slackBytes ?? SLACK_BYTES;
  }

  /**
   * Adds a line and stores it. After an error the file is as it was before, or is written anew with the next line.
   *
   * @param value as JSON; the snapshot does not have it yet
   * @param isCleanup when the disk is full, this may use the reserve: what undoes a failed change must not fail as well
   * @throws PatchVdiError `space` | `sink`
   */
  async append(value: unknown, isCleanup = false): Promise<void> {
    try {
      await this.#append(value);
    } catch (error) {
      if (!isCleanup || !isPatchVdiError(error) || error.kind !== 'space') throw error;
      await rm(this.#reservePath, { force: true });
      await this.#append(value);
    }
  }

  /** Space that is kept for bad times. When there is none for it, there will be later. */
  async #keepReserve(): Promise<void> {
    try {
      await writeFile(this.#reservePath, new Uint8Array(RESERVE_BYTES).fill(0x2e), {
        flag: 'wx',
        mode: 0o600,
      });
    } catch (error) {
      if (systemErrorCode(error) === 'EEXIST') return;
      await rm(this.#reservePath, { force: true });
      trace('pool', () => `the journal has no reserve: ${String(error)}`);
    }
  }

  get #reservePath(): string {
    return `${this.#path}.reserve`;
  }

  async #append(value: unknown): Promise<void> {
    if (this.#file === undefined) await this.#rewrite();
    const { text, link } = encodeLine(this.#link, value);
    const line = Buffer.from(text);
    if (line.length > MAX_LINE_BYTES) throw tooLong(this.#path, line.length);
    const file = this.#file;
    try {
      await writeAll(file, line, this.#bytes);
      await file?.datasync();
    } catch (cause) {
      await this.#takeBack();
      throw writeFailure(this.#path, this.#bytes, cause);
    }
    this.#bytes += line.length;
    this.#link = link;
  }

  /** Whether it should be written anew now that the last line is in the state. */
  get isLong(): boolean {
    return this.#bytes > this.#limitBytes;
  }

  /** Writes it anew. A failure does no harm: the old one goes on growing. */
  async compact(): Promise<void> {
    try {
      await this.#rewrite();
      await this.#keepReserve();
    } catch (error) {
      trace('pool', () => `the journal could not be written anew: ${String(error)}`);
      this.#limitBytes = this.#bytes + this.#slackBytes;
    }
  }

  /**
   * Part of a line may stand in the file, or all of it, in memory or on the disk. Cut off and stored, or else nothing
   * is added to this file any more: the next change begins a new one.
   */
  async #takeBack(): Promise<void> {
    try {
      await this.#file?.truncate(this.#bytes);
      await this.#file?.sync();
    } catch (error) {
      trace('pool', () => `the journal is given up: ${String(error)}`);
      await this.#file?.close().catch(() => undefined);
      this.#file = undefined;
    }
  }

  async #rewrite(): Promise<void> {
    let file: FileHandle | undefined;
    try {
      file = await open(this.#newPath, 'wx', 0o600);
      let bytes = 0;
      let link = FIRST_LINK;
      let text = '';
      const flush = async (): Promise<void> => {
        const chunk = Buffer.from(text);
        await writeAll(file, chunk, bytes);
        bytes += chunk.length;
        text = '';
      };
      for (const value of this.#options.snapshot()) {
        const line = encodeLine(link, value);
        text += line.text;
        link = line.link;
        if (text.length > SNAPSHOT_CHUNK_CHARACTERS) await flush();
      }
      await flush();
      await file.sync();
      await rename(this.#newPath, this.#path);
      await this.#file?.close();
      this.#file = file;
      this.#bytes = bytes;
      this.#link = link;
      this.#limitBytes = 2 * bytes + this.#slackBytes;
      await syncFolder(dirname(this.#path));
    } catch (cause) {
      if (this.#file !== file) await file?.close();
      await rm(this.#newPath, { force: true });
      throw writeFailure(this.#path, 0, cause);
    }
  }

  async close(): Promise<void> {
    await this.#file?.close();
    this.#file = undefined;
  }
}

/** What is written must be what a start can read. */
function tooLong(path: string, bytes: number): PatchVdiError {
  return new PatchVdiError('space', 'a change of the state of the pool is too large', {
    context: { path, found: describeBytes(bytes), expected: `at most ${describeBytes(MAX_LINE_BYTES)}` },
  });
}

async function writeAll(file: FileHandle | undefined, bytes: Buffer, position: number): Promise<void> {
  let written = 0;
  while (file !== undefined && written < bytes.length) {
    const result = await file.write(bytes, written, bytes.length - written, position + written);
    written += result.bytesWritten;
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return false;
    throw error;
  }
}
