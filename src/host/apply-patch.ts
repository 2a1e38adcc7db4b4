import { invariant, isPatchVdiError, PatchVdiError } from '../errors.js';
import { AppliedFolder, unfinishedApplies, type UnfinishedApply } from './applied-folder.js';
import {
  requireRoot,
  withMountedPatch,
  type MountedPatch,
  type MountedPatchOptions,
  type PatchIdentity,
} from './mounted-patch.js';
import { endingOf, type ApplyOutcome, type PrecheckOutcome } from './outcome.js';
import { parsePrecheckFailure } from './precheck-document.js';
import { sweepWorkFolders } from './work-folder.js';

/** As for `precheckPatch`, and what is known of earlier applies. */
export interface ApplyOptions<Info extends PatchIdentity> extends MountedPatchOptions<Info> {
  /** Where it is kept what was applied (XAPI: /var/patch/applied); undefined: nowhere, and nothing is refused for it. */
  readonly appliedFolder?: string | undefined;
  /** Also when it was applied before, or an earlier apply did not come to its end. */
  readonly again?: boolean | undefined;
}

async function precheck<Info extends PatchIdentity>(
  patch: MountedPatch<Info>,
): Promise<PrecheckOutcome<Info>> {
  const { info, signatures } = patch;
  const { exitCode, signal, stdout, stderr, timedOut } = await patch.run('precheck');
  const said = [stderr.trim(), stdout.trim()].filter((text) => text !== '').join('\n');
  if (exitCode === 0 && !timedOut) return { kind: 'precheckPassed', info, signatures, output: stdout };
  const ending = timedOut ? 'no end in time' : (signal ?? `exit code ${exitCode}`);
  const otherwise = [`the precheck ended with ${ending}`, said].filter((text) => text !== '').join('\n');
  // Only exit code 1 says that there is a document.
  const failure = parsePrecheckFailure(exitCode === 1 && !timedOut ? stdout : '', otherwise);
  return { kind: 'precheckFailed', info, signatures, failure, output: said };
}

async function apply<Info extends PatchIdentity>(
  patch: MountedPatch<Info>,
  applied: AppliedFolder | undefined,
  again: boolean,
): Promise<ApplyOutcome<Info>> {
  const { info, infoText, signatures } = patch;
  const { uuid } = info;
  const state = (await applied?.state(uuid)) ?? { kind: 'fresh' };
  if (state.kind === 'running') return { kind: 'beingApplied', info, signatures };
  if (!again && state.kind === 'applied') return { kind: 'alreadyApplied', info, signatures };
  if (!again && state.kind === 'unfinished')
    return { kind: 'halfApplied', info, signatures, beganAt: state.beganAt };
  const checked = await precheck(patch);
  if (checked.kind === 'precheckFailed') return checked;
  if ((await applied?.begin(uuid)) === false) return { kind: 'beingApplied', info, signatures };
  let cameToItsEnd = false;
  try {
    const ended = await patch.run('apply');
    const output = [ended.stdout, ended.stderr].filter((text) => text !== '').join('\n');
    const ending = endingOf(ended);
    if (ending !== undefined) {
      cameToItsEnd = ending.kind === 'exit';
      return { kind: 'applyFailed', info, signatures, output, ending };
    }
    await applied?.keep(uuid, infoText);
    cameToItsEnd = true;
    return { kind: 'applied', info, signatures, output };
  } catch (error) {
    throw inTheMiddle(error, applied !== undefined);
  } finally {
    await (cameToItsEnd ? applied?.end(uuid) : applied?.leave(uuid));
  }
}

function inTheMiddle(error: unknown, isMarked: boolean): unknown {
  if (!isPatchVdiError(error)) return error;
  const { kind, message, context, cause } = error;
  return new PatchVdiError(kind, message, {
    context,
    cause,
    leftBehind: `whatever the patch has done so far: it was being applied, and may have run in part${isMarked ? '; it runs again only with --again' : ''}`,
  });
}

/**
 * Asks a patch whether it may be applied here.
 *
 * @throws PatchVdiError `usage` (no root, a policy that cannot be used), `space`, `image`, `signature`, `upload` (a patch
 *   that does not say what it is), `tool`, `interrupted`
 */
export function precheckPatch<Info extends PatchIdentity>(
  options: MountedPatchOptions<Info>,
): Promise<PrecheckOutcome<Info>> {
  return withMountedPatch(options, precheck);
}

/**
 * Applies a patch on this host: precheck, then apply, from a private copy that is gone afterwards. What the patch itself
 * answers is an outcome; what keeps us from asking it is an error.
 *
 * @throws PatchVdiError as {@link precheckPatch}; `sink` when the folder of applied patches cannot be written;
 *   `interrupted` also in the middle of an apply, which may then have been done in part
 */
export async function applyPatch<Info extends PatchIdentity>(
  options: ApplyOptions<Info>,
): Promise<ApplyOutcome<Info>> {
  requireRoot();
  const { appliedFolder, again = false } = options;
  invariant(appliedFolder !== '', 'the folder of applied patches has a name');
  const applied = appliedFolder === undefined ? undefined : await AppliedFolder.open(appliedFolder);
  return await withMountedPatch(options, (patch) => apply(patch, applied, again));
}

/** Where `sweepHost` looks: the folders that applies on this host were given. */
export interface SweepOptions {
  readonly scratchFolder: string;
  readonly appliedFolder?: string | undefined;
}

/** What `sweepHost` has found and removed. */
export interface Swept {
  /** Work folders of processes that were killed. */
  readonly removed: readonly string[];
  /** Patches that may have run in part, because their apply did not come to its end. */
  readonly unfinished: readonly UnfinishedApply[];
}

/**
 * What a host does when it starts: removes what processes left that were killed, and tells which patches they were about
 * to apply. Mounts and loop devices need no next start: the kernel has taken them back.
 *
 * @throws PatchVdiError `usage` for folders that cannot be read
 */
export async function sweepHost({ scratchFolder, appliedFolder }: SweepOptions): Promise<Swept> {
  const removed = await sweepWorkFolders(scratchFolder);
  return { removed, unfinished: appliedFolder === undefined ? [] : await unfinishedApplies(appliedFolder) };
}
