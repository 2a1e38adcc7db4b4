import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { defineStruct, fieldBytes, type FieldType } from '../src/struct.js';

const sample = defineStruct('sample', 'big', 23, {
  tag: [0, { bytes: 3 }],
  small: [3, 'u8'],
  medium: [4, 'u16'],
  large: [6, 'u32'],
  huge: [10, 'u64'],
  rest: [18, { bytes: 5 }],
});

const littleSample = defineStruct('little sample', 'little', 15, {
  small: [0, 'u8'],
  medium: [1, 'u16'],
  large: [3, 'u32'],
  huge: [7, 'u64'],
});

describe('a table is checked when it is defined', () => {
  const define = (sizeBytes: number, rows: Record<string, readonly [number, FieldType]>) => () =>
    defineStruct('broken', 'little', sizeBytes, rows);

  test.each([
    ['a gap', define(7, { first: [0, 'u16'], second: [3, 'u32'] }), /second starts where/],
    ['an overlap', define(5, { first: [0, 'u16'], second: [1, 'u32'] }), /second starts where/],
    ['a late start', define(5, { first: [1, 'u32'] }), /first starts where/],
    ['the wrong order', define(6, { second: [4, 'u16'], first: [0, 'u32'] }), /second starts where/],
    ['too many bytes', define(4, { first: [0, 'u32'], second: [4, 'u8'] }), /fill its 4 bytes/],
    ['too few bytes', define(8, { first: [0, 'u32'] }), /fill its 8 bytes/],
  ])('%s is a defect', (_what, attempt, message) => {
    expect(attempt).toThrow(message);
  });
});

test('each type takes its width', () => {
  expect((['u8', 'u16', 'u32', 'u64', { bytes: 16 }] as const).map(fieldBytes)).toEqual([1, 2, 4, 8, 16]);
});

describe('decode', () => {
  const bytes = Uint8Array.from({ length: 40 }, (_, index) => index + 1);

  test('reads big-endian numbers where the rows say', () => {
    expect(sample.decode(bytes)).toEqual({
      tag: Uint8Array.of(1, 2, 3),
      small: 4,
      medium: 0x0506,
      large: 0x0708090a,
      huge: 0x0b0c0d0e0f101112n,
      rest: Uint8Array.of(19, 20, 21, 22, 23),
    });
  });

  test('reads little-endian numbers, from any base', () => {
    expect(littleSample.decode(bytes, 2)).toEqual({
      small: 3,
      medium: 0x0504,
      large: 0x09080706,
      huge: 0x11100f0e0d0c0b0an,
    });
  });

  test('heeds where a view starts in its buffer', () => {
    expect(littleSample.decode(bytes.subarray(2))).toEqual(littleSample.decode(bytes, 2));
  });

  test('gives views of bytes, and leaves the buffer as it was', () => {
    const before = Uint8Array.from(bytes);
    const { rest } = sample.decode(bytes);
    expect(rest.buffer).toBe(bytes.buffer);
    expect(bytes).toEqual(before);
  });

  test('wants a whole structure', () => {
    expect(() => sample.decode(bytes.subarray(0, 22))).toThrow(/a whole sample/);
    expect(() => sample.decode(bytes, 18)).toThrow(/a whole sample/);
  });
});

test('number reads one field as decode does, wherever the structure starts', () => {
  const bytes = Uint8Array.from({ length: 40 }, (_, index) => 0x81 + index);
  const view = new DataView(bytes.buffer);
  for (const [table, base] of [
    [sample, 0],
    [sample, 7],
    [littleSample, 3],
  ] as const) {
    const decoded = table.decode(bytes, base);
    for (const name of ['small', 'medium', 'large'] as const) {
      expect(table.number(view, base, name)).toBe(decoded[name]);
    }
  }
});

describe('encode', () => {
  test('leaves zero what is not given', () => {
    expect(littleSample.encode({ medium: 0xabcd })).toEqual(
      Uint8Array.of(0, 0xcd, 0xab, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
    );
  });

  test('is undone by decode', () => {
    const values = fc.record({
      tag: fc.uint8Array({ minLength: 3, maxLength: 3 }),
      small: fc.integer({ min: 0, max: 0xff }),
      medium: fc.integer({ min: 0, max: 0xffff }),
      large: fc.integer({ min: 0, max: 0xffffffff }),
      huge: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      rest: fc.uint8Array({ minLength: 5, maxLength: 5 }),
    });
    fc.assert(
      fc.property(values, (value) => {
        expect(sample.decode(sample.encode(value))).toEqual(value);
      }),
    );
  });

  test.each([
    ['a negative number', { medium: -1 }],
    ['a number that is too large', { medium: 0x10000 }],
    ['a fraction', { large: 1.5 }],
    ['too large a u64', { huge: 2n ** 64n }],
    ['a negative u64', { huge: -1n }],
    ['too few bytes', { tag: Uint8Array.of(1, 2) }],
    ['too many bytes', { tag: Uint8Array.of(1, 2, 3, 4) }],
  ])('refuses %s', (_what, value) => {
    expect(() => sample.encode(value)).toThrow(/defect/);
  });
});

test('set changes one field in place, at an offset of its own', () => {
  const bytes = sample.encode({ small: 1, large: 2 });
  sample.set(bytes, 'medium', 0x1234);
  expect(sample.decode(bytes)).toMatchObject({ small: 1, medium: 0x1234, large: 2 });
});
