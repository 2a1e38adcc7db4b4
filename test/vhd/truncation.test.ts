import { describe, expect, test } from 'vitest';
import { MIB } from '../../src/units.js';
import { contentOf, makeDynamic, makeFixed, patternOf, type HandMade } from './hand-made.js';
import { memoryReader, openCollecting, readDisk } from './readers.js';

const parts: HandMade = { sizeBytes: 10 * MIB, blocks: [{ block: 0 }, { block: 3 }] };
const whole = makeDynamic(parts);
const content = contentOf(parts);
const END = whole.length - 512;
/** Copy 512, header 1024, BAT of five entries in a sector, two blocks. */
const FIRST_BLOCK = 2048;
const SECOND_BLOCK = FIRST_BLOCK + 512 + 2 * MIB;

describe('a dynamic disk that is cut off', () => {
  test.each([
    ['in the footer copy', 1],
    ['before the last byte of a short footer copy', 510],
    ['behind the footer copy', 512],
    ['in the header', 1000],
    ['a byte before the BAT', 1535],
    ['before the BAT', 1536],
  ])('%s cannot be read', async (_where, length) => {
    await expect(openCollecting(memoryReader(whole.subarray(0, length)))).rejects.toMatchObject({
      kind: 'image',
    });
  });

  test.each([
    ['in the first entry', 1537, 0],
    ['behind the first entry', 1540, 1],
    ['in the last entry', 1555, 4],
  ])('%s of the BAT has the entries that are there', async (_where, length, present) => {
    const { disk, findings } = await openCollecting(memoryReader(whole.subarray(0, length)));
    expect(findings).toMatchObject([
      { code: 'vhd-bat-truncated', severity: 'error', offset: 1536 + 4 * present },
    ]);
    const unknown = disk.readInto(new Uint8Array(1), present * 2 * MIB);
    await expect(unknown).rejects.toMatchObject({ kind: 'image' });
    if (present > 1) await disk.readInto(new Uint8Array(2 * MIB), 2 * MIB);
  });

  test.each([
    ['behind the BAT', 1556, 0],
    ['before the first block', FIRST_BLOCK, 0],
    ['in the first bitmap', FIRST_BLOCK + 100, 0],
    ['in the first block', FIRST_BLOCK + 512 + MIB, MIB],
    ['before the second block', SECOND_BLOCK, 2 * MIB],
    ['in the second bitmap', SECOND_BLOCK + 511, 2 * MIB],
    ['a byte before the end of the second block', END - 1, 8 * MIB - 1],
  ])('%s says so once, and reads as far as it goes', async (_where, length, readable) => {
    const { disk, findings } = await openCollecting(memoryReader(whole.subarray(0, length)));
    expect(findings).toMatchObject([
      { code: 'vhd-truncated', severity: 'error', offset: length, expected: `at least ${END} bytes` },
    ]);
    const target = Buffer.alloc(readable);
    await disk.readInto(target, 0);
    expect(target.equals(content.subarray(0, readable))).toBe(true);
    if (readable < 8 * MIB) await expect(readDisk(disk)).rejects.toMatchObject({ kind: 'image' });
  });

  test.each([
    ['before the footer', END],
    ['in the footer', END + 1],
    ['in the footer, behind its checksum', END + 100],
    ['two bytes before the end', END + 510],
  ])('%s lacks its footer, and nothing else', async (_where, length) => {
    const { disk, findings } = await openCollecting(memoryReader(whole.subarray(0, length)));
    expect(findings).toMatchObject([
      { code: 'vhd-footer-missing', severity: 'error', offset: length - (length % 512 === 511 ? 511 : 512) },
    ]);
    expect((await readDisk(disk)).equals(content)).toBe(true);
  });

  test('by one byte has a footer of old Virtual PC', async () => {
    const { disk, codes } = await openCollecting(memoryReader(whole.subarray(0, -1)));
    expect(codes).toEqual([]);
    expect((await readDisk(disk)).equals(content)).toBe(true);
  });
});

test('at every length up to the first block there is an error or a finding', async () => {
  for (let length = 0; length <= FIRST_BLOCK + 512; length += 1) {
    const found = await openCollecting(memoryReader(whole.subarray(0, length))).then(
      ({ codes }) => codes,
      (error: unknown) => error,
    );
    if (Array.isArray(found)) expect(found, `${length} bytes`).toHaveLength(1);
    else expect(found, `${length} bytes`).toMatchObject({ kind: 'image' });
  }
});

test.each([1, 511, 512, 513, 1000])('a fixed disk that lacks %i bytes at its start is short', async (cut) => {
  const bytes = makeFixed(patternOf(1, 0, 64 * 1024)).subarray(cut);
  const { codes } = await openCollecting(memoryReader(bytes));
  expect(codes).toEqual(['vhd-fixed-size']);
});

test.each([2, 511, 512, 1000])('a fixed disk that lacks its last %i bytes is none', async (cut) => {
  const bytes = makeFixed(patternOf(1, 0, 64 * 1024)).subarray(0, -cut);
  await expect(openCollecting(memoryReader(bytes))).rejects.toMatchObject({ kind: 'image' });
});

test('a stream that ends early is an error where it ends', async () => {
  const stream = memoryReader(whole.subarray(0, SECOND_BLOCK), { stream: true });
  const { disk, codes } = await openCollecting(stream);
  expect(codes).toEqual([]);
  await disk.readInto(new Uint8Array(6 * MIB), 0);
  await expect(disk.readInto(new Uint8Array(1), 6 * MIB)).rejects.toMatchObject({ kind: 'image' });
  for (const length of [100, 600, 1540]) {
    const short = memoryReader(whole.subarray(0, length), { stream: true });
    await expect(openCollecting(short)).rejects.toMatchObject({ kind: 'image' });
  }
});
