import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  checkRequestedSize,
  imageSize,
  payloadCapacity,
  payloadStartFor,
  requireFit,
} from '../../src/build/size-rule.js';
import { GIB, KIB, MIB, TIB } from '../../src/units.js';

describe('the size of the image, by hand from the design ("Sizes")', () => {
  test.each([
    ['no length: 4 GiB', undefined, 4 * GIB],
    ['one byte: the smallest image', 1, 16 * MIB],
    ['4 MiB: exactly the smallest', 4 * MIB, 16 * MIB],
    ['one byte more: the next step of 2 MiB', 4 * MIB + 1, 18 * MIB],
    ['4.5 MiB', 4.5 * MIB, 18 * MIB],
    ['700 MiB', 700 * MIB, 2800 * MIB],
    ['1 GiB less a byte', GIB - 1, 4 * GIB],
    ['1 GiB', GIB, 4 * GIB],
    ['510 GiB: the largest VHD', 510 * GIB, 2040 * GIB],
    ['4 TiB: the largest image', 4 * TIB, 16 * TIB],
  ])('%s', (_name, contentLength, expected) => {
    expect(imageSize(contentLength, undefined)).toBe(expected);
  });

  test('a size that was asked for wins', () => {
    expect(imageSize(GIB, 2 * GIB)).toBe(2 * GIB);
    expect(imageSize(undefined, 64 * MIB)).toBe(64 * MIB);
    expect(imageSize(5 * TIB, 8 * TIB)).toBe(8 * TIB);
  });

  test('beyond 4 TiB of upload it is an error of kind space that names both sizes', () => {
    expect(() => imageSize(4 * TIB + 1, undefined)).toThrow(
      expect.objectContaining({
        kind: 'space',
        context: expect.objectContaining({
          found: 'an upload of 4.0 TiB (4398046511105 bytes)',
          expected: '16 TiB for the image at most',
        }) as unknown,
        leftBehind: 'nothing was touched',
      }) as Error,
    );
  });

  test('is a multiple of 2 MiB, at least four times the upload, and less than a step more', () => {
    fc.assert(
      fc.property(fc.integer({ min: 4 * MIB, max: 4 * TIB }), (contentLength) => {
        const size = imageSize(contentLength, undefined);
        expect(size % (2 * MIB)).toBe(0);
        expect(size).toBeGreaterThanOrEqual(4 * contentLength);
        expect(size - 4 * contentLength).toBeLessThan(2 * MIB);
      }),
    );
  });
});

describe('a size that the user asks for', () => {
  test.each([
    [undefined, undefined],
    [16 * MIB, 16 * MIB],
    [16 * MIB + 1, 18 * MIB],
    [GIB, GIB],
    [16 * TIB, 16 * TIB],
  ])('%s becomes %s', (requested, size) => {
    expect(checkRequestedSize(requested)).toBe(size);
  });

  test.each([
    [0, '0 bytes'],
    [-1, '-1 bytes'],
    [16 * MIB - 1, '16.0 MiB (16777215 bytes)'],
    [16 * TIB + 1, '16.0 TiB (17592186044417 bytes)'],
    [1.5 * GIB + 0.5, '1610612736.5'],
    [Number.NaN, 'NaN'],
    [Number.POSITIVE_INFINITY, 'Infinity'],
    [2 ** 60, '1152921504606847000'],
  ])('%s is refused', (requested, found) => {
    expect(() => checkRequestedSize(requested)).toThrow(
      expect.objectContaining({ kind: 'usage', context: { found, expected: '16 MiB to 16 TiB' } }) as Error,
    );
  });
});

describe('the room for the payload', () => {
  test('ends one unit of 2 MiB before the image', () => {
    expect(payloadCapacity(16 * MIB, 2 * MIB)).toBe(12 * MIB);
    expect(payloadCapacity(4 * GIB, 18 * MIB)).toBe(4 * GIB - 20 * MIB);
    expect(payloadCapacity(16 * MIB, 16 * MIB)).toBe(0);
  });

  test('one byte more does not fit, and the error names both sizes', () => {
    expect(() => requireFit(16 * MIB, 12 * MIB, 12 * MIB)).not.toThrow();
    expect(() => requireFit(16 * MIB, 12 * MIB, 12 * MIB + 1)).toThrow(
      expect.objectContaining({
        kind: 'space',
        message: 'the upload does not fit into the image',
        context: expect.objectContaining({
          found: 'an upload of 12.0 MiB (12582913 bytes)',
          expected: '12 MiB at most in an image of 16 MiB',
        }) as unknown,
      }) as Error,
    );
  });
});

describe('the start of the payload', () => {
  const UNIT_BLOCKS = 512;

  /** mke2fs rounds `free + slack + tree blocks + 1` up to a unit (misc/mk_hugefiles.c). */
  const startOfFile = (free: number, slack: number, treeBlocks: number): number =>
    Math.ceil((free + slack + treeBlocks + 1) / UNIT_BLOCKS) * UNIT_BLOCKS;

  test('is the same for the shortest and the longest file, wherever the free blocks begin', () => {
    const sizes = fc.integer({ min: 8, max: 1_044_480 });
    fc.assert(
      fc.property(sizes, fc.integer({ min: 100, max: 3_000_000 }), (units, free) => {
        const virtualSize = units * 2 * MIB;
        const { offset, slackBlocks } = payloadStartFor(virtualSize, free);
        expect(offset % (2 * MIB)).toBe(0);
        expect(slackBlocks).toBeGreaterThanOrEqual(0);
        // A tree of 340 extents of 32768 blocks in each leaf, and one level above.
        const leaves = Math.ceil(virtualSize / (32_768 * 4 * KIB) / 340);
        const longest = leaves + Math.ceil(leaves / 340);
        for (const treeBlocks of [0, 1, longest]) {
          expect(startOfFile(free, slackBlocks, treeBlocks) * 4 * KIB).toBe(offset);
        }
      }),
      { numRuns: 500 },
    );
  });

  test('of a small image needs no slack but where the boundary is near', () => {
    expect(payloadStartFor(16 * MIB, 25)).toEqual({ offset: 2 * MIB, slackBlocks: 0 });
    expect(payloadStartFor(16 * MIB, 507)).toEqual({ offset: 2 * MIB, slackBlocks: 0 });
    expect(payloadStartFor(16 * MIB, 508)).toEqual({ offset: 4 * MIB, slackBlocks: 4 });
  });
});
