import { describe, expect, test } from 'vitest';
import { GIB, MIB } from '../../src/units.js';
import { BITMAP_BYTES, BlockAllocationTable, encodeBitmap } from '../../src/vhd/structures.js';

const SECTOR = 512;
const BLOCK = 2 * MIB;

describe('the sector bitmap', () => {
  test('of a block of 2 MiB is one sector', () => {
    expect(BITMAP_BYTES).toBe(512);
  });

  /** Bytes of the bitmap that are not zero: [index, value]. */
  const setBytes = (...ranges: ReadonlyArray<readonly [offset: number, length: number]>) => {
    const bitmap = encodeBitmap(ranges.map(([offset, length]) => ({ offset, length })));
    return [...bitmap.entries()].filter(([, value]) => value !== 0);
  };

  test.each([
    ['the first sector is the highest bit of the first byte', [[0, SECTOR]], [[0, 0x80]]],
    ['the eighth is the lowest', [[7 * SECTOR, SECTOR]], [[0, 0x01]]],
    ['the ninth is in the second byte', [[8 * SECTOR, SECTOR]], [[1, 0x80]]],
    ['the last is the lowest bit of the last byte', [[BLOCK - SECTOR, SECTOR]], [[511, 0x01]]],
    ['one byte needs its sector', [[0, 1]], [[0, 0x80]]],
    ['one byte more than a sector needs two', [[0, SECTOR + 1]], [[0, 0xc0]]],
    ['a range across a border needs both sides', [[SECTOR - 1, 2]], [[0, 0xc0]]],
    [
      'two ranges in one sector share it',
      [
        [0, 10],
        [500, 12],
      ],
      [[0, 0x80]],
    ],
    [
      'a run of nine from the fourth',
      [[3 * SECTOR, 9 * SECTOR]],
      [
        [0, 0x1f],
        [1, 0xf0],
      ],
    ],
    [
      'ranges apart stay apart',
      [
        [0, SECTOR],
        [BLOCK - 1, 1],
      ],
      [
        [0, 0x80],
        [511, 0x01],
      ],
    ],
  ] as const)('%s', (_name, ranges, expected) => {
    expect(setBytes(...ranges)).toEqual(expected);
  });

  test('of a full block has every bit, of an empty one none', () => {
    expect(encodeBitmap([{ offset: 0, length: BLOCK }])).toEqual(new Uint8Array(512).fill(0xff));
    expect(encodeBitmap([])).toEqual(new Uint8Array(512));
  });

  test.each([
    ['before the block', -1, 2],
    ['beyond the block', BLOCK - 1, 2],
    ['that is empty', 0, 0],
    ['of negative length', 10, -1],
  ])('refuses a range %s', (_name, offset, length) => {
    expect(() => encodeBitmap([{ offset, length }])).toThrow(/a range lies within its block/);
  });
});

describe('the BAT', () => {
  const UNUSED = 0xffffffff;
  const words = (table: BlockAllocationTable): number[] => {
    const view = new DataView(table.bytes.buffer, table.bytes.byteOffset, table.bytes.byteLength);
    return Array.from({ length: table.bytes.length / 4 }, (_, index) => view.getUint32(index * 4));
  };

  test('is unused throughout at first, padding included', () => {
    const table = new BlockAllocationTable(16 * MIB);
    expect(words(table)).toEqual(Array.from({ length: 128 }, () => UNUSED));
  });

  test('holds big-endian sectors at the number of the block', () => {
    const table = new BlockAllocationTable(16 * MIB);
    table.place(0, 0x01020304);
    table.place(7, 5);
    expect([...table.bytes.subarray(0, 4)]).toEqual([1, 2, 3, 4]);
    expect(words(table).filter((word) => word !== UNUSED)).toEqual([0x01020304, 5]);
    expect(words(table)[7]).toBe(5);
  });

  test('refuses to place a block twice', () => {
    const table = new BlockAllocationTable(GIB);
    table.place(3, 100);
    expect(() => table.place(3, 200)).toThrow(/block 3 is placed once/);
    expect(words(table)[3]).toBe(100);
  });

  test.each([
    ['a block beyond the disk', 8, 100],
    ['sector 0, which is the footer copy', 0, 0],
    ['a negative sector', 0, -1],
    ['half a sector', 0, 1.5],
    ['the value that means unused', 0, UNUSED],
  ])('refuses %s', (_name, block, sector) => {
    const table = new BlockAllocationTable(16 * MIB);
    expect(() => table.place(block, sector)).toThrow(/fits the BAT/);
  });
});
