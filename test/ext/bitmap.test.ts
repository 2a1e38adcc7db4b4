import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  countClearBits,
  firstClearBit,
  firstSetBit,
  lastSetBit,
  setBits,
  setClearBits,
} from '../../src/ext/bitmap.js';

const bytes = fc.uint8Array({ minLength: 1, maxLength: 6 });
/** Bit by bit, lowest of the first byte first. */
const bitsOf = (bitmap: Uint8Array): boolean[] =>
  [...bitmap].flatMap((byte) => Array.from({ length: 8 }, (_, bit) => Math.floor(byte / 2 ** bit) % 2 === 1));

test('the first clear and the first set bit from anywhere', () => {
  fc.assert(
    fc.property(bytes, fc.nat(48), (bitmap, from) => {
      const bits = bitsOf(bitmap);
      const search = (wanted: boolean) => bits.findIndex((bit, index) => index >= from && bit === wanted);
      expect(firstClearBit(bitmap, from)).toBe(search(false));
      expect(firstSetBit(bitmap, from)).toBe(search(true));
    }),
  );
});

test('the last set bit below an end', () => {
  fc.assert(
    fc.property(bytes, fc.nat(48), (bitmap, end) => {
      fc.pre(end <= bitmap.length * 8);
      expect(lastSetBit(bitmap, end)).toBe(bitsOf(bitmap).slice(0, end).lastIndexOf(true));
    }),
  );
});

test('bits are set where they were clear, and nowhere else', () => {
  fc.assert(
    fc.property(bytes, fc.nat(47), fc.nat(47), (bitmap, from, count) => {
      fc.pre(from + count <= bitmap.length * 8);
      const before = bitsOf(bitmap);
      const inside = (index: number) => index >= from && index < from + count;
      if (before.some((bit, index) => bit && inside(index))) {
        expect(() => setClearBits(bitmap, from, count)).toThrow(/are clear/);
        expect(bitsOf(bitmap)).toEqual(before);
      } else {
        setClearBits(bitmap, from, count);
        expect(bitsOf(bitmap)).toEqual(before.map((bit, index) => bit || inside(index)));
      }
    }),
  );
});

test('bits are set whatever they were, and clear ones are counted up to an end', () => {
  fc.assert(
    fc.property(bytes, fc.nat(47), fc.nat(47), (bitmap, from, count) => {
      fc.pre(from + count <= bitmap.length * 8);
      const bits = bitsOf(bitmap).map((bit, index) => bit || (index >= from && index < from + count));
      setBits(bitmap, from, count);
      expect(bitsOf(bitmap)).toEqual(bits);
      const clear = bits.slice(0, from + count).filter((bit) => !bit).length;
      expect(countClearBits(bitmap, from + count)).toBe(clear);
    }),
  );
});

test('no bit outside the bitmap is set', () => {
  expect(() => setClearBits(new Uint8Array(2), 10, 7)).toThrow(/in the bitmap/);
  expect(() => setBits(new Uint8Array(2), 10, 7)).toThrow(/in the bitmap/);
});
