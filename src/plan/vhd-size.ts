import { PatchVdiError } from '../errors.js';
import { describeBytes } from '../units.js';
import { VHD_MAX_BYTES } from '../vhd/layout.js';

/** @throws PatchVdiError `space` for a disk that no VHD can hold */
export function requireVhdSize(virtualSize: number): void {
  if (virtualSize <= VHD_MAX_BYTES) return;
  throw new PatchVdiError('space', 'a VHD cannot hold a disk of this size', {
    context: {
      operation: 'plan the image',
      found: describeBytes(virtualSize),
      expected: `${describeBytes(VHD_MAX_BYTES)} at most`,
    },
    hint: 'use --format raw',
    leftBehind: 'nothing was touched',
  });
}
