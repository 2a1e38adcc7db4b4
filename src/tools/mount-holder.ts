import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, fstatSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { PatchVdiError, systemErrorCode } from '../errors.js';
import { trace } from '../trace.js';
import { requireProgram, type ToolEnvironment } from './find.js';
import { END_ALL_SCRIPT, HOLDER_SCRIPT, UNSHARE_SCRIPT } from './holder-script.js';
import { temporaryFailure } from './private-folder.js';
import { runTool } from './run.js';

export interface MountRequest {
  /** A raw ext2, ext3 or ext4 image that was checked, and that nobody else writes to; it must not begin with `-`. */
  readonly imagePath: string;
  /** Absolute; private (0700), with a name that nothing else has, and an empty folder {@link MOUNT_FOLDER} in it. */
  readonly workFolder: string;
  readonly environment: ToolEnvironment;
  readonly abortSignal?: AbortSignal | undefined;
}

/** The mount point in the work folder. */
export const MOUNT_FOLDER = 'mnt';
/** There as long as programs may be started in the namespace. */
const TOKEN_FILE = 'open';

/** All that the scripts and their callers run. */
const PROGRAMS = [
  'sh',
  'unshare',
  'nsenter',
  'mount',
  'umount',
  'setpriv',
  'stat',
  'grep',
  'rm',
  'sleep',
  'true',
];

/** Mounting replays nothing and reads little. */
const MOUNT_MILLISECONDS = 2 * 60_000;
/** Killing takes some scans of /proc. */
const END_MILLISECONDS = 2 * 60_000;
/** Unmounting writes back what is in memory. */
const CLOSE_MILLISECONDS = 15 * 60_000;
/** The kernel gives a loop device back a moment after the last use. */
const RELEASE_MILLISECONDS = 10_000;
const MAX_WORDS_BYTES = 4096;

/** The output of the holder, line by line. */
class Lines {
  #text = '';
  #ended = false;
  #wake: (() => void) | undefined;

  constructor(child: ChildProcess) {
    child.stdout?.on('data', (bytes: Buffer) => {
      // Ours says a few words; more is not kept.
      this.#text = (this.#text + bytes.toString('latin1')).slice(0, MAX_WORDS_BYTES);
      this.#wake?.();
    });
    child.once('close', () => {
      this.#ended = true;
      this.#wake?.();
    });
  }

  /** The next line, or undefined when there is none in time. */
  async next(milliseconds: number): Promise<string | undefined> {
    const limit = performance.now() + milliseconds;
    for (;;) {
      const end = this.#text.indexOf('\n');
      if (end !== -1) {
        const line = this.#text.slice(0, end);
        this.#text = this.#text.slice(end + 1);
        return line;
      }
      const left = limit - performance.now();
      if (this.#ended || left <= 0) return undefined;
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        timer = setTimeout(resolve, left);
      });
      clearTimeout(timer);
    }
  }
}

/** Resolves to false when the process has not ended in time. */
async function endedWithin(child: ChildProcess, milliseconds: number): Promise<boolean> {
  if (child.exitCode !== null || child.signalCode !== null) return true;
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), milliseconds);
  try {
    await once(child, 'exit', { signal: stop.signal });
    return true;
  } catch {
    // Only the time limit can end it so.
    return false;
  } finally {
    clearTimeout(timer);
  }
}

/**
 * An image, mounted in a mount namespace of its own: the host and everybody else on it never see the mount, and what
 * runs in the namespace sees the host as it is besides (its mounts come and go there, too). A small shell program holds
 * it, for as long as this process lives: should it be killed, all that runs in the namespace is killed, and mount, loop
 * device and work folder go without a next start.
 *
 * Whoever opened it closes it.
 */
export class MountHolder {
  /** The mounted root folder as this process and its children reach it; gone after `close`. */
  readonly outside: string;
  /** The same as programs in the namespace see it. */
  readonly inside: string;
  /** Of the namespace, as children of this process reach it. */
  readonly namespacePath: string;
  readonly tokenPath: string;
  readonly environment: ToolEnvironment;
  readonly #child: ChildProcess;
  readonly #lines: Lines;
  readonly #descriptors: { readonly root: number; readonly namespace: number };
  readonly #namespace: string;
  readonly #mark: string;
  readonly #deviceNumber: string;
  readonly #imagePath: string;
  #closing: Promise<string | undefined> | undefined;

  /** @internal */
  constructor(request: MountRequest, child: ChildProcess, lines: Lines, deviceNumber: string) {
    const { workFolder, environment, imagePath } = request;
    const namespace = openSync(`/proc/${child.pid}/ns/mnt`, 'r');
    const root = openSync(`/proc/${child.pid}/root${join(workFolder, MOUNT_FOLDER)}`, 'r');
    this.#descriptors = { root, namespace };
    this.#namespace = fstatSync(namespace, { bigint: true }).ino.toString();
    // Through descriptors of ours: a process number may come to mean another process.
    this.outside = `/proc/${process.pid}/fd/${root}`;
    this.namespacePath = `/proc/${process.pid}/fd/${namespace}`;
    this.inside = join(workFolder, MOUNT_FOLDER);
    this.tokenPath = join(workFolder, TOKEN_FILE);
    this.environment = environment;
    this.#mark = basename(workFolder);
    this.#child = child;
    this.#lines = lines;
    this.#deviceNumber = deviceNumber;
    this.#imagePath = imagePath;
  }

  /** Kills everything that runs in the namespace, however it was started; resolves when it is dead. */
  async endAll(): Promise<void> {
    if (this.#child.stdin?.writable === true) {
      this.#child.stdin.write('end\n');
      if ((await this.#lines.next(END_MILLISECONDS)) === 'ended') return;
    }
    // The patch has killed the holder: then it is up to us.
    await this.#endAllOurselves();
  }

  async #endAllOurselves(): Promise<void> {
    const args = ['-c', END_ALL_SCRIPT, 'patch-vdi', this.#namespace, this.#mark, String(process.pid)];
    const { environment } = this;
    await runTool('sh', args, { environment, timeoutMilliseconds: END_MILLISECONDS });
  }

  /**
   * Kills what runs in the namespace, unmounts, gives the loop device back and removes the work folder. Idempotent.
   *
   * @returns what is left behind in spite of all, for people; undefined when nothing is
   */
  close(): Promise<string | undefined> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<string | undefined> {
    const { root, namespace } = this.#descriptors;
    try {
      closeSync(root);
      this.#child.stdin?.end();
      const ended = await endedWithin(this.#child, CLOSE_MILLISECONDS);
      if (!ended) this.#child.kill('SIGKILL');
      if (this.#child.exitCode !== 0) await this.#endAllOurselves();
    } finally {
      closeSync(namespace);
    }
    const limit = performance.now() + RELEASE_MILLISECONDS;
    while (this.#isAttached()) {
      if (performance.now() > limit) return `the block device ${this.#deviceNumber}, which is still in use`;
      await sleep(20);
    }
    trace('tools', () => `unmounted ${this.inside}`);
    return undefined;
  }

  #isAttached(): boolean {
    try {
      const file = `/sys/dev/block/${this.#deviceNumber}/loop/backing_file`;
      return readFileSync(file, 'utf8').startsWith(this.#imagePath);
    } catch (error) {
      if (systemErrorCode(error) === 'ENOENT') return false;
      throw error;
    }
  }
}

function cannotMount(request: MountRequest, words: string): PatchVdiError {
  return new PatchVdiError('image', 'the kernel does not mount the image', {
    context: {
      operation: 'mount the image',
      path: request.imagePath,
      found: words.trim().slice(0, 2000) || 'no message',
      expected: 'a file system that this kernel knows',
    },
    hint: 'the messages of the kernel (dmesg) may say more',
  });
}

/**
 * Mounts an image read-write (nosuid, nodev), in a mount namespace of its own. Needs root.
 *
 * @throws PatchVdiError `image` when the kernel does not take it, `tool` when a program is missing, `usage` | `space`
 *   for a work folder that cannot be written to; nothing is mounted then
 */
export async function openMountHolder(request: MountRequest): Promise<MountHolder> {
  const { imagePath, workFolder, environment, abortSignal } = request;
  const [sh = ''] = PROGRAMS.map((name) => requireProgram(name, environment));
  const tokenPath = join(workFolder, TOKEN_FILE);
  try {
    writeFileSync(tokenPath, '', { mode: 0o600 });
  } catch (cause) {
    throw temporaryFailure(tokenPath, cause);
  }
  abortSignal?.throwIfAborted();
  const words = [imagePath, join(workFolder, MOUNT_FOLDER), tokenPath, basename(workFolder), workFolder];
  const holder = ['--', sh, '-c', HOLDER_SCRIPT, 'patch-vdi', ...words];
  const child = spawn(sh, ['-c', UNSHARE_SCRIPT, 'patch-vdi', ...holder], {
    cwd: '/',
    env: { PATH: environment.searchPath.join(':'), LC_ALL: 'C', TZ: 'UTC' },
    stdio: ['pipe', 'pipe', 'pipe'],
    // A session of its own: what a terminal sends to us all is not for it.
    detached: true,
  });
  // How it ended is asked for; a write to one that is dead is no news.
  child.stdin?.on('error', () => undefined);
  let complaint = '';
  child.on('error', (error) => (complaint += error.message));
  child.stderr?.on('data', (bytes: Buffer) => {
    complaint = (complaint + bytes.toString('utf8')).slice(0, MAX_WORDS_BYTES);
  });
  const lines = new Lines(child);
  const answer = await lines.next(MOUNT_MILLISECONDS);
  const deviceNumber = /^mounted (\d+:\d+)$/.exec(answer ?? '')?.[1];
  if (deviceNumber === undefined) {
    child.stdin?.end();
    if (!(await endedWithin(child, END_MILLISECONDS))) child.kill('SIGKILL');
    throw cannotMount(request, complaint);
  }
  trace('tools', () => `mounted ${imagePath} (${deviceNumber}) in a namespace of its own`);
  try {
    return new MountHolder(request, child, lines, deviceNumber);
  } catch (error) {
    child.stdin?.end();
    await endedWithin(child, END_MILLISECONDS);
    throw error;
  }
}
