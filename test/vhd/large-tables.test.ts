/* Tables as large as they come, in the worst order: bounded time and memory. */
import { expect, test } from 'vitest';
import type { ByteReader } from '../../src/bytes.js';
import { makeFooter, makeHeader } from './hand-made.js';
import { memoryReader, openCollecting } from './readers.js';

const MAX_ENTRIES = 2 ** 23;
const BLOCK_BYTES = 4096;
const STRIDE_SECTORS = 1 + BLOCK_BYTES / 512;
const MILLISECONDS_ALLOWED = 20_000;

/** A file of a footer copy, a header, a BAT and blocks of nothing, that takes no memory but for the BAT. */
function tableReader(table: Buffer): ByteReader {
  const sizeBytes = MAX_ENTRIES * BLOCK_BYTES;
  const head = Buffer.concat([makeFooter(3, sizeBytes), makeHeader(1536, MAX_ENTRIES, BLOCK_BYTES), table]);
  const bytes = memoryReader(head);
  const fileBytes = head.length + (MAX_ENTRIES + 1) * STRIDE_SECTORS * 512;
  return {
    ...bytes,
    sizeBytes: fileBytes,
    async readInto(target, offset) {
      target.fill(0);
      const end = Math.min(head.length, offset + target.length);
      if (offset < end) await bytes.readInto(target.subarray(0, end - offset), offset);
    },
  };
}

test.each([
  ['blocks that descend', (block: number) => MAX_ENTRIES - 1 - block, 'vhd-blocks-backward'],
  ['blocks in a shuffled order', (block: number) => (block * 5_000_011) % MAX_ENTRIES, 'vhd-blocks-backward'],
  ['blocks that are all in one place', () => 0, 'vhd-blocks-overlap'],
])('2^23 entries, %s', async (_what, place, code) => {
  const first = (1536 + MAX_ENTRIES * 4) / 512;
  const table = Buffer.alloc(MAX_ENTRIES * 4);
  for (let block = 0; block < MAX_ENTRIES; block += 1) {
    table.writeUInt32BE(first + place(block) * STRIDE_SECTORS, block * 4);
  }
  const started = performance.now();
  const { disk, codes } = await openCollecting(tableReader(table));
  expect(performance.now() - started).toBeLessThan(MILLISECONDS_ALLOWED);
  // The file has no footer at its end.
  expect(codes.toSorted()).toEqual(['vhd-block-size', 'vhd-footer-missing', code].toSorted());
  expect(disk.allocatedBlockCount).toBe(MAX_ENTRIES);
  expect([...disk.allocatedRuns()]).toEqual([{ offset: 0, length: MAX_ENTRIES * BLOCK_BYTES }]);
});

test('a disk that needs one entry more is refused before its BAT is read', async () => {
  const size = (MAX_ENTRIES + 1) * BLOCK_BYTES;
  const header = makeHeader(1536, MAX_ENTRIES + 1, BLOCK_BYTES);
  const reader = memoryReader(Buffer.concat([makeFooter(3, size), header, Buffer.alloc(4096, 0xff)]));
  await expect(openCollecting(reader)).rejects.toMatchObject({ kind: 'image' });
  expect(reader.reads.every(({ length }) => length <= 1024)).toBe(true);
});
