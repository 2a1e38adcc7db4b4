import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { FOOTER_BYTES, HEADER_BYTES, SECTOR, UNUSED } from '../vhd/hand-made.js';
import { FOOTER_FIELDS, HEADER_FIELDS, fieldHex, type SpecifiedField } from '../vhd/specification.js';
import type { SparseBytes } from './sparse-bytes.js';

/** Disks of hostile VHDs may be of any size; files of tests are not. */
const MAX_DISK_BYTES = 2 ** 40;

function fieldNumber(fields: readonly SpecifiedField[], structure: Uint8Array, name: string): number {
  return Number(`0x${fieldHex(fields, structure, name)}`);
}

/**
 * Writes the disk of a VHD as the specification tells what is read: sectors whose bits are set, from where the BAT says;
 * zeros else. Nothing here comes from src/vhd, and nothing is checked: it is asked only where our reader complains of
 * nothing, and then footer and header are good.
 */
export function writeSpecifiedDisk(image: SparseBytes, path: string): void {
  const footer = image.read(image.sizeBytes - FOOTER_BYTES, FOOTER_BYTES);
  const diskBytes = fieldNumber(FOOTER_FIELDS, footer, 'Current Size');
  if (diskBytes > MAX_DISK_BYTES) throw new Error(`a disk of ${diskBytes} bytes is too large for a judge`);
  const header = image.read(fieldNumber(FOOTER_FIELDS, footer, 'Data Offset'), HEADER_BYTES);
  const blockBytes = fieldNumber(HEADER_FIELDS, header, 'Block Size');
  const tableOffset = fieldNumber(HEADER_FIELDS, header, 'Table Offset');
  const sectors = blockBytes / SECTOR;
  // "The bitmap is padded to a 512-byte sector boundary."
  const bitmapBytes = Math.ceil(sectors / 8 / SECTOR) * SECTOR;
  const fd = openSync(path, 'w');
  try {
    for (let block = 0; block * blockBytes < diskBytes; block += 1) {
      const entry = Buffer.from(image.read(tableOffset + block * 4, 4)).readUInt32BE();
      if (entry === UNUSED) continue;
      const bitmap = image.read(entry * SECTOR, bitmapBytes);
      for (let sector = 0; sector < sectors; sector += 1) {
        const isSet = ((bitmap[Math.floor(sector / 8)] ?? 0) & (128 >> (sector % 8))) !== 0;
        const from = entry * SECTOR + bitmapBytes + sector * SECTOR;
        if (isSet) writeSync(fd, image.read(from, SECTOR), 0, SECTOR, block * blockBytes + sector * SECTOR);
      }
    }
    ftruncateSync(fd, diskBytes);
  } finally {
    closeSync(fd);
  }
}
