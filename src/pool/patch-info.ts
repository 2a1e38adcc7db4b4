import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import { geteuid } from 'node:process';
import type { ToolEnvironment } from '../tools/find.js';
import { NOBODY, runPatch, type PatchUser } from '../tools/run-patch.js';
import { KIB } from '../units.js';
import type { ParseInfo, PatchInfo } from './info-document.js';
import { PoolError } from './pool-error.js';

export interface InfoLimits {
  readonly timeoutMilliseconds: number;
  /** Standard output and error together. */
  readonly outputBytes: number;
}

/** "30 s and 64 KiB of output at most" (design, "Pool"). */
export const INFO_LIMITS: InfoLimits = { timeoutMilliseconds: 30_000, outputBytes: 64 * KIB };

/** The name of the clear text in its private folder; a patch that looks at its own name finds it there. */
export const CLEAR_TEXT_FILE = 'patch';

/** Root can be somebody else; everybody else can only be himself. */
function unprivilegedUser(): PatchUser | undefined {
  return geteuid?.() === 0 ? NOBODY : undefined;
}

/**
 * Asks a patch what it is: runs its clear text, which gpgv wrote and whose signature holds, with `info`. As root it is
 * run as nobody, who may neither write to it nor come into its folder from outside. The network and what everybody may
 * read are within its reach: it is signed by somebody that the pool trusts.
 *
 * @param folder private, with the clear text as {@link CLEAR_TEXT_FILE}
 * @throws PoolError INVALID_PATCH_WITH_LOG with what it said; PatchVdiError `tool` when it cannot be run, `upload` when
 *   what it says cannot be understood, `interrupted`
 */
export async function askPatch(
  folder: string,
  parseInfo: ParseInfo,
  environment: Pick<ToolEnvironment, 'searchPath'>,
  signal: AbortSignal | undefined,
  limits: InfoLimits = INFO_LIMITS,
): Promise<PatchInfo> {
  const user = unprivilegedUser();
  await chmod(join(folder, CLEAR_TEXT_FILE), user === undefined ? 0o500 : 0o555);
  await chmod(folder, user === undefined ? 0o700 : 0o755);
  const {
    exitCode,
    signal: killedBy,
    stdout,
    stderr,
    stopped,
  } = await runPatch({
    folder,
    file: CLEAR_TEXT_FILE,
    command: 'info',
    environment,
    user,
    timeoutMilliseconds: limits.timeoutMilliseconds,
    outputLimitBytes: limits.outputBytes,
    abortSignal: signal,
  });
  const refuse = (reason: string): PoolError =>
    new PoolError('INVALID_PATCH_WITH_LOG', [
      [reason, stderr.trim(), stdout.trim()].filter(Boolean).join('\n'),
    ]);
  if (stopped === 'timeout')
    throw refuse(`info did not end within ${limits.timeoutMilliseconds / 1000} seconds`);
  if (stopped === 'output') throw refuse(`info printed more than ${limits.outputBytes} bytes`);
  if (killedBy !== undefined) throw refuse(`info was ended by ${killedBy}`);
  if (exitCode !== 0) {
    const hint = exitCode === 2 ? ' (of a script this may mean DOS line endings)' : '';
    throw refuse(`info ended with exit code ${exitCode}${hint}`);
  }
  return parseInfo(stdout);
}
