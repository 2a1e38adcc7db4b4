import { mapImage, type ImageRange, type TemplateFacts } from './image-map.js';
import type { Plan } from './plan.js';
import { SegmentList, type PlanEntry, type SegmentDraft, type Turn } from './segment-list.js';

function draft(range: ImageRange): SegmentDraft {
  const content =
    range.payloadOffset === undefined
      ? ({ kind: 'template', imageOffset: range.offset } as const)
      : ({ kind: 'payload', payloadOffset: range.payloadOffset } as const);
  return { name: range.name, length: range.length, content };
}

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
    list.append('payload', [draft(range)]);
    return list.entries;
  });
}

/**
 * Plans a raw image: every byte at its own place, zeros between.
 *
 * @throws PatchVdiError `tool` for a template that cannot be planned (see mapImage)
 */
export function planRaw(facts: TemplateFacts): Plan {
  const list = new SegmentList();
  const fillTo = (offset: number): void => {
    if (offset === list.length) return;
    list.append('metadata', [{ name: 'zeros', length: offset - list.length, content: { kind: 'zeros' } }]);
  };
  for (const range of mapImage(facts)) {
    fillTo(range.offset);
    list.append(turnOf(range), [draft(range)]);
  }
  fillTo(facts.virtualSize);
  const { virtualSize, payloadLength } = facts;
  return { format: 'raw', virtualSize, payloadLength, ...list.finish(virtualSize, payloadLength) };
}
