import { PatchVdiError } from '../../errors.js';
import { viewOf } from '../../struct.js';
import { SECTOR_BYTES } from '../../units.js';
import { BAT_UNUSED, dynamicDiskHeader, hardDiskFooter } from '../../vhd/layout.js';
import { BITMAP_BYTES, checksumOf } from '../../vhd/structures.js';
import type { DiskFile } from '../disk-file.js';

/*
 * Changes single fields of a dynamic VHD as `build` makes them: footer copy, header, BAT, blocks, footer. The checksum
 * over a structure is right afterwards, unless it is changed last.
 */

type Change = (bytes: Uint8Array) => void;

export function sealFooter(footer: Uint8Array): void {
  hardDiskFooter.set(footer, 'checksum', checksumOf(footer, hardDiskFooter.rows.checksum[0]));
}

export function sealHeader(header: Uint8Array): void {
  dynamicDiskHeader.set(header, 'checksum', checksumOf(header, dynamicDiskHeader.rows.checksum[0]));
}

/** Where the copy of the footer stands. */
export const FOOTER_COPY_OFFSET = 0;

/** Where `build` puts the header. */
export const HEADER_OFFSET = hardDiskFooter.sizeBytes;

/** Where the footer at the end starts. */
export function footerOffset(file: DiskFile): number {
  return file.sizeBytes - hardDiskFooter.sizeBytes;
}

/** Changes the footer that starts there; its checksum is right afterwards. */
export function editFooter(file: DiskFile, offset: number, change: Change): void {
  const footer = file.read(offset, hardDiskFooter.sizeBytes);
  change(footer);
  sealFooter(footer);
  file.write(offset, footer);
}

/** Changes the header; its checksum is right afterwards. */
export function editHeader(file: DiskFile, change: Change): void {
  const header = file.read(HEADER_OFFSET, dynamicDiskHeader.sizeBytes);
  change(header);
  sealHeader(header);
  file.write(HEADER_OFFSET, header);
}

/** Turns all bits of the last byte of a checksum over, in a structure that starts at `base`. */
export function spoilChecksum(file: DiskFile, base: number, checksumOffset: number): void {
  const at = base + checksumOffset + Uint32Array.BYTES_PER_ELEMENT - 1;
  file.write(
    at,
    file.read(at, 1).map((byte) => byte ^ 0xff),
  );
}

export interface EditedTable {
  /** Where the BAT starts in the file, bytes. */
  readonly offset: number;
  /** Sectors, by block. */
  readonly sectors: readonly number[];
}

export function readTable(file: DiskFile): EditedTable {
  const header = dynamicDiskHeader.decode(file.read(HEADER_OFFSET, dynamicDiskHeader.sizeBytes));
  const offset = Number(header.table_offset);
  const view = viewOf(file.read(offset, header.max_table_entries * Uint32Array.BYTES_PER_ELEMENT));
  const sectors = Array.from({ length: header.max_table_entries }, (_, block) =>
    view.getUint32(block * Uint32Array.BYTES_PER_ELEMENT),
  );
  return { offset, sectors };
}

export function setTableEntry(file: DiskFile, block: number, sector: number): void {
  const bytes = new Uint8Array(Uint32Array.BYTES_PER_ELEMENT);
  viewOf(bytes).setUint32(0, sector);
  file.write(readTable(file).offset + block * bytes.length, bytes);
}

/**
 * The last block of the disk that has no place in the file: nothing of the file system lies there.
 *
 * @throws PatchVdiError `usage` when the disk has no such block
 */
export function lastUnusedBlock(file: DiskFile): number {
  const block = readTable(file).sectors.lastIndexOf(BAT_UNUSED);
  if (block !== -1) return block;
  throw new PatchVdiError('usage', 'this fault needs a disk with free space', {
    context: { found: 'something in every 2 MiB of it', expected: '2 MiB with nothing in it' },
    hint: 'give no --disk-size: four times the patch is the default',
  });
}

/** Where the bitmap and the data of the first block in the file start, in bytes. */
export function firstBlock(file: DiskFile): { readonly bitmapOffset: number; readonly dataOffset: number } {
  const sectors = readTable(file).sectors.filter((sector) => sector !== BAT_UNUSED);
  const bitmapOffset = Math.min(...sectors) * SECTOR_BYTES;
  return { bitmapOffset, dataOffset: bitmapOffset + BITMAP_BYTES };
}
