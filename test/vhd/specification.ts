/*
 * Written by hand from "Virtual Hard Disk Image Format Specification", version 1.0 (Microsoft, 11 October 2006).
 * Nothing here comes from src/vhd: it is what src/vhd is compared with.
 */

export interface SpecifiedField {
  /** As the specification writes it. */
  readonly name: string;
  readonly offset: number;
  readonly size: number;
}

function inOrder(...fields: ReadonlyArray<readonly [name: string, size: number]>): SpecifiedField[] {
  let offset = 0;
  return fields.map(([name, size]) => {
    const field = { name, offset, size };
    offset += size;
    return field;
  });
}

/** Section "Hard Disk Footer Format". */
export const FOOTER_FIELDS = inOrder(
  ['Cookie', 8],
  ['Features', 4],
  ['File Format Version', 4],
  ['Data Offset', 8],
  ['Time Stamp', 4],
  ['Creator Application', 4],
  ['Creator Version', 4],
  ['Creator Host OS', 4],
  ['Original Size', 8],
  ['Current Size', 8],
  // "Disk Geometry", 4 bytes, has three parts: cylinder 2, heads 1, sectors per track/cylinder 1.
  ['Disk Geometry Cylinders', 2],
  ['Disk Geometry Heads', 1],
  ['Disk Geometry Sectors Per Track', 1],
  ['Disk Type', 4],
  ['Checksum', 4],
  ['Unique Id', 16],
  ['Saved State', 1],
  ['Reserved', 427],
);

/** Section "Dynamic Disk Header Format". */
export const HEADER_FIELDS = inOrder(
  ['Cookie', 8],
  ['Data Offset', 8],
  ['Table Offset', 8],
  ['Header Version', 4],
  ['Max Table Entries', 4],
  ['Block Size', 4],
  ['Checksum', 4],
  ['Parent Unique ID', 16],
  ['Parent Time Stamp', 4],
  ['Reserved 1', 4],
  ['Parent Unicode Name', 512],
  // "Parent Locator Entry 1" to 8, 24 bytes each.
  ['Parent Locator Entries', 192],
  ['Reserved 2', 256],
);

/** The bytes of a field in lower-case hex. */
export function fieldHex(fields: readonly SpecifiedField[], structure: Uint8Array, name: string): string {
  const field = fields.find((candidate) => candidate.name === name);
  if (field === undefined) throw new Error(`the specification has no field "${name}"`);
  return Buffer.from(structure.subarray(field.offset, field.offset + field.size)).toString('hex');
}

/** The checksum as the specification's pseudo code computes it: the field counts as zero, then one's complement. */
export function specifiedChecksum(fields: readonly SpecifiedField[], structure: Uint8Array): string {
  const copy = Uint8Array.from(structure);
  const field = fields.find(({ name }) => name === 'Checksum');
  if (field !== undefined) copy.fill(0, field.offset, field.offset + field.size);
  const sum = copy.reduce((total, byte) => total + byte, 0);
  return (0xffffffff - sum).toString(16).padStart(8, '0');
}
