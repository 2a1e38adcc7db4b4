import { isDeepStrictEqual } from 'node:util';
import { invariant } from '../errors.js';
import type { PlanEntry, PlanSegments } from './segment-list.js';

export type ImageFormat = 'raw' | 'vhd';

/** The ordered list of segments for one format, with its exact total length (design, decision 2). */
export interface Plan extends PlanSegments {
  readonly format: ImageFormat;
  /** Bytes of the image as the guest sees it. */
  readonly virtualSize: number;
  readonly payloadLength: number;
}

/** In which order the entries of a plan reach the output, and what waits for the verdict. */
export interface Emission {
  /** Emitted before the verdict. */
  readonly body: readonly PlanEntry[];
  /** Emitted after it; without these the output neither mounts nor imports. */
  readonly seal: readonly PlanEntry[];
}

/**
 * The order for an output that can seek, and whose payload is written already, as it was announced: the rest, and
 * after the verdict the seal.
 *
 * @param announced where the payload went
 */
export function emissionAfterPayload(plan: Plan, announced: readonly PlanEntry[]): Emission {
  const turn = (wanted: PlanEntry['turn']) => plan.entries.filter((entry) => entry.turn === wanted);
  const kept = isDeepStrictEqual(turn('payload'), announced);
  invariant(kept, 'the payload stands in the plan where it was announced');
  return { body: turn('metadata'), seal: turn('seal') };
}

/**
 * The order for a stream, where turn and place are the same. What follows the first entry of the seal is withheld
 * with it: nothing at all precedes the superblock of a raw image, so all of it waits; a dynamic VHD ends with its
 * seal, so all but that flows.
 */
export function emissionForStream(plan: Plan): Emission {
  const firstSeal = plan.entries.findIndex((entry) => entry.turn === 'seal');
  const split = firstSeal === -1 ? plan.entries.length : firstSeal;
  return { body: plan.entries.slice(0, split), seal: plan.entries.slice(split) };
}

/** Whether the upload can flow straight to a stream, or must be spooled until the verdict is known. */
export function streamsInOnePass(plan: Plan): boolean {
  const payloadIn = (entries: readonly PlanEntry[]) =>
    entries.some((entry) => entry.parts.some((part) => part.content.kind === 'payload'));
  return !payloadIn(emissionForStream(plan).seal);
}
