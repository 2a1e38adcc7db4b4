import { roundUp } from '../units.js';
import { encodeFixedFooter, type VhdIdentity } from '../vhd/structures.js';
import { mapWholeImage, rangeDraft, type ImageRange, type TemplateFacts } from './image-map.js';
import type { Plan } from './plan.js';
import { requireVhdSize } from './vhd-size.js';
import { SegmentList, type PlanEntry, type SegmentContent, type Turn } from './segment-list.js';

/** The superblock, and every backup of it, is the seal of a raw image. */
function turnOf(range: ImageRange): Turn {
  if (range.payloadOffset !== undefined) return 'payload';
  return range.superblock ? 'seal' : 'metadata';
}

/**
 * Where a payload will stand in a raw image: at its own place, which is known before the template is.
 *
 * @param payload its ranges, as announced
 */
export function announceRawPayload(payload: readonly ImageRange[]): readonly PlanEntry[] {
  return payload.flatMap((range) => {
    const list = new SegmentList(range.offset, range.payloadOffset);
    list.append('payload', [rangeDraft(range, range.offset)]);
    return list.entries;
  });
}

/**
 * Appends every byte of the image at its own place. Free space is zeros, and says that it is free. The rest of the
 * last block of the payload is zeros that somebody sees: mmap(2) shows a page of it.
 */
function appendImage(list: SegmentList, facts: TemplateFacts): void {
  const append = (name: string, end: number, content: SegmentContent): void => {
    if (end > list.length) list.append('metadata', [{ name, length: end - list.length, content }]);
  };
  const fillTo = (offset: number): void => {
    const blockEnd = roundUp(list.length, facts.blockBytes);
    append('rest of the last block', Math.min(blockEnd, offset), { kind: 'zeros' });
    append('free space', offset, { kind: 'zeros', free: true });
  };
  for (const range of mapWholeImage(facts)) {
    fillTo(range.offset);
    list.append(turnOf(range), [rangeDraft(range, range.offset)]);
  }
  fillTo(facts.virtualSize);
}

/**
 * Plans a raw image.
 *
 * @throws PatchVdiError `tool` for a template that cannot be planned (see mapImage)
 */
export function planRaw(facts: TemplateFacts): Plan {
  const { virtualSize, payloadLength } = facts;
  const list = new SegmentList();
  appendImage(list, facts);
  return { format: 'raw', virtualSize, payloadLength, ...list.finish(virtualSize, payloadLength) };
}

/**
 * Plans a fixed VHD: a raw image with a footer behind it (VHD specification, "Hard Disk Footer Format").
 *
 * @throws PatchVdiError `space` beyond 2040 GiB; `tool` as planRaw
 */
export function planFixedVhd(facts: TemplateFacts, identity: VhdIdentity): Plan {
  const { virtualSize, payloadLength } = facts;
  requireVhdSize(virtualSize);
  const list = new SegmentList();
  appendImage(list, facts);
  const bytes = encodeFixedFooter(virtualSize, identity);
  list.append('seal', [{ name: 'footer', length: bytes.length, content: { kind: 'literal', bytes } }]);
  const outputLength = virtualSize + bytes.length;
  return { format: 'vhd-fixed', virtualSize, payloadLength, ...list.finish(outputLength, payloadLength) };
}
