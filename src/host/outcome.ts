import type { VerifiedSignature } from '../signature/verifier.js';
import type { RunInMount } from '../tools/run-in-mount.js';
import type { PatchIdentity } from './mounted-patch.js';
import type { PrecheckFailure } from './precheck-document.js';

interface Asked<Info extends PatchIdentity> {
  readonly info: Info;
  readonly signatures: readonly VerifiedSignature[];
}

/** The precheck let it pass. */
export interface PrecheckPassed<Info extends PatchIdentity> extends Asked<Info> {
  readonly kind: 'precheckPassed';
  /** What it printed, not to be trusted; at most 64 KiB. */
  readonly output: string;
}

/** The patch does not want to be applied here. Nothing was changed. */
export interface PrecheckFailed<Info extends PatchIdentity> extends Asked<Info> {
  readonly kind: 'precheckFailed';
  readonly failure: PrecheckFailure;
  readonly output: string;
}

/** `apply` was run and ended well. */
export interface Applied<Info extends PatchIdentity> extends Asked<Info> {
  readonly kind: 'applied';
  /** Standard output and error as they came; at most 1 MiB, with a line that says what was left out. */
  readonly output: string;
}

/** `apply` was run and did not end well: the host may have changed. All but `exit` count as unfinished afterwards. */
export interface ApplyFailed<Info extends PatchIdentity> extends Asked<Info> {
  readonly kind: 'applyFailed';
  readonly output: string;
  readonly ending:
    | { readonly kind: 'exit'; readonly exitCode: number }
    | { readonly kind: 'signal'; readonly signal: string }
    | { readonly kind: 'timeout' };
}

/** It was applied before, and nobody said `again`. Nothing was run but `info`. */
export interface AlreadyApplied<Info extends PatchIdentity> extends Asked<Info> {
  readonly kind: 'alreadyApplied';
}

/** Another process applies it at this moment. Nothing was run but `info`. */
export interface BeingApplied<Info extends PatchIdentity> extends Asked<Info> {
  readonly kind: 'beingApplied';
}

/** An earlier apply was killed, or stopped before its own end: it may have run in part. Nothing was run but `info`. */
export interface HalfApplied<Info extends PatchIdentity> extends Asked<Info> {
  readonly kind: 'halfApplied';
  /** When the earlier one began, ISO 8601. */
  readonly beganAt: string;
}

/** How a precheck ended. It says no with a value, not with an error. */
export type PrecheckOutcome<Info extends PatchIdentity> = PrecheckPassed<Info> | PrecheckFailed<Info>;

/** How an apply ended. A patch that refuses or fails is a value, not an error. */
export type ApplyOutcome<Info extends PatchIdentity> =
  | Applied<Info>
  | PrecheckFailed<Info>
  | ApplyFailed<Info>
  | AlreadyApplied<Info>
  | BeingApplied<Info>
  | HalfApplied<Info>;

/** How an `apply` ended; undefined: well. */
export function endingOf({
  exitCode,
  signal,
  timedOut,
}: RunInMount): ApplyFailed<PatchIdentity>['ending'] | undefined {
  // One that came to a good end in its last seconds did what it was to do.
  if (exitCode === 0) return undefined;
  if (timedOut) return { kind: 'timeout' };
  if (exitCode !== undefined) return { kind: 'exit', exitCode };
  return { kind: 'signal', signal: signal ?? 'unknown' };
}
