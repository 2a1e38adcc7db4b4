import { invariant } from '../errors.js';
import { checkedBytes } from '../units.js';

/** Where the bytes of a segment come from. Offsets are in bytes. */
export type SegmentContent =
  /** Known bytes; the plan owns them. */
  | { readonly kind: 'literal'; readonly bytes: Uint8Array }
  /** A range of the template. */
  | { readonly kind: 'template'; readonly imageOffset: number }
  /** A range of the upload. */
  | { readonly kind: 'payload'; readonly payloadOffset: number }
  /** `free`: nobody reads them before writing there, so an output that has old contents may keep those. */
  | { readonly kind: 'zeros'; readonly free?: true };

/** A piece of the output. Half open: it covers `offset` up to, not including, `offset + length`. */
export interface Segment {
  /** For people: `block bitmaps`, `footer copy`. */
  readonly name: string;
  /** Place in the output, in bytes. */
  readonly offset: number;
  /** In bytes, never 0. */
  readonly length: number;
  readonly content: SegmentContent;
}

/** When an entry is emitted to an output that can seek: payload as it comes, then the rest, the seal last. */
export type Turn = 'payload' | 'metadata' | 'seal';

/** A segment before its place is known. */
export interface SegmentDraft {
  readonly name: string;
  readonly length: number;
  readonly content: SegmentContent;
  /** Holds the superblock or a backup of it: written last of all where the order is free. */
  readonly superblock?: true;
}

/**
 * One or more segments that stand together, `count` times in a row. Payload offsets advance from one repetition to
 * the next by the payload bytes of one; everything else is the same each time. (A plan for 500 GiB has a quarter of
 * a million VHD blocks, all alike but for their payload.)
 */
export interface PlanEntry {
  readonly turn: Turn;
  readonly offset: number;
  readonly count: number;
  /** Bytes of one repetition. */
  readonly stride: number;
  readonly parts: readonly SegmentDraft[];
}

/** The finished list: its segments follow each other without gaps from byte 0 to `outputLength`. */
export interface PlanSegments {
  readonly entries: readonly PlanEntry[];
  /** Exact length of the output in bytes. */
  readonly outputLength: number;
}

/** Segments of the payload in one repetition, in bytes. */
export function payloadStride(parts: readonly SegmentDraft[]): number {
  return parts.reduce((sum, part) => sum + (part.content.kind === 'payload' ? part.length : 0), 0);
}

/**
 * The one door through which segments enter a plan. Contiguous by construction: each entry starts where the one
 * before it ends. It refuses what would break a plan later: empty segments, literals of another length, and payload
 * that does not continue exactly where the payload before it ended.
 */
export class SegmentList {
  readonly #entries: PlanEntry[] = [];
  #length: number;
  #payloadLength: number;

  /**
   * The parameters are not 0 only for a part of an output.
   *
   * @param startOffset where the first segment stands, in bytes
   * @param payloadOffset where its payload starts in the upload, in bytes
   */
  constructor(startOffset = 0, payloadOffset = 0) {
    this.#length = startOffset;
    this.#payloadLength = payloadOffset;
  }

  /** Where the next segment would start, in bytes: the length of the output so far. */
  get length(): number {
    return this.#length;
  }

  append(turn: Turn, parts: readonly SegmentDraft[], count = 1): void {
    invariant(
      Number.isSafeInteger(count) && count > 0 && parts.length > 0,
      'an entry has parts and repetitions',
    );
    let stride = 0;
    let payload = this.#payloadLength;
    for (const part of parts) {
      invariant(checkedBytes(part.length) > 0, `the segment "${part.name}" is not empty`);
      if (part.content.kind === 'literal') {
        invariant(
          part.content.bytes.length === part.length,
          `the literal "${part.name}" has ${part.length} bytes`,
        );
      }
      if (part.content.kind === 'payload') {
        const { payloadOffset } = part.content;
        invariant(
          payloadOffset === payload,
          `payload continues at ${payload} in "${part.name}", not at ${payloadOffset}`,
        );
        payload += part.length;
      }
      invariant(
        count === 1 ||
          part.content.kind === 'payload' ||
          part.content.kind === 'zeros' ||
          part.content.kind === 'literal',
        `what is repeated ("${part.name}") is not a place in the template`,
      );
      stride += part.length;
    }
    this.#entries.push({ turn, offset: this.#length, count, stride, parts });
    this.#payloadLength += (payload - this.#payloadLength) * count;
    this.#length = checkedBytes(this.#length + stride * count);
  }

  /** The entries so far, for a part of an output. */
  get entries(): readonly PlanEntry[] {
    return this.#entries;
  }

  /** The finished list; `outputLength` and `payloadLength` are what the caller computed on its own. */
  finish(outputLength: number, payloadLength: number): PlanSegments {
    invariant(
      this.#length === outputLength,
      `the segments add up to ${outputLength} bytes (they do to ${this.#length})`,
    );
    invariant(
      this.#payloadLength === payloadLength,
      `they hold ${payloadLength} bytes of payload (${this.#payloadLength})`,
    );
    return { entries: this.#entries, outputLength };
  }
}

/** Every segment of an entry with its place, one at a time: nothing is kept. */
export function* expandEntry(entry: PlanEntry): Generator<Segment> {
  const payloadStep = payloadStride(entry.parts);
  for (let repetition = 0; repetition < entry.count; repetition += 1) {
    let offset = entry.offset + repetition * entry.stride;
    for (const part of entry.parts) {
      const { content } = part;
      const advanced: SegmentContent =
        content.kind === 'payload' && repetition > 0
          ? { kind: 'payload', payloadOffset: content.payloadOffset + repetition * payloadStep }
          : content;
      yield { name: part.name, offset, length: part.length, content: advanced };
      offset += part.length;
    }
  }
}

/** Every segment of some entries, in their order. */
export function* expandEntries(entries: readonly PlanEntry[]): Generator<Segment> {
  for (const entry of entries) yield* expandEntry(entry);
}
