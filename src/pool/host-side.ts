import type { ApplyFailed } from '../host/outcome.js';
import type { HostPhase, PatchIdentity } from '../host/mounted-patch.js';
import type { PrecheckFailure } from '../host/precheck-document.js';
import type { Ref } from './fields.js';
import type { PatchInfo } from './info-document.js';
import { PoolError } from './pool-error.js';

/*
 * What the master asks of a host, and what a host answers. The master makes the host's copy of a VDI and destroys it;
 * the host checks, mounts, verifies and runs it. Requests and answers are plain values: they also travel between hosts.
 */

/** The patch as the master knows it. The host takes no other one, whatever it finds. */
export interface HostPatch {
  readonly uuid: string;
  /** Of the upload. */
  readonly sizeBytes: number;
  /** Of the upload, lower-case hex; empty when it is not known. */
  readonly sha256: string;
}

/** Where a host gets the patch from. */
export type PatchOnHost =
  /** The host's own copy, in an SR that it can reach: it may write to it, and nobody else looks at it. */
  | { readonly kind: 'vdi'; readonly repositoryUuid: string; readonly vdiUuid: string }
  /** "If the patch is still in the master's dom0 filesystem then it will fall back to the HTTP handler." */
  | { readonly kind: 'file' };

export interface HostRequest {
  readonly patch: HostPatch;
  readonly source: PatchOnHost;
}

export interface HostApplyRequest extends HostRequest {
  /** Also when an earlier apply was killed, and may have run in part. */
  readonly again: boolean;
}

/** Where a host is with a request. */
export interface HostStep {
  readonly phase: HostPhase | 'fetch';
  /** Of the phase, from 0 to 1, where that is known. */
  readonly fraction?: number | undefined;
}

export interface HostCallOptions {
  /** Heeded until the patch's `apply` begins: from then on only the patch itself knows where it may be stopped. */
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((step: HostStep) => void) | undefined;
}

/** All that a patch printed is its own word, and bounded (`src/host/limits.ts`). */
export type HostPrecheck =
  | { readonly kind: 'precheckPassed'; readonly output: string }
  | { readonly kind: 'precheckFailed'; readonly failure: PrecheckFailure; readonly output: string };

/** How an `apply` ended that did not end well. */
export type ApplyEnding =
  | ApplyFailed<PatchIdentity>['ending']
  /** It was not seen to its end; why, in words. */
  | { readonly kind: 'lost'; readonly words: string };

export type HostApply =
  | { readonly kind: 'applied'; readonly info: PatchInfo; readonly output: string }
  | Extract<HostPrecheck, { readonly kind: 'precheckFailed' }>
  | { readonly kind: 'applyFailed'; readonly ending: ApplyEnding; readonly output: string }
  /** By what its applied folder says. */
  | { readonly kind: 'alreadyApplied'; readonly info: PatchInfo }
  | { readonly kind: 'beingApplied' }
  /** An earlier apply was killed. `beganAt`: ISO 8601, or `unknown`. */
  | { readonly kind: 'halfApplied'; readonly beganAt: string };

/** What the applied folder of a host says. */
export interface AppliedPatch {
  readonly uuid: string;
  /** Undefined when what was kept of it cannot be read. */
  readonly info: PatchInfo | undefined;
  /** Milliseconds since 1970. */
  readonly appliedAt: number;
}

/** An apply that was killed: the patch may have run in part. */
export interface UnfinishedPatch {
  readonly uuid: string;
  readonly beganAt: string;
}

/** One host of the pool, as its master reaches it. All methods throw PoolError or PatchVdiError. */
export interface HostSide {
  readonly host: Ref;
  /** Before anything is done for it. @throws PoolError OPERATION_NOT_ALLOWED when it cannot apply patches at all */
  requireAble(): Promise<void>;
  precheck(request: HostRequest, options: HostCallOptions): Promise<HostPrecheck>;
  apply(request: HostApplyRequest, options: HostCallOptions): Promise<HostApply>;
  appliedPatches(): Promise<readonly AppliedPatch[]>;
  /** When the host starts: removes what a dead process left, and says which applies it was in the middle of. */
  sweep(): Promise<{ readonly unfinished: readonly UnfinishedPatch[] }>;
}

/** The hosts that can be asked now. */
export class HostSides {
  readonly #sides = new Map<Ref, HostSide>();

  add(side: HostSide): void {
    this.#sides.set(side.host, side);
  }

  has(side: HostSide): boolean {
    return this.#sides.get(side.host) === side;
  }

  remove(host: Ref): void {
    this.#sides.delete(host);
  }

  /** @throws PoolError HOST_OFFLINE */
  of(host: Ref): HostSide {
    const side = this.#sides.get(host);
    if (side === undefined) throw new PoolError('HOST_OFFLINE', [host]);
    return side;
  }
}
