import type { KeptBytes } from '../tools/kept-output.js';
import type { PatchCommand } from '../tools/run-patch.js';
import { KIB } from '../units.js';

/** How long a patch may take; then it gets SIGTERM, and after the grace all that it started is killed. */
export interface HostLimits {
  readonly infoMilliseconds: number;
  readonly precheckMilliseconds: number;
  readonly applyMilliseconds: number;
  readonly graceMilliseconds: number;
}

export const DEFAULT_LIMITS: HostLimits = {
  infoMilliseconds: 30_000,
  precheckMilliseconds: 10 * 60_000,
  applyMilliseconds: 2 * 60 * 60_000,
  graceMilliseconds: 10_000,
};

/**
 * How much is kept of what a patch prints. It may print more: killing it half way for that would do more harm than its
 * words can, so the rest is read and dropped, and the kept text says how much.
 */
export const KEPT_OUTPUT: Readonly<Record<PatchCommand, KeptBytes>> = {
  info: { first: 64 * KIB, last: 0 },
  precheck: { first: 64 * KIB, last: 0 },
  apply: { first: 512 * KIB, last: 512 * KIB },
};
