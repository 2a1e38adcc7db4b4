import { rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { geteuid } from 'node:process';
import { isPatchVdiError, PatchVdiError } from '../errors.js';
import { Image } from '../inspect/image.js';
import { openImage } from '../inspect/open-image.js';
import { validatePolicy, type SignaturePolicy, type VerifiedSignature } from '../signature/verifier.js';
import type { ToolEnvironment } from '../tools/find.js';
import { openMountHolder, type MountHolder } from '../tools/mount-holder.js';
import { NOBODY, type PatchCommand } from '../tools/run-patch.js';
import { runInMount, type RunInMount } from '../tools/run-in-mount.js';
import { CLEAR_TEXT_FILE, takeClearText, type ClearText } from './clear-text.js';
import { DEFAULT_LIMITS, KEPT_OUTPUT, type HostLimits } from './limits.js';
import { requireHealthy, requireMountable } from './mountable.js';
import { copyDisk } from './private-copy.js';
import { makeWorkFolder } from './work-folder.js';

/** What every patch says about itself; who parses it may know more. */
export interface PatchIdentity {
  /** Lower case, 8-4-4-4-12. */
  readonly uuid: string;
}

/** The steps of a precheck or an apply, in their order. */
export type HostPhase = 'copy' | 'check' | 'mount' | 'verify' | 'info' | 'precheck' | 'apply' | 'clean up';

/** Where a precheck or an apply is, for people. */
export interface HostProgress {
  readonly phase: HostPhase;
  /** With both, how far `copy` and `verify` are. */
  readonly bytes?: number | undefined;
  readonly totalBytes?: number | undefined;
}

/** A raw copy that nobody else has, writes to or will read: it is mounted as it is, and stays its owner's. */
export interface RawCopy {
  /** Absolute. */
  readonly rawCopy: string;
}

/** The patch VDI, who may have signed what is in it, and where its private copy goes. */
export interface MountedPatchOptions<Info extends PatchIdentity> {
  /** A path, or an opened image, which stays the caller's: a private copy of it is made. Or such a copy. */
  readonly image: string | Image | RawCopy;
  /** Who may have signed. A detached signature has no clear text, so there is none. */
  readonly policy: Omit<SignaturePolicy, 'detachedSignature'>;
  readonly environment: ToolEnvironment;
  /** Where the private copy goes, with room for the whole disk; mount point and keyrings, too. */
  readonly scratchFolder: string;
  /** Of the file `patch`, lower-case hex: no other one is taken, whoever has signed it. Undefined: any. */
  readonly expectedSha256?: string | undefined;
  /** What `info` printed. @throws PatchVdiError when it is no such document */
  readonly parseInfo: (xml: string) => Info;
  readonly limits?: Partial<HostLimits> | undefined;
  /** Also ends a running patch: by SIGTERM, after a grace by SIGKILL. */
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: HostProgress) => void) | undefined;
  /** What could not be cleaned up, for people. */
  readonly onWarning?: ((text: string) => void) | undefined;
}

/** A verified patch that can be run. */
export interface MountedPatch<Info extends PatchIdentity> {
  readonly info: Info;
  /** As it was printed. */
  readonly infoText: string;
  readonly signatures: readonly VerifiedSignature[];
  /** Runs its clear text. @throws PatchVdiError `tool`, `interrupted` */
  run(command: Exclude<PatchCommand, 'info'>): Promise<RunInMount>;
}

/** Where a host's own programs are, whatever ours are; the last one is XenServer's. */
const PATCH_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/xensource/bin';

/** @throws PatchVdiError `usage` */
export function requireRoot(): void {
  if (geteuid?.() === 0) return;
  throw new PatchVdiError('usage', 'a patch can only be applied by root', {
    context: { operation: 'mount the patch', found: `user ${geteuid?.()}`, expected: 'user 0' },
    hint: 'patch-vdi verify and patch-vdi extract work for every user',
  });
}

function runner(
  holder: MountHolder,
  clearText: ClearText,
  limits: HostLimits,
  signal: AbortSignal | undefined,
): (command: PatchCommand) => Promise<RunInMount> {
  const { folder } = clearText;
  // Nothing else is inherited. The spare room of the disk is there for what the patch unpacks.
  const variables = { PATH: PATCH_PATH, LC_ALL: 'C', TZ: 'UTC', HOME: '/', SHELL: '/bin/sh', TMPDIR: folder };
  return (command) =>
    runInMount({
      holder,
      folder,
      // The way to it is closed to nobody; scripts of the others may leave their folder and look for themselves.
      program: [command === 'info' ? `./${CLEAR_TEXT_FILE}` : join(folder, CLEAR_TEXT_FILE), command],
      variables,
      user: command === 'info' ? NOBODY : undefined,
      timeoutMilliseconds: limits[`${command}Milliseconds`],
      graceMilliseconds: limits.graceMilliseconds,
      keep: KEPT_OUTPUT[command],
      oneOutput: command === 'apply',
      abortSignal: signal,
    });
}

async function askInfo(run: (command: PatchCommand) => Promise<RunInMount>): Promise<string> {
  const { exitCode, signal, stdout, stderr, timedOut, droppedBytes } = await run('info');
  const ending = timedOut ? 'no end in time' : (signal ?? `exit code ${exitCode}`);
  if (exitCode === 0 && !timedOut && droppedBytes === 0) return stdout;
  throw new PatchVdiError('upload', 'the patch does not say what it is', {
    context: {
      operation: 'run the patch with info',
      found: [droppedBytes > 0 ? 'output without end' : ending, stderr.trim(), stdout.trim()]
        .join('\n')
        .trim()
        .slice(0, 2000),
      expected: 'exit code 0 and <info uuid="…"/>',
    },
    ...(exitCode === 2 ? { hint: 'exit code 2 of a script may mean DOS line endings' } : {}),
    leftBehind: 'nothing: neither precheck nor apply was run',
  });
}

async function copyOf(
  { image, signal, onProgress }: MountedPatchOptions<PatchIdentity>,
  path: string,
): Promise<string> {
  if (typeof image === 'object' && 'rawCopy' in image) return resolve(image.rawCopy);
  const opened = typeof image === 'string' ? await openImage(image, { signal }) : image;
  try {
    onProgress?.({ phase: 'copy' });
    await copyDisk(opened, path, {
      signal,
      onProgress: (bytes, totalBytes) => onProgress?.({ phase: 'copy', bytes, totalBytes }),
    });
    requireHealthy(opened.name, opened.findings);
    return path;
  } finally {
    if (typeof image === 'string') await opened.close();
  }
}

function nameOf({ image }: MountedPatchOptions<PatchIdentity>): string {
  if (typeof image === 'string') return image;
  return 'rawCopy' in image ? image.rawCopy : image.name;
}

function requireExpected(path: string, found: string, expected: string | undefined): void {
  if (expected === undefined || expected === found) return;
  throw new PatchVdiError('signature', 'the image holds another patch than it should', {
    context: { path, found: `SHA-256 ${found}`, expected: `SHA-256 ${expected}` },
  });
}

/**
 * Makes a private copy of an image, checks it, mounts it where nobody else sees it, verifies the patch in it, asks it
 * what it is, lets `use` run it, and cleans up, whatever happens: also when this process is killed, nothing but the copy
 * may stay, which {@link sweepHost} removes.
 *
 * @throws PatchVdiError `usage` (no root, a policy that cannot be used), `space`, `image`, `signature`, `upload` (a
 *   patch that does not say what it is), `tool`, `interrupted`; whatever `use` throws
 */
export async function withMountedPatch<Info extends PatchIdentity, T>(
  options: MountedPatchOptions<Info>,
  use: (patch: MountedPatch<Info>) => Promise<T>,
): Promise<T> {
  requireRoot();
  const { policy, environment, scratchFolder, parseInfo, signal, onProgress, onWarning } = options;
  validatePolicy(policy);
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const workFolder = await makeWorkFolder(scratchFolder);
  let holder: MountHolder | undefined;
  try {
    const copy = await copyOf(options, join(workFolder, 'disk'));
    onProgress?.({ phase: 'check' });
    const seen = await requireMountable(copy, nameOf(options), environment, signal);
    requireExpected(nameOf(options), seen.sha256, options.expectedSha256);
    onProgress?.({ phase: 'mount' });
    holder = await openMountHolder({ imagePath: copy, workFolder, environment, abortSignal: signal });
    onProgress?.({ phase: 'verify' });
    const clearText = await takeClearText({
      holder,
      policy,
      environment: { ...environment, temporaryFolder: workFolder },
      seen,
      signal,
      onProgress: (bytes, totalBytes) => onProgress?.({ phase: 'verify', bytes, totalBytes }),
    });
    const run = runner(holder, clearText, limits, signal);
    onProgress?.({ phase: 'info' });
    const infoText = await askInfo(run);
    const info = parseInfo(infoText);
    return await use({
      info,
      infoText,
      signatures: clearText.signatures,
      run(command) {
        onProgress?.({ phase: command });
        return run(command);
      },
    });
  } catch (error) {
    if (isPatchVdiError(error) || signal?.aborted !== true) throw error;
    throw new PatchVdiError('interrupted', 'the patch was stopped', { cause: signal.reason });
  } finally {
    onProgress?.({ phase: 'clean up' });
    const remains = await holder?.close();
    if (remains !== undefined) onWarning?.(`left behind: ${remains}`);
    await rm(workFolder, { recursive: true, force: true });
  }
}
