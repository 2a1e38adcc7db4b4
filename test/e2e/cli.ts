import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process';
import { closeSync, openSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import { makePipe } from './pipes.js';
import type { Workspace } from './workspace.js';

const REPOSITORY = resolve(import.meta.dirname, '../..');

/** The command line as a user gets it. */
export const CLI = join(REPOSITORY, 'dist/cli/main.js');

function newestSource(): { path: string; time: number } {
  const names = readdirSync(join(REPOSITORY, 'src'), { recursive: true, encoding: 'utf8' });
  const sources = names.filter((name) => name.endsWith('.ts')).map((name) => join('src', name));
  return [...sources, 'rolldown.config.mjs']
    .map((path) => ({ path, time: statSync(join(REPOSITORY, path)).mtimeMs }))
    .reduce((newest, candidate) => (candidate.time > newest.time ? candidate : newest));
}

function requireFreshBuild(): void {
  const newest = newestSource();
  const built = statSync(CLI, { throwIfNoEntry: false })?.mtimeMs;
  if (built === undefined) throw new Error(`${CLI} is not there: run "npm run build" first`);
  if (built < newest.time) throw new Error(`${newest.path} is newer than ${CLI}: run "npm run build" first`);
}

// When the module is loaded, so that every test of a file fails with the same clear words.
requireFreshBuild();

/** How a run of the command line ended. */
export interface Ended {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Empty when it went elsewhere. */
  readonly stdout: string;
  readonly stderr: string;
}

export interface StartOptions {
  /** A descriptor; default /dev/null. */
  readonly stdin?: number;
  /** A descriptor; default: kept for the result. */
  readonly stdout?: number;
  /** A descriptor; default: kept for the result. */
  readonly stderr?: number;
  /** Added to a small clean environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** A program and its arguments in front of node, such as strace. */
  readonly wrapper?: readonly string[];
}

export interface Started {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
}

function collect(stream: NodeJS.ReadableStream | null): () => string {
  const chunks: Buffer[] = [];
  stream?.on('data', (chunk: Buffer) => chunks.push(chunk));
  return () => Buffer.concat(chunks).toString('utf8');
}

/** Starts the command line with TMPDIR in the workspace. It does not outlive the test. */
export function startCli(work: Workspace, args: readonly string[], options: StartOptions = {}): Started {
  const [program = process.execPath, ...rest] = [...(options.wrapper ?? []), process.execPath, CLI, ...args];
  const stdio: StdioOptions = [options.stdin ?? 'ignore', options.stdout ?? 'pipe', options.stderr ?? 'pipe'];
  const env = { PATH: process.env['PATH'], HOME: work.folder, TMPDIR: work.tmp, ...options.env };
  const child = spawn(program, rest, { cwd: work.folder, stdio, env });
  onTestFinished(() => void child.kill('SIGKILL'));
  const stdout = collect(child.stdout);
  const stderr = collect(child.stderr);
  const ended = new Promise<Ended>((done, failed) => {
    child.once('error', failed);
    child.once('close', (exitCode, signal) => {
      done({ exitCode, signal, stdout: stdout(), stderr: stderr() });
    });
  });
  return { child, ended };
}

/** Programs that still run and have a path below `folder` among their arguments. */
export function processesUsing(folder: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((name) => {
      try {
        return [readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' ')];
      } catch {
        return [];
      }
    })
    .filter((commandLine) => commandLine.includes(`${folder}/`));
}

/** Whatever happened: no temporary file or folder, no half an output, no program of ours is left. */
export function expectNothingLeft(work: Workspace): void {
  expect(readdirSync(work.tmp), 'temporary files').toEqual([]);
  expect(
    work.outputs().filter((name) => name.endsWith('.tmp')),
    'unfinished outputs',
  ).toEqual([]);
  expect(processesUsing(work.tmp), 'programs').toEqual([]);
}

/** No stack trace, no control character but line ends, nothing wider than a terminal unless it is one word. */
export function expectCleanText(text: string): void {
  expect(text).not.toMatch(/^\s+at .*\.[cm]?[jt]s:\d+:\d+\)?$/m);
  expect(text).not.toMatch(/node:internal|UnhandledPromise|uncaught/i);
  expect(text).not.toMatch(/[^\P{Cc}\n]/u);
}

/** How the bytes come in or go out. */
export type Way = 'pipe' | 'redirection';

export interface RunOptions extends Omit<StartOptions, 'stdin' | 'stdout'> {
  readonly stdin?: { readonly path: string; readonly through: Way };
  readonly stdout?: { readonly path: string; readonly through: Way };
}

function exitOf(child: ChildProcess): Promise<void> {
  return new Promise((done) => child.once('close', () => done()));
}

/**
 * Runs the command line to its end and checks what must hold of every run: nothing left, no stack trace.
 * Pipes are real ones, with cat at the other end.
 */
export async function runCli(
  work: Workspace,
  args: readonly string[],
  options: RunOptions = {},
): Promise<Ended> {
  const { stdin, stdout, ...others } = options;
  const toClose: (() => void)[] = [];
  const helpers: Promise<void>[] = [];
  const opened = (path: string, flags: string): number => {
    const fd = openSync(path, flags);
    toClose.push(() => closeSync(fd));
    return fd;
  };
  const cat = (from: number, to: number): void => {
    helpers.push(exitOf(spawn('cat', [], { stdio: [from, to, 'ignore'] })));
  };
  let stdinFd: number | undefined;
  let stdoutFd: number | undefined;
  if (stdin !== undefined) {
    stdinFd = opened(stdin.path, 'r');
    if (stdin.through === 'pipe') {
      const pipe = makePipe();
      toClose.push(pipe.closeRead, pipe.closeWrite);
      cat(stdinFd, pipe.writeFd);
      stdinFd = pipe.readFd;
    }
  }
  if (stdout !== undefined) {
    stdoutFd = opened(stdout.path, 'w');
    if (stdout.through === 'pipe') {
      const pipe = makePipe();
      toClose.push(pipe.closeRead, pipe.closeWrite);
      cat(pipe.readFd, stdoutFd);
      stdoutFd = pipe.writeFd;
    }
  }
  const { ended } = startCli(work, args, {
    ...others,
    ...(stdinFd === undefined ? {} : { stdin: stdinFd }),
    ...(stdoutFd === undefined ? {} : { stdout: stdoutFd }),
  });
  for (const close of toClose) close();
  const result = await ended;
  await Promise.all(helpers);
  expectNothingLeft(work);
  if (others.env?.['NODE_DEBUG'] === undefined) expectCleanText(result.stderr);
  return result;
}

/** Runs a build that must succeed. */
export async function mustBuild(
  work: Workspace,
  args: readonly string[],
  options?: RunOptions,
): Promise<Ended> {
  const ended = await runCli(work, ['build', ...args], options);
  expect(ended, ended.stderr).toMatchObject({ exitCode: 0, signal: null });
  return ended;
}
