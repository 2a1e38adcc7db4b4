import { spawn, type ChildProcess } from 'node:child_process';
import { PatchVdiError } from '../errors.js';
import { trace } from '../trace.js';
import { requireProgram } from './find.js';
import { RUN_SCRIPT } from './holder-script.js';
import { KeptOutput, type KeptBytes } from './kept-output.js';
import type { MountHolder } from './mount-holder.js';
import type { PatchUser } from './run-patch.js';

export interface RunInMountOptions {
  readonly holder: MountHolder;
  /** Absolute, in the namespace: where it runs. */
  readonly folder: string;
  /** The program and its arguments; looked for in `folder` and not on a path. */
  readonly program: readonly string[];
  /** All of its environment. */
  readonly variables: Readonly<Record<string, string>>;
  /** Undefined: root. */
  readonly user?: PatchUser | undefined;
  /** Then it gets SIGTERM, and when it still lives after the grace, it is killed with all that it started. */
  readonly timeoutMilliseconds: number;
  readonly graceMilliseconds?: number | undefined;
  /** Of each output. It may print as much as it likes. */
  readonly keep: KeptBytes;
  /** Standard error goes where standard output goes. */
  readonly oneOutput: boolean;
  readonly abortSignal?: AbortSignal | undefined;
}

/** How it ended. Either `exitCode` or `signal` is set. */
export interface RunInMount {
  readonly exitCode: number | undefined;
  readonly signal: string | undefined;
  /** Not to be trusted, and perhaps no UTF-8 (then with replacement characters). */
  readonly stdout: string;
  readonly stderr: string;
  /** Of both, what was not kept. */
  readonly droppedBytes: number;
  readonly timedOut: boolean;
}

const GRACE_MILLISECONDS = 10_000;
/** How long its pipes may stay open when all that we can reach is dead. */
const DRAIN_MILLISECONDS = 2000;

function userArguments(holder: MountHolder, user: PatchUser | undefined): string[] {
  if (user === undefined) return [];
  const setpriv = requireProgram('setpriv', holder.environment);
  return [setpriv, `--reuid=${user.uid}`, `--regid=${user.gid}`, '--clear-groups', '--no-new-privs', '--'];
}

function start(options: RunInMountOptions): ChildProcess {
  const { holder, folder, program, variables, user, oneOutput } = options;
  const sh = requireProgram('sh', holder.environment);
  const words = [holder.tokenPath, folder, oneOutput ? 'together' : 'apart', ...userArguments(holder, user)];
  const script = ['--', sh, '-c', RUN_SCRIPT, 'patch-vdi', ...words, ...program];
  const nsenter = requireProgram('nsenter', holder.environment);
  return spawn(nsenter, [`--mount=${holder.namespacePath}`, ...script], {
    cwd: '/',
    env: variables,
    stdio: ['ignore', 'pipe', 'pipe'],
    // A session of its own: what a terminal sends to us is not for it, and it can be asked to end as a group.
    detached: true,
  });
}

function askToEnd(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGTERM');
  } catch {
    // ESRCH: it has just ended, which is what was asked.
  }
}

/**
 * Runs a program in the namespace of a mount. Whatever happens, nothing that it started, in whatever way, lives in the
 * namespace when this resolves.
 *
 * @throws PatchVdiError `tool` when a program of ours is missing or cannot be started, `interrupted` on abort
 */
export async function runInMount(options: RunInMountOptions): Promise<RunInMount> {
  const { holder, abortSignal, timeoutMilliseconds, graceMilliseconds = GRACE_MILLISECONDS } = options;
  abortSignal?.throwIfAborted();
  const child = start(options);
  const outputs = [new KeptOutput(options.keep), new KeptOutput(options.keep)] as const;
  child.stdout?.on('data', (bytes: Buffer) => outputs[0].take(bytes));
  child.stderr?.on('data', (bytes: Buffer) => outputs[1].take(bytes));
  let grace: NodeJS.Timeout | undefined;
  let ending: Promise<void> | undefined;
  const endAll = (): Promise<void> => (ending ??= holder.endAll());
  const stop = (): void => {
    askToEnd(child);
    // What fails here fails again when its end is awaited.
    grace ??= setTimeout(() => void endAll().catch(() => undefined), graceMilliseconds);
  };
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    stop();
  }, timeoutMilliseconds);
  abortSignal?.addEventListener('abort', stop);
  try {
    const { exitCode, signal } = await ended(child, () => clearTimeout(grace), endAll);
    if (abortSignal?.aborted === true) {
      throw new PatchVdiError('interrupted', 'the patch was stopped', { cause: abortSignal.reason });
    }
    trace('tools', () => `${options.program.join(' ')} ended: ${signal ?? `exit ${exitCode}`}`);
    const [stdout, stderr] = [outputs[0].text(), outputs[1].text()];
    const droppedBytes = outputs[0].droppedBytes + outputs[1].droppedBytes;
    return { exitCode, signal, stdout, stderr, droppedBytes, timedOut };
  } finally {
    clearTimeout(timer);
    clearTimeout(grace);
    abortSignal?.removeEventListener('abort', stop);
  }
}

interface Ending {
  readonly exitCode: number | undefined;
  readonly signal: string | undefined;
}

/** Waits for the program, kills what it left behind, and takes what is still in the pipes. */
async function ended(child: ChildProcess, onExit: () => void, endAll: () => Promise<void>): Promise<Ending> {
  const closed = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const ending = await new Promise<Ending>((resolve, reject) => {
    child.once('error', (cause) => {
      reject(new PatchVdiError('tool', 'the patch could not be started', { cause }));
    });
    child.once('exit', (code, signal) =>
      resolve({ exitCode: code ?? undefined, signal: signal ?? undefined }),
    );
  });
  onExit();
  await endAll();
  const drain = setTimeout(() => {
    child.stdout?.destroy();
    child.stderr?.destroy();
  }, DRAIN_MILLISECONDS);
  await closed;
  clearTimeout(drain);
  return ending;
}
