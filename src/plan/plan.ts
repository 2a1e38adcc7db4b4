import { isDeepStrictEqual } from 'node:util';
import { invariant } from '../errors.js';
import {
  expandEntry,
  payloadStride,
  type PlanEntry,
  type PlanSegments,
  type SegmentDraft,
} from './segment-list.js';

export const IMAGE_FORMATS = ['raw', 'vhd', 'vhd-fixed'] as const;

/** `vhd` is a dynamic one. */
export type ImageFormat = (typeof IMAGE_FORMATS)[number];

/** The ordered list of segments for one format, with its exact total length (docs/design.md, "The plan is pure"). */
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

/** Whether an announced entry covers an entry of the plan: the same parts at the same place, at least as often. */
function covers(announced: PlanEntry, entry: PlanEntry): boolean {
  const samePlace = announced.offset === entry.offset && announced.stride === entry.stride;
  return samePlace && announced.count >= entry.count && isDeepStrictEqual(announced.parts, entry.parts);
}

/** The parts of a single entry, each as an entry of its own at its place. */
function separateParts(entry: PlanEntry): PlanEntry[] {
  invariant(entry.count === 1, 'only a single entry is taken apart');
  let { offset } = entry;
  return entry.parts.map((part) => {
    const separate = { turn: entry.turn, offset, count: 1, stride: part.length, parts: [part] };
    offset += part.length;
    return separate;
  });
}

const has = (entry: PlanEntry, wanted: (part: SegmentDraft) => boolean): boolean => entry.parts.some(wanted);

/**
 * The order for an output that can seek, and whose payload was written already, where it was announced: the rest, and
 * after the verdict the seal, whose last write is the superblock. What stands between the payload and was announced for a longer one (the bitmap of the
 * last block of a VHD) comes again, as it should be.
 *
 * @param announced where the payload went
 */
export function emissionAfterPayload(plan: Plan, announced: readonly PlanEntry[]): Emission {
  const turn = (wanted: PlanEntry['turn']) => plan.entries.filter((entry) => entry.turn === wanted);
  const placeOf = payloadPlaces(announced);
  const corrections = turn('payload').flatMap((entry) => {
    if (announced.some((candidate) => covers(candidate, entry))) return [];
    for (const { content, offset } of expandEntry(entry)) {
      const kept = content.kind !== 'payload' || placeOf(content.payloadOffset) === offset;
      invariant(kept, 'the payload stands in the plan where it was announced');
    }
    return separateParts(entry).filter((part) => !has(part, ({ content }) => content.kind === 'payload'));
  });
  const seal = turn('seal').flatMap(separateParts);
  const opens = (entry: PlanEntry): boolean => has(entry, ({ superblock }) => superblock === true);
  return {
    body: [...corrections, ...turn('metadata')],
    seal: [...seal.filter((entry) => !opens(entry)), ...seal.filter(opens)],
  };
}

/** Where a byte of the payload stands in an output with those entries. */
function payloadPlaces(entries: readonly PlanEntry[]): (payloadOffset: number) => number | undefined {
  return (wanted) => {
    for (const entry of entries) {
      const step = payloadStride(entry.parts);
      let offset = entry.offset;
      for (const part of entry.parts) {
        if (part.content.kind === 'payload') {
          const from = wanted - part.content.payloadOffset;
          const repetition = Math.floor(from / step);
          const within = from - repetition * step;
          if (from >= 0 && repetition < entry.count && within < part.length) {
            return offset + repetition * entry.stride + within;
          }
        }
        offset += part.length;
      }
    }
    return undefined;
  };
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
