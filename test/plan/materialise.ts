import { closeSync, openSync, writeSync } from 'node:fs';
import type { TemplateFacts } from '../../src/plan/image-map.js';
import type { Plan } from '../../src/plan/plan.js';
import { expandEntries } from '../../src/plan/segment-list.js';
import { createSparse } from '../oracles/sample-image.js';

/** Bytes that tell where they come from, and are never zero: a wrong offset shows in almost every byte. */
function pattern(seed: number, offset: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let index = 0; index < length; index += 1) bytes[index] = 1 + ((seed + (offset + index) * 7919) % 251);
  return bytes;
}

export const templateBytes = (offset: number, length: number): Buffer => pattern(17, offset, length);
export const payloadBytes = (offset: number, length: number): Buffer => pattern(101, offset, length);

type Write = (bytes: Uint8Array, offset: number) => void;

function writeFile(path: string, sizeBytes: number, use: (write: Write) => void): string {
  createSparse(path, sizeBytes);
  const fd = openSync(path, 'r+');
  try {
    use((bytes, offset) => writeSync(fd, bytes, 0, bytes.length, offset));
  } finally {
    closeSync(fd);
  }
  return path;
}

/** Carries out a plan in the plainest way, without the writer of the product. */
export function materialise(plan: Plan, path: string): string {
  return writeFile(path, plan.totalLength, (write) => {
    for (const { offset, length, content } of expandEntries(plan.entries)) {
      if (content.kind === 'literal') write(content.bytes, offset);
      if (content.kind === 'template') write(templateBytes(content.imageOffset, length), offset);
      if (content.kind === 'payload') write(payloadBytes(content.payloadOffset, length), offset);
    }
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
