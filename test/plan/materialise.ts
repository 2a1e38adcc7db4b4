import { closeSync, openSync, writeSync } from 'node:fs';
import type { TemplateFacts } from '../../src/plan/image-map.js';
import type { Plan } from '../../src/plan/plan.js';
import { expandEntries, type Segment } from '../../src/plan/segment-list.js';
import { createSparse } from '../oracles/sample-image.js';

const PERIOD_BYTES = 251;

/** Bytes that tell where they come from, and are never zero: a wrong offset shows in almost every byte. */
function pattern(seed: number, offset: number, length: number): Buffer {
  const at = (index: number): number => 1 + ((seed + (offset + index) * 7919) % PERIOD_BYTES);
  return Buffer.alloc(
    length,
    Uint8Array.from({ length: PERIOD_BYTES }, (_, index) => at(index)),
  );
}

export const templateBytes = (offset: number, length: number): Buffer => pattern(17, offset, length);
export const payloadBytes = (offset: number, length: number): Buffer => pattern(101, offset, length);

export type Write = (bytes: Uint8Array, offset: number) => void;

/** A new sparse file of that size, filled by `use`. */
export function writeFile(path: string, sizeBytes: number, use: (write: Write) => void): string {
  createSparse(path, sizeBytes);
  const fd = openSync(path, 'r+');
  try {
    use((bytes, offset) => writeSync(fd, bytes, 0, bytes.length, offset));
  } finally {
    closeSync(fd);
  }
  return path;
}

/** Puts a segment into a new file, in which zeros need not be written. */
export function writeSegment(write: Write, { offset, length, content }: Omit<Segment, 'name'>): void {
  switch (content.kind) {
    case 'literal':
      return write(content.bytes, offset);
    case 'template':
      return write(templateBytes(content.imageOffset, length), offset);
    case 'payload':
      return write(payloadBytes(content.payloadOffset, length), offset);
    case 'zeros':
  }
}

/** Carries out a plan in the plainest way, without the writer of the product. */
export function materialise(plan: Plan, path: string): string {
  return writeFile(path, plan.outputLength, (write) => {
    for (const segment of expandEntries(plan.entries)) writeSegment(write, segment);
  });
}

/** What the guest must see, made from the facts alone, without any plan. */
export function guestImage(facts: TemplateFacts, path: string): string {
  return writeFile(path, facts.virtualSize, (write) => {
    for (const { offset, length } of facts.metadata) write(templateBytes(offset, length), offset);
    for (const { fileBlock, fsBlock, blockCount } of facts.extents) {
      const at = fileBlock * facts.blockBytes;
      const length = Math.min(blockCount * facts.blockBytes, facts.payloadLength - at);
      write(payloadBytes(at, length), fsBlock * facts.blockBytes);
    }
  });
}
