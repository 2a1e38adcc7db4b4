import { link, mkdir, open, readdir, readFile, rename, rm, stat, unlink } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { join, resolve } from 'node:path';
import { invariant, PatchVdiError, systemErrorCode } from '../errors.js';
import { writeFailure } from '../io/system-errors.js';
import { trace } from '../trace.js';
import { isAlive, ownLife, PROCESS_LIFE } from './process-life.js';

/** Hidden: who else reads the folder takes every name for a UUID. */
const MARKER_PREFIX = '.patch-vdi-began-';
const TEMPORARY_PREFIX = '.patch-vdi-tmp-';
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const MARKER = /^(\S+) (\S+)\n$/;
/** In a marker instead of the life of a process: nobody runs it any more, and the end is not known. */
const STOPPED = 'stopped';

export type AppliedState =
  | { readonly kind: 'fresh' | 'applied' | 'running' }
  /** `beganAt`: ISO 8601, or `unknown`. */
  | { readonly kind: 'unfinished'; readonly beganAt: string };

/** An apply that did not come to its own end: the patch may have run in part. */
export interface UnfinishedApply {
  /** Of the patch. */
  readonly uuid: string;
  /** ISO 8601, or `unknown`. */
  readonly beganAt: string;
}

/**
 * The folder that tells what was applied on this host: one file for each patch, by its UUID, with what `info` printed
 * (XAPI's /var/patch/applied). Before a patch is run, a marker says that it began; it goes when the patch has
 * come to its own end. So one that is there without a living process is an apply that was killed or stopped, and the
 * patch may have run in part.
 */
export class AppliedFolder {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** Makes the folder when it is not there. @throws PatchVdiError `usage` */
  static async open(path: string): Promise<AppliedFolder> {
    const folder = resolve(path);
    try {
      await mkdir(folder, { recursive: true, mode: 0o755 });
    } catch (cause) {
      throw cannotUse(folder, cause);
    }
    return new AppliedFolder(folder);
  }

  async state(uuid: string): Promise<AppliedState> {
    const [record, marker] = [await timeOf(this.#record(uuid)), await this.#readMarker(uuid)];
    if (marker !== undefined) {
      if (marker.alive) return { kind: 'running' };
      // The record is written before the marker goes: a newer one means that it came to its end.
      if (record === undefined || record < marker.time)
        return { kind: 'unfinished', beganAt: marker.beganAt };
    }
    return { kind: record === undefined ? 'fresh' : 'applied' };
  }

  /**
   * Says that a patch is about to be run. What an earlier one left is replaced.
   *
   * @returns false when another process runs it
   * @throws PatchVdiError `space` | `sink` when it cannot be written
   */
  async begin(uuid: string): Promise<boolean> {
    const text = `${ownLife()} ${new Date().toISOString()}\n`;
    const temporary = await this.#writeTemporary(text);
    try {
      for (;;) {
        try {
          await link(temporary, this.#marker(uuid));
          await this.#syncFolder();
          return true;
        } catch (error) {
          if (systemErrorCode(error) !== 'EEXIST') throw writeFailure(this.#marker(uuid), 0, error);
        }
        const marker = await this.#readMarker(uuid);
        if (marker?.alive === true) return false;
        // One that stays is an error: trying again would never end.
        if (marker !== undefined) await this.#removeMarker(uuid);
      }
    } finally {
      await rm(temporary, { force: true });
    }
  }

  async #removeMarker(uuid: string): Promise<void> {
    try {
      await unlink(this.#marker(uuid));
    } catch (error) {
      if (systemErrorCode(error) !== 'ENOENT') throw writeFailure(this.#marker(uuid), 0, error);
    }
  }

  /** Keeps what `info` printed: the patch is applied. @throws PatchVdiError `space` | `sink` */
  async keep(uuid: string, infoText: string): Promise<void> {
    const temporary = await this.#writeTemporary(infoText);
    try {
      await rename(temporary, this.#record(uuid));
      await this.#syncFolder();
    } catch (cause) {
      await rm(temporary, { force: true });
      throw writeFailure(this.#record(uuid), 0, cause);
    }
  }

  /** The patch came to its own end, good or bad, and somebody was told. */
  async end(uuid: string): Promise<void> {
    await rm(this.#marker(uuid), { force: true });
    await this.#syncFolder();
  }

  /**
   * The patch was stopped before its own end: the marker stays, without the process, which may live on. Never rejects:
   * where it cannot be written the marker is still there, and says `running` until this process ends.
   */
  async leave(uuid: string): Promise<void> {
    try {
      const { beganAt = 'unknown' } = (await this.#readMarker(uuid)) ?? {};
      const temporary = await this.#writeTemporary(`${STOPPED} ${beganAt}\n`);
      try {
        await rename(temporary, this.#marker(uuid));
      } finally {
        await rm(temporary, { force: true });
      }
      await this.#syncFolder();
    } catch (error) {
      trace('host', () => `the marker of ${uuid} stays as it was: ${String(error)}`);
    }
  }

  #record(uuid: string): string {
    invariant(UUID.test(uuid), 'the UUID of a patch was checked when its info was parsed');
    return join(this.#folder, uuid);
  }

  #marker(uuid: string): string {
    invariant(UUID.test(uuid), 'the UUID of a patch was checked when its info was parsed');
    return join(this.#folder, `${MARKER_PREFIX}${uuid}`);
  }

  async #readMarker(uuid: string): Promise<{ alive: boolean; beganAt: string; time: number } | undefined> {
    const path = this.#marker(uuid);
    const time = await timeOf(path);
    if (time === undefined) return undefined;
    const [, life, beganAt = 'unknown'] = MARKER.exec(await readFile(path, 'utf8').catch(() => '')) ?? [];
    const alive = life !== undefined && PROCESS_LIFE.test(life) && isAlive(life);
    return { alive, beganAt, time };
  }

  async #writeTemporary(text: string): Promise<string> {
    const path = join(this.#folder, `${TEMPORARY_PREFIX}${randomBytes(8).toString('hex')}`);
    try {
      const file = await open(path, 'wx', 0o644);
      try {
        await file.writeFile(text);
        await file.sync();
      } finally {
        await file.close();
      }
      return path;
    } catch (cause) {
      await rm(path, { force: true });
      throw writeFailure(path, 0, cause);
    }
  }

  async #syncFolder(): Promise<void> {
    const folder = await open(this.#folder, 'r');
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  }
}

/** Every apply that was killed or stopped before its end. They are told until the patch is applied again. */
export async function unfinishedApplies(folder: string): Promise<UnfinishedApply[]> {
  let names: string[];
  try {
    names = await readdir(folder);
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return [];
    throw cannotUse(folder, error);
  }
  const applied = await AppliedFolder.open(folder);
  const found: UnfinishedApply[] = [];
  for (const name of names) {
    const uuid = name.startsWith(MARKER_PREFIX) ? name.slice(MARKER_PREFIX.length) : '';
    if (!UUID.test(uuid)) continue;
    const state = await applied.state(uuid);
    if (state.kind === 'unfinished') found.push({ uuid, beganAt: state.beganAt });
  }
  return found;
}

function cannotUse(folder: string, cause: unknown): PatchVdiError {
  const found = cause instanceof Error ? cause.message : String(cause);
  return new PatchVdiError('usage', 'the folder of applied patches cannot be used', {
    context: { path: folder, found, expected: 'a folder' },
    cause,
  });
}

/** When a file was last written, in milliseconds; undefined when there is none. */
async function timeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).mtimeMs;
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
