import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { GIB, MIB, SECTOR_BYTES } from '../../src/units.js';
import { geometryFor } from '../../src/vhd/geometry.js';

/** From here on the specification uses 255 sectors per track. */
const LARGE_SECTORS = 65535 * 16 * 63;

describe('the geometry, worked out by hand with the algorithm of the appendix "CHS Calculation"', () => {
  test.each([
    // 17 sectors per track while the heads suffice
    ['16 MiB', 16 * MIB, 481, 4, 17],
    ['34 MiB less a sector', 34 * MIB - 512, 1023, 4, 17],
    ['100 MiB', 100 * MIB, 1003, 12, 17],
    // 31 sectors per track
    ['34 MiB', 34 * MIB, 140, 16, 31],
    ['200 MiB', 200 * MIB, 825, 16, 31],
    ['248 MiB less a sector', 248 * MIB - 512, 1023, 16, 31],
    // 63 sectors per track
    ['248 MiB', 248 * MIB, 503, 16, 63],
    ['256 MiB', 256 * MIB, 520, 16, 63],
    ['504 MiB less a sector', 504 * MIB - 512, 1023, 16, 63],
    ['504 MiB', 504 * MIB, 1024, 16, 63],
    ['1 GiB', GIB, 2080, 16, 63],
    ['4 GiB', 4 * GIB, 8322, 16, 63],
    ['one sector below 65535 x 16 x 63', (LARGE_SECTORS - 1) * 512, 65534, 16, 63],
    // 255 sectors per track
    ['65535 x 16 x 63 sectors', LARGE_SECTORS * 512, 16191, 16, 255],
    ['127 GiB', 127 * GIB, 65278, 16, 255],
    // the largest geometry there is
    ['65535 x 16 x 255 sectors', 65535 * 16 * 255 * 512, 65535, 16, 255],
    ['2040 GiB', 2040 * GIB, 65535, 16, 255],
  ])('%s', (_name, virtualSize, cylinders, heads, sectorsPerTrack) => {
    expect(geometryFor(virtualSize)).toEqual({ cylinders, heads, sectorsPerTrack });
  });
});

test('the geometry never exceeds the disk, and misses less than a cylinder of it', () => {
  const sectors = fc.oneof(
    fc.integer({ min: 16 * 2048, max: 512 * 2048 }),
    fc.integer({ min: 512 * 2048, max: 65535 * 16 * 255 }),
  );
  fc.assert(
    fc.property(sectors, (sectorCount) => {
      const { cylinders, heads, sectorsPerTrack } = geometryFor(sectorCount * SECTOR_BYTES);
      const covered = cylinders * heads * sectorsPerTrack;
      expect(covered).toBeLessThanOrEqual(sectorCount);
      expect(sectorCount - covered).toBeLessThan((heads + 1) * sectorsPerTrack);
      expect(cylinders).toBeLessThanOrEqual(65535);
      expect(heads).toBeLessThanOrEqual(16);
    }),
    { numRuns: 1000 },
  );
});
