import { PatchVdiError } from '../errors.js';
import type { Extent } from '../ext/file-extents.js';
import type { MetadataRange } from '../ext/metadata-map.js';
import type { SegmentDraft } from './segment-list.js';

/** What a planner must know of a template; no file, no process, only numbers. */
export interface TemplateFacts {
  /** Bytes of the image, as the guest sees it. */
  readonly virtualSize: number;
  readonly blockBytes: number;
  /** Bytes of the file `patch`. */
  readonly payloadLength: number;
  /** Of the file `patch`, in file order. */
  readonly extents: readonly Extent[];
  /** All of it, zeros too; in order of offset. */
  readonly metadata: readonly MetadataRange[];
}

/** A range of the image that is in use: payload, or metadata from the template. */
export interface ImageRange {
  readonly name: string;
  readonly offset: number;
  readonly length: number;
  /** Defined for payload: where in the upload it starts. */
  readonly payloadOffset: number | undefined;
  /** Holds the superblock or a backup of it: part of the seal. */
  readonly superblock: boolean;
  /** Metadata that is zeros, and must be. */
  readonly zero?: true;
}

/** The name of the payload in every plan, the file's own name. */
export const PAYLOAD_NAME = 'patch';

/** A range of payload. */
export function payloadRange(offset: number, length: number, payloadOffset: number): ImageRange {
  return { name: PAYLOAD_NAME, offset, length, payloadOffset, superblock: false };
}

/** Where the payload of an image will lie, told before the template is made, and before its length is known. */
export interface PayloadAnnouncement {
  /** The longest payload that fits, in bytes. */
  readonly capacity: number;
  /** The ranges of a payload of that length (at most `capacity`), in the order in which it arrives. */
  readonly ranges: (payloadLength: number) => readonly ImageRange[];
}

function refuse(message: string, found: string, expected: string): PatchVdiError {
  return new PatchVdiError('tool', message, {
    context: { operation: 'plan the image', found, expected },
    hint: 'this e2fsprogs lays files out in a way that cannot be streamed; patch-vdi doctor shows its version',
  });
}

function payloadRanges(facts: TemplateFacts): ImageRange[] {
  const ranges: ImageRange[] = [];
  let nextBlock = 0;
  for (const extent of facts.extents) {
    if (extent.unwritten) {
      const found = `${extent.blockCount} unwritten blocks from file block ${extent.fileBlock}`;
      throw refuse(
        'the file patch has an unwritten extent, which would read as zeros',
        found,
        'initialised extents only',
      );
    }
    if (extent.fileBlock !== nextBlock) {
      throw refuse('the file patch has a hole', `file block ${extent.fileBlock}`, `file block ${nextBlock}`);
    }
    const payloadOffset = extent.fileBlock * facts.blockBytes;
    const neededBlocks = Math.ceil(facts.payloadLength / facts.blockBytes);
    if (extent.fileBlock + extent.blockCount > neededBlocks) {
      const found = `${extent.blockCount} blocks from file block ${extent.fileBlock}`;
      throw refuse('the file patch has blocks past its end', found, `${neededBlocks} blocks`);
    }
    const length = Math.min(extent.blockCount * facts.blockBytes, facts.payloadLength - payloadOffset);
    const offset = extent.fsBlock * facts.blockBytes;
    const last = ranges.at(-1);
    if (last !== undefined && last.offset + last.length === offset) {
      ranges[ranges.length - 1] = { ...last, length: last.length + length };
    } else ranges.push(payloadRange(offset, length, payloadOffset));
    nextBlock += extent.blockCount;
  }
  if (nextBlock * facts.blockBytes < facts.payloadLength) {
    throw refuse(
      'the file patch has too few blocks',
      `${nextBlock * facts.blockBytes} bytes`,
      `${facts.payloadLength}`,
    );
  }
  return ranges;
}

/**
 * All ranges of the image that are in use, in order of offset. What is between them is free.
 *
 * @throws PatchVdiError `tool` for unwritten extents, holes, payload over metadata, or anything beyond the image
 */
export function mapWholeImage(facts: TemplateFacts): ImageRange[] {
  const metadata = facts.metadata.map((range) => ({ ...range, payloadOffset: undefined }));
  const ranges = [...payloadRanges(facts), ...metadata].sort((a, b) => a.offset - b.offset);
  let end = 0;
  let endName = 'the start of the image';
  for (const range of ranges) {
    if (range.offset < end) {
      const found = `"${range.name}" at ${range.offset} within "${endName}", which ends at ${end}`;
      throw refuse('two parts of the image overlap', found, 'disjoint ranges');
    }
    end = range.offset + range.length;
    endName = range.name;
  }
  if (end > facts.virtualSize) {
    throw refuse(
      'the template is larger than the image',
      `"${endName}" ends at ${end}`,
      `${facts.virtualSize} at most`,
    );
  }
  return ranges;
}

/** Those ranges of {@link mapWholeImage} that hold anything but zeros. @throws PatchVdiError `tool` as that does */
export function mapImage(facts: TemplateFacts): ImageRange[] {
  return mapWholeImage(facts).filter(({ zero }) => zero !== true);
}

/**
 * A range of the image as a segment.
 *
 * @param imageOffset where it lies in the image (a planner may have made `range.offset` relative to something else)
 */
export function rangeDraft(range: ImageRange, imageOffset: number): SegmentDraft {
  const { name, length, payloadOffset } = range;
  if (payloadOffset !== undefined) return { name, length, content: { kind: 'payload', payloadOffset } };
  if (range.zero === true) return { name: `${name} (zero)`, length, content: { kind: 'zeros' } };
  const content = { kind: 'template', imageOffset } as const;
  return range.superblock ? { name, length, content, superblock: true } : { name, length, content };
}

/** The payload ranges of a map, which must be in the order in which the upload arrives. */
export function payloadInOrder(ranges: readonly ImageRange[]): boolean {
  let next = 0;
  for (const range of ranges) {
    if (range.payloadOffset === undefined) continue;
    if (range.payloadOffset !== next) return false;
    next += range.length;
  }
  return true;
}
