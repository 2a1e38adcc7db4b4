import { spawn, type ChildProcess } from 'node:child_process';
import { PatchVdiError } from '../errors.js';
import { trace } from '../trace.js';
import type { ToolEnvironment } from './find.js';

/** What a patch is asked to do: its one argument. */
export type PatchCommand = 'info' | 'precheck' | 'apply';

/** Who runs a patch. */
export interface PatchUser {
  readonly uid: number;
  readonly gid: number;
}

/** "nobody" of every distribution that hosts run: owns nothing, may do nothing. */
export const NOBODY: PatchUser = { uid: 65_534, gid: 65_534 };

export interface RunPatchOptions {
  /** The folder that the patch lies in, and in which it runs; `user` must be able to enter it, but not its parents. */
  readonly folder: string;
  /** Its name in there: an executable file that nothing writes to any more. */
  readonly file: string;
  readonly command: PatchCommand;
  readonly environment: Pick<ToolEnvironment, 'searchPath'>;
  /** Only root can run it as somebody else. Undefined: as this process. */
  readonly user?: PatchUser | undefined;
  /** After that all of its processes are killed. */
  readonly timeoutMilliseconds: number;
  /** Of standard output and standard error together; more is an error. */
  readonly outputLimitBytes: number;
  readonly abortSignal?: AbortSignal | undefined;
}

/** How the patch ended. Either `exitCode` or `signal` is set. */
export interface PatchRun {
  readonly exitCode: number | undefined;
  readonly signal: string | undefined;
  /** Not to be trusted, and perhaps no UTF-8 (then with replacement characters). */
  readonly stdout: string;
  readonly stderr: string;
  /** Why it was killed; undefined when it ended by itself. */
  readonly stopped: 'timeout' | 'output' | undefined;
}

/** How long its pipes may stay open when all of its processes that we can reach are dead. */
const DRAIN_MILLISECONDS = 2000;

/** The leader's group: everything that it started and that has not left the group. */
function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // ESRCH: nothing of it is left, which is what we want. (EPERM cannot be: we are root, or it is ours.)
  }
}

/** Gathers output up to the limit. */
class Output {
  readonly #parts: [Buffer[], Buffer[]] = [[], []];
  #bytes = 0;
  readonly #limit: number;
  readonly #onOverflow: () => void;

  constructor(limit: number, onOverflow: () => void) {
    this.#limit = limit;
    this.#onOverflow = onOverflow;
  }

  take(stream: 0 | 1, bytes: Buffer): void {
    const room = this.#limit - this.#bytes;
    this.#bytes += Math.min(bytes.length, room);
    if (room > 0) this.#parts[stream].push(bytes.subarray(0, room));
    if (bytes.length > room) this.#onOverflow();
  }

  text(stream: 0 | 1): string {
    return Buffer.concat(this.#parts[stream]).toString('utf8');
  }
}

function start(options: RunPatchOptions): ChildProcess {
  const { folder, file, command, environment, user } = options;
  return spawn(`./${file}`, [command], {
    // The folder is entered before the user is changed: its parents may be closed to that user.
    cwd: folder,
    // Nothing else is inherited: no secret of the server's, no locale, no proxy.
    env: { PATH: environment.searchPath.join(':'), LC_ALL: 'C', TZ: 'UTC', HOME: '/', SHELL: '/bin/sh' },
    stdio: ['ignore', 'pipe', 'pipe'],
    // A session and a group of its own, so that it can be killed with all that it started.
    detached: true,
    ...(user === undefined ? {} : { uid: user.uid, gid: user.gid }),
  });
}

/**
 * Runs a patch, whose signature must have been verified, with one command. Whatever happens, every process of its
 * group is dead when this resolves. What is *not* taken from it: the network, and reading what everybody may read; a
 * process that leaves the group (setsid) outlives it.
 *
 * @throws PatchVdiError `tool` when it cannot be started (no such interpreter, a folder mounted noexec),
 *   `interrupted` on abort
 */
export async function runPatch(options: RunPatchOptions): Promise<PatchRun> {
  const { command, timeoutMilliseconds, outputLimitBytes, abortSignal } = options;
  abortSignal?.throwIfAborted();
  const child = start(options);
  let stopped: PatchRun['stopped'];
  const stop = (reason: PatchRun['stopped']): void => {
    stopped ??= reason;
    killGroup(child);
  };
  const output = new Output(outputLimitBytes, () => stop('output'));
  child.stdout?.on('data', (bytes: Buffer) => output.take(0, bytes));
  child.stderr?.on('data', (bytes: Buffer) => output.take(1, bytes));
  const timer = setTimeout(() => stop('timeout'), timeoutMilliseconds);
  const onAbort = (): void => killGroup(child);
  abortSignal?.addEventListener('abort', onAbort);
  try {
    const { exitCode, signal } = await ended(child);
    if (abortSignal?.aborted === true) {
      throw new PatchVdiError('interrupted', 'the patch was stopped', { cause: abortSignal.reason });
    }
    trace('tools', () => `patch ${command} ended: ${signal ?? `exit ${exitCode}`}`);
    return { exitCode, signal, stdout: output.text(0), stderr: output.text(1), stopped };
  } finally {
    clearTimeout(timer);
    abortSignal?.removeEventListener('abort', onAbort);
  }
}

/** Waits for the leader, kills what it left behind, and takes what is still in the pipes. */
function ended(
  child: ChildProcess,
): Promise<{ readonly exitCode: number | undefined; readonly signal: string | undefined }> {
  return new Promise((resolve, reject) => {
    let drain: NodeJS.Timeout | undefined;
    child.once('error', (cause) => {
      clearTimeout(drain);
      reject(
        new PatchVdiError('tool', 'the patch could not be started', {
          context: { operation: 'run the patch', found: cause.message, expected: 'an executable program' },
          hint: 'is the interpreter in its first line there, and the folder of temporary files not mounted noexec?',
          cause,
        }),
      );
    });
    child.once('exit', (code, signal) => {
      killGroup(child);
      // A process that left the group may hold the pipes open: it is not waited for.
      drain = setTimeout(() => {
        child.stdout?.destroy();
        child.stderr?.destroy();
      }, DRAIN_MILLISECONDS);
      child.once('close', () => {
        clearTimeout(drain);
        resolve({ exitCode: code ?? undefined, signal: signal ?? undefined });
      });
    });
  });
}
