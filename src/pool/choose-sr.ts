import type { Ref } from './fields.js';
import { PoolError } from './pool-error.js';
import { VDI_CLONE } from './storage.js';

/** What the choice looks at of an SR. */
export interface SrCandidate {
  readonly ref: Ref;
  readonly uuid: string;
  /** A PBD of the master is attached to it. */
  readonly masterCanReach: boolean;
  /** Of its driver. */
  readonly capabilities: ReadonlySet<string>;
}

/** "It will prefer to use the `pool.default_SR`": if there is one, and the master can reach it. */
export function usableDefaultSr(candidates: readonly SrCandidate[], defaultSr: Ref): SrCandidate | undefined {
  return candidates.find(({ ref, masterCanReach }) => ref === defaultSr && masterCanReach);
}

/**
 * "… and fall back to choosing an SR on the master whose driver supports the `VDI_CLONE` capability: we want the
 * ability to fast clone patches, one per host concurrently installing them." The first one.
 */
export function cloningSrOfMaster(candidates: readonly SrCandidate[]): SrCandidate | undefined {
  return candidates.find(({ masterCanReach, capabilities }) => masterCanReach && capabilities.has(VDI_CLONE));
}

/** An SR that the client named: that one or none. @throws PoolError SR_HAS_NO_PBDS when the master cannot reach it */
function namedSr(candidates: readonly SrCandidate[], wanted: Ref): SrCandidate {
  const candidate = candidates.find(({ ref }) => ref === wanted);
  if (candidate?.masterCanReach !== true) throw new PoolError('SR_HAS_NO_PBDS', [wanted]);
  return candidate;
}

export interface SrChoice {
  /** In the order of the master's PBDs. */
  readonly candidates: readonly SrCandidate[];
  readonly defaultSr: Ref;
  readonly master: Ref;
  /** What the client asked for. */
  readonly wanted?: Ref | undefined;
}

/**
 * "The HTTP handler for uploading patches will choose an SR to stream the patch into."
 *
 * @throws PoolError HOST_HAS_NO_PATCH_SR; for a named SR SR_HAS_NO_PBDS
 */
export function chooseSr({ candidates, defaultSr, master, wanted }: SrChoice): SrCandidate {
  if (wanted !== undefined) return namedSr(candidates, wanted);
  const chosen = usableDefaultSr(candidates, defaultSr) ?? cloningSrOfMaster(candidates);
  if (chosen === undefined) throw new PoolError('HOST_HAS_NO_PATCH_SR', [master]);
  return chosen;
}
