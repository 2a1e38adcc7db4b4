import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  GIB,
  KIB,
  MIB,
  SECTOR_BYTES,
  TIB,
  checkedBytes,
  describeBytes,
  parseByteSize,
  roundUp,
  unitsToHold,
} from '../src/units.js';

test('the units are powers of two, and a sector is 512 bytes', () => {
  expect([KIB, MIB, GIB, TIB]).toEqual([2 ** 10, 2 ** 20, 2 ** 30, 2 ** 40]);
  expect(SECTOR_BYTES).toBe(512);
});

describe('checkedBytes', () => {
  test.each([0, 1, 2 ** 32, 16 * TIB, Number.MAX_SAFE_INTEGER])('takes %d', (bytes) => {
    expect(checkedBytes(bytes)).toBe(bytes);
    expect(checkedBytes(BigInt(bytes))).toBe(bytes);
  });

  test.each([-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, 2n ** 53n, 2n ** 64n, -1n])(
    'refuses %s',
    (bytes) => {
      expect(() => checkedBytes(bytes)).toThrow(/defect/);
    },
  );
});

describe('roundUp and unitsToHold', () => {
  test.each([
    [0, 512, 0],
    [1, 512, 512],
    [511, 512, 512],
    [512, 512, 512],
    [513, 512, 1024],
    [2 * MIB - 1, 2 * MIB, 2 * MIB],
    [2 ** 32 + 1, 2 * MIB, 2 ** 32 + 2 * MIB],
    [16 * TIB - 1, 2 * MIB, 16 * TIB],
    [7, 3, 9],
  ])('%d to a multiple of %d is %d', (value, multiple, expected) => {
    expect(roundUp(value, multiple)).toBe(expected);
    expect(unitsToHold(value, multiple)).toBe(expected / multiple);
  });

  test('gives the smallest multiple that is not below the value', () => {
    const sizes = fc.integer({ min: 0, max: 16 * TIB });
    const steps = fc.integer({ min: 1, max: 4 * MIB });
    fc.assert(
      fc.property(sizes, steps, (value, multiple) => {
        const rounded = roundUp(value, multiple);
        expect(rounded % multiple).toBe(0);
        expect(rounded).toBeGreaterThanOrEqual(value);
        expect(rounded - value).toBeLessThan(multiple);
      }),
    );
  });
});

describe('parseByteSize', () => {
  test.each([
    ['0', 0],
    ['512', 512],
    ['512B', 512],
    ['1k', 1024],
    ['200M', 200 * MIB],
    ['200MiB', 200 * MIB],
    ['4 GiB', 4 * GIB],
    [' 4gib ', 4 * GIB],
    ['16T', 16 * TIB],
    ['9007199254740991', Number.MAX_SAFE_INTEGER],
  ])('"%s" is %d bytes', (text, bytes) => {
    expect(parseByteSize(text)).toBe(bytes);
  });

  test.each([
    '',
    'M',
    '-1',
    '+1',
    '1.5G',
    '1e3',
    '0x10',
    '200MB',
    '200 M B',
    '1_000',
    '9007199254740992',
    '9007199254740993',
    '10000T',
    '99999999999999999999',
    '١',
    '4GiB!',
  ])('"%s" is no size', (text) => {
    expect(parseByteSize(text)).toBeUndefined();
  });

  test('reads back what describeBytes says of whole units', () => {
    const unit = fc.constantFrom(KIB, MIB, GIB, TIB);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1023 }), unit, (count, factor) => {
        expect(parseByteSize(describeBytes(count * factor))).toBe(count * factor);
      }),
    );
  });
});

describe('describeBytes', () => {
  test.each([
    [0, '0 bytes'],
    [1, '1 byte'],
    [1023, '1023 bytes'],
    [1024, '1 KiB'],
    [1025, '1.0 KiB (1025 bytes)'],
    [1536, '1.5 KiB (1536 bytes)'],
    [4 * GIB, '4 GiB'],
    [4 * GIB - 1, '4.0 GiB (4294967295 bytes)'],
    [2040 * GIB, '2.0 TiB (2190433320960 bytes)'],
    [16 * TIB, '16 TiB'],
  ])('%d is "%s"', (bytes, text) => {
    expect(describeBytes(bytes)).toBe(text);
  });
});
