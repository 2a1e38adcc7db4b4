import { PatchVdiError } from '../../errors.js';
import { similarName } from '../../similar.js';
import type { Fault } from './fault.js';
import { FILESYSTEM_FAULTS } from './filesystem-faults.js';
import { PATCH_FILE_FAULTS } from './patch-file-faults.js';
import { SIGNATURE_FAULTS } from './signature-faults.js';
import { STREAM_FAULTS } from './stream-faults.js';
import { VHD_CUTS } from './vhd-cuts.js';
import { VHD_FAULTS } from './vhd-faults.js';
import { VHD_PACKING_FAULTS } from './vhd-packing-faults.js';

/** All faults that the kit can put into an image, family by family. */
export const FAULTS: readonly Fault[] = [
  ...SIGNATURE_FAULTS,
  ...PATCH_FILE_FAULTS,
  ...FILESYSTEM_FAULTS,
  ...VHD_FAULTS,
  ...VHD_PACKING_FAULTS,
  ...VHD_CUTS,
  ...STREAM_FAULTS,
];

/** @throws PatchVdiError `usage` */
export function faultNamed(name: string): Fault {
  const fault = FAULTS.find((one) => one.name === name);
  if (fault !== undefined) return fault;
  const similar = similarName(
    name,
    FAULTS.map((one) => one.name),
  );
  throw new PatchVdiError('usage', 'there is no such fault', {
    context: { found: JSON.stringify(name.slice(0, 64)), expected: 'a name of the catalogue' },
    hint: `${similar === undefined ? '' : `did you mean ${similar}? `}patch-vdi test faults lists them`,
  });
}
