import type { Writable } from 'node:stream';
import { PatchVdiError } from '../errors.js';
import { trace } from '../trace.js';
import { requireProgram, type ToolEnvironment } from './find.js';

/** How a program ended. Either `exitCode` or `signal` is set. */
export interface ToolResult {
  readonly exitCode: number | undefined;
  /** The signal that ended it, e.g. `SIGKILL`. */
  readonly signal: string | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly environment: ToolEnvironment;
  /** Added to the clean environment (PATH, LC_ALL=C, TZ=UTC); nothing else is inherited. */
  readonly variables?: Readonly<Record<string, string>>;
  /** Working folder; `/` unless given, so that no program meets the user's files by a relative name. */
  readonly folder?: string;
  readonly abortSignal?: AbortSignal | undefined;
  /** A descriptor that the program gets as its standard input; it gets none unless given. */
  readonly inputFd?: number;
  /** Default 10 minutes: e2fsck of the largest image takes seconds. */
  readonly timeoutMilliseconds?: number;
}

/** A started program that is fed through `stdin`. */
export interface RunningTool {
  readonly stdin: Writable;
  /** Resolves when it has exited, however it did; rejects only with a {@link PatchVdiError}. */
  readonly finished: Promise<ToolResult>;
  kill(): void;
}

const DEFAULT_TIMEOUT_MILLISECONDS = 10 * 60 * 1000;
/** More output than this from any of our programs is a fault in itself. */
const MAX_OUTPUT_CHARACTERS = 4 * 1024 * 1024;

type Execa = typeof import('execa').execa;
let loading: Promise<Execa> | undefined;

/** execa is the largest module of the program: it is loaded once, when the first program runs. */
function loadExeca(): Promise<Execa> {
  loading ??= import('execa').then((module) => module.execa);
  return loading;
}

function execaOptions(options: RunOptions) {
  return {
    reject: false,
    extendEnv: false,
    env: { PATH: options.environment.searchPath.join(':'), LC_ALL: 'C', TZ: 'UTC', ...options.variables },
    cwd: options.folder ?? '/',
    timeout: options.timeoutMilliseconds ?? DEFAULT_TIMEOUT_MILLISECONDS,
    maxBuffer: MAX_OUTPUT_CHARACTERS,
    stripFinalNewline: false,
    ...(options.abortSignal === undefined ? {} : { cancelSignal: options.abortSignal }),
  } as const;
}

interface EndedProcess {
  readonly exitCode?: number | undefined;
  readonly signal?: string | undefined;
  readonly stdout?: string;
  readonly stderr?: string;
  readonly isCanceled?: boolean;
  readonly timedOut?: boolean;
  readonly isMaxBuffer?: boolean;
  readonly cause?: unknown;
}

function toResult(program: string, ended: EndedProcess, options: RunOptions): ToolResult {
  if (ended.isCanceled === true || options.abortSignal?.aborted === true) {
    throw new PatchVdiError('interrupted', `${program} was stopped`, { cause: options.abortSignal?.reason });
  }
  const stderr = ended.stderr ?? '';
  const fault =
    ended.timedOut === true
      ? 'did not end in time'
      : ended.isMaxBuffer === true
        ? 'printed without end'
        : undefined;
  const neverRan = ended.exitCode === undefined && ended.signal === undefined;
  if (fault !== undefined || neverRan) {
    throw new PatchVdiError('tool', `${program} ${fault ?? 'could not be started'}`, {
      context: { operation: `run ${program}`, found: stderr.slice(0, 2000) },
      cause: ended.cause,
    });
  }
  trace('tools', () => `${program} ended: ${ended.signal ?? `exit ${ended.exitCode}`} ${stderr.trim()}`);
  return { exitCode: ended.exitCode, signal: ended.signal, stdout: ended.stdout ?? '', stderr };
}

/**
 * Runs a program to its end, without a shell, with a clean environment.
 * An exit code other than 0 is returned, not thrown: only the wrapper of the program knows what it means.
 *
 * @throws PatchVdiError `tool` when it is missing, cannot start or does not end; `interrupted` on abort
 */
export async function runTool(
  program: string,
  args: readonly string[],
  options: RunOptions,
): Promise<ToolResult> {
  const path = requireProgram(program, options.environment);
  const execa = await loadExeca();
  trace('tools', () => `${path} ${args.join(' ')}`);
  // The types of execa end with descriptor 9; what it hands on to spawn is any.
  const stdin = (options.inputFd as 9 | undefined) ?? 'ignore';
  const ended = await execa(path, args, { ...execaOptions(options), stdin });
  return toResult(program, ended, options);
}

/**
 * Starts a program that is fed through its standard input. Its output is kept, at most 4 Mi characters.
 * It has no time limit unless one is given: an upload may take hours.
 */
export async function startTool(
  program: string,
  args: readonly string[],
  options: RunOptions,
): Promise<RunningTool> {
  const path = requireProgram(program, options.environment);
  const execa = await loadExeca();
  trace('tools', () => `${path} ${args.join(' ')} < upload`);
  const child = execa(path, args, { ...execaOptions({ timeoutMilliseconds: 0, ...options }), stdin: 'pipe' });
  const finished = child.then((ended) => toResult(program, ended, options));
  // The writer may look at the end much later than it comes; until then a rejection must not count as unhandled.
  finished.catch(() => undefined);
  return { stdin: child.stdin, finished, kill: () => void child.kill('SIGKILL') };
}

/**
 * Turns a result that is not a plain success into an error of kind `tool` with the program's own words.
 *
 * @param operation what the program was asked to do, as a verb phrase
 */
export function toolFailure(program: string, operation: string, result: ToolResult): PatchVdiError {
  const ending = result.signal === undefined ? `exit code ${result.exitCode}` : `ended by ${result.signal}`;
  const words = result.stderr.trim() || result.stdout.trim() || 'no message';
  return new PatchVdiError('tool', `${program} could not ${operation}`, {
    context: {
      operation,
      found: `${ending}: ${words.slice(0, 2000)}`,
      expected: 'exit code 0 and no message',
    },
    hint: 'patch-vdi doctor shows the versions in use; NODE_DEBUG=patch-vdi shows every call',
  });
}
