import type { PrecheckFailure } from '../host/precheck-document.js';
import { KIB } from '../units.js';
import type { RecordOf } from './classes.js';
import type { Ref } from './fields.js';
import type { ApplyEnding } from './host-side.js';
import { PoolError } from './pool-error.js';
import { VDI_CLONE } from './storage.js';

/** What the choice looks at of an SR that a host has a PBD for. */
export interface CopyTarget {
  readonly ref: Ref;
  readonly uuid: string;
  readonly hostCanReach: boolean;
  readonly shared: boolean;
  readonly capabilities: ReadonlySet<string>;
  /** Bytes. */
  readonly freeBytes: number;
}

export interface CopyChoice {
  readonly host: Ref;
  readonly targets: readonly CopyTarget[];
  /** Where the patch is. */
  readonly sourceSr: Ref;
  /** Bytes, all of which the patch may fill while it unpacks itself. */
  readonly virtualSize: number;
}

/**
 * "it will call `VDI.copy` to duplicate the VDI to a locally-accessible SR": a clone where the patch is ("we want the
 * ability to fast clone patches, one per host"), else the host's own SR with most room, else a shared one. "There must
 * be enough free space in an SR connected to the host to be able to apply a patch on that host."
 *
 * @throws PoolError HOST_HAS_NO_PATCH_SR, OUT_OF_SPACE
 */
export function chooseCopySr({ host, targets, sourceSr, virtualSize }: CopyChoice): {
  readonly sr: Ref;
  readonly clone: boolean;
} {
  const reachable = targets
    .filter(({ hostCanReach }) => hostCanReach)
    .toSorted((a, b) => Number(a.shared) - Number(b.shared) || b.freeBytes - a.freeBytes);
  const [first] = reachable;
  if (first === undefined) throw new PoolError('HOST_HAS_NO_PATCH_SR', [host]);
  const fitting = reachable.filter(({ freeBytes }) => freeBytes >= virtualSize);
  const same = fitting.find(({ ref, capabilities }) => ref === sourceSr && capabilities.has(VDI_CLONE));
  const chosen = same ?? fitting[0];
  if (chosen === undefined) throw new PoolError('OUT_OF_SPACE', [first.uuid]);
  return { sr: chosen.ref, clone: chosen === same };
}

/** The errors of a precheck that says no, each with its parameters. @param patch its ref */
export function precheckError(patch: Ref, failure: PrecheckFailure): PoolError {
  switch (failure.code) {
    case 'UNKNOWN_ERROR':
      return new PoolError('PATCH_PRECHECK_FAILED_UNKNOWN_ERROR', [patch, failure.info]);
    case 'ISO_MOUNTED':
      return new PoolError('PATCH_PRECHECK_FAILED_ISO_MOUNTED', [patch]);
    case 'PREREQUISITE_MISSING':
      return new PoolError('PATCH_PRECHECK_FAILED_PREREQUISITE_MISSING', [patch, failure.uuids.join(';')]);
    case 'WRONG_SERVER_VERSION':
    case 'WRONG_SERVER_BUILD':
    case 'OUT_OF_SPACE':
      return new PoolError(`PATCH_PRECHECK_FAILED_${failure.code}`, [patch, failure.found, failure.required]);
    case 'VM_RUNNING':
      return new PoolError('PATCH_PRECHECK_FAILED_VM_RUNNING', [patch]);
    default: {
      const never: never = failure;
      return never;
    }
  }
}

/** What an error can carry: `PoolError` cuts its parameters at 4096 characters. */
const ERROR_OUTPUT = { first: 1 * KIB, last: 2 * KIB };

/** What a result can carry: with all of it escaped, a task's `result` has less than 64 KiB, which is what clients take. */
const RESULT_OUTPUT = { first: 4 * KIB, last: 6 * KIB };

function bounded(output: string, { first, last }: { readonly first: number; readonly last: number }): string {
  const left = output.length - first - last;
  if (left <= 0) return output;
  return `${output.slice(0, first)}\n[… ${left} characters are left out …]\n${output.slice(-last)}`;
}

/** The result of a call: what the patch printed, its beginning and its end. */
export function resultOutput(output: string): string {
  return bounded(output, RESULT_OUTPUT);
}

function endingWords(ending: ApplyEnding): string {
  switch (ending.kind) {
    case 'exit':
      return `exit code ${ending.exitCode}`;
    case 'signal':
      return `ended by ${ending.signal}`;
    case 'timeout':
      return 'it did not end in time';
    case 'lost':
      return `it was not seen to its end, and may have run in part: ${ending.words}`;
    default: {
      const never: never = ending;
      return never;
    }
  }
}

/** `PATCH_APPLY_FAILED` with what it printed, and how it ended as the last line. */
export function applyError(output: string, ending: ApplyEnding): PoolError {
  const words = endingWords(ending).slice(0, 512);
  const said = bounded(output.trimEnd(), ERROR_OUTPUT);
  return new PoolError('PATCH_APPLY_FAILED', [said === '' ? words : `${said}\n${words}`]);
}

/**
 * The key of `pool_patch.other_config` by which an admin says that a patch shall be run on a host once more although an
 * earlier apply there was killed. Any value; it goes with the apply that it was set for.
 */
export function applyAgainKey({ uuid }: Pick<RecordOf<'host'>, 'uuid'>): string {
  return `apply-again-${uuid}`;
}

/** The key of `host_patch.other_config` of an apply that was killed, with the time when it began (ISO 8601). */
export const UNFINISHED_KEY = 'unfinished-since';

/** Nothing was run. It says what to find out, and what to do then. */
export function halfAppliedError(beganAt: string, againKey: string): PoolError {
  return new PoolError('OPERATION_NOT_ALLOWED', [
    `an apply of this patch on this host, begun at ${beganAt}, did not come to its end: it may have run in part. Find out what it has done; pool_patch.other_config:${againKey} (patch-vdi pool apply --again) lets it run once more`,
  ]);
}
