import { KIB, SECTOR_BYTES, roundUp } from '../units.js';
import {
  DISK_TYPE_DIFFERENCING,
  VHD_BLOCK_BYTES,
  VHD_EPOCH_SECONDS,
  dynamicDiskHeader,
  hardDiskFooter,
} from '../vhd/layout.js';
import {
  encodeDynamicFooter,
  encodeDynamicHeader,
  encodeFixedFooter,
  type VhdIdentity,
} from '../vhd/structures.js';
import { viewOf } from '../struct.js';
import type { DiskFile } from './disk-file.js';
import { sealFooter, sealHeader } from './edit/vhd-editor.js';

/** How a VHD is packed differently from what `build` writes. */
export interface Packing {
  /** A power of two; default 2 MiB. */
  readonly blockBytes?: number;
  /** Makes it a differencing disk, with that parent. The sectors of blocks in use are all its own. */
  readonly parent?: { readonly uniqueId: Uint8Array; readonly name: string };
}

/** As `build` lays it out: the data of each block starts on a page of the file. */
const DATA_ALIGNMENT_BYTES = 4 * KIB;

const TABLE_OFFSET_BYTES = hardDiskFooter.sizeBytes + dynamicDiskHeader.sizeBytes;

/** UTF-16, big-endian, as in the header ("Parent Unicode Name"). */
function utf16(text: string, lengthBytes: number): Uint8Array {
  const bytes = Buffer.alloc(lengthBytes);
  bytes.write(text, 'utf16le');
  return new Uint8Array(bytes.swap16());
}

/** The bits of the sectors of a block that hold anything but zeros; the first sector is the highest bit. */
function bitmapOf(block: Uint8Array): Uint8Array {
  const sectors = block.length / SECTOR_BYTES;
  const bitmap = emptyBitmap(block);
  for (let sector = 0; sector < sectors; sector += 1) {
    const bytes = block.subarray(sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES);
    if (bytes.every((byte) => byte === 0)) continue;
    const at = Math.floor(sector / 8);
    bitmap[at] = (bitmap[at] ?? 0) | (0x80 >> (sector % 8));
  }
  return bitmap;
}

function emptyBitmap(block: Uint8Array): Uint8Array {
  return new Uint8Array(roundUp(Math.ceil(block.length / SECTOR_BYTES / 8), SECTOR_BYTES));
}

function blockOf(disk: DiskFile, block: number, blockBytes: number): Uint8Array {
  const bytes = new Uint8Array(blockBytes);
  const offset = block * blockBytes;
  bytes.set(disk.read(offset, Math.min(blockBytes, disk.sizeBytes - offset)));
  return bytes;
}

/**
 * Packs a disk into a dynamic VHD, in the order in which `build` writes them: block 0 last. A block of zeros gets no
 * place. One block is in memory at a time.
 *
 * @param vhd an empty file
 */
export function packVhd(disk: DiskFile, vhd: DiskFile, identity: VhdIdentity, packing: Packing = {}): void {
  const { blockBytes = VHD_BLOCK_BYTES, parent } = packing;
  const count = Math.ceil(disk.sizeBytes / blockBytes);
  const table = new Uint8Array(roundUp(count * Uint32Array.BYTES_PER_ELEMENT, SECTOR_BYTES)).fill(0xff);
  let at = TABLE_OFFSET_BYTES + table.length;
  for (let turn = 1; turn <= count; turn += 1) {
    const number = turn % count;
    const bytes = blockOf(disk, number, blockBytes);
    const used = bitmapOf(bytes);
    if (used.every((octet) => octet === 0)) continue;
    const bitmap = parent === undefined ? used : emptyBitmap(bytes).fill(0xff);
    const dataOffset = roundUp(at + bitmap.length, DATA_ALIGNMENT_BYTES);
    const sector = (dataOffset - bitmap.length) / SECTOR_BYTES;
    viewOf(table).setUint32(number * Uint32Array.BYTES_PER_ELEMENT, sector);
    vhd.write(dataOffset - bitmap.length, bitmap);
    vhd.write(dataOffset, bytes);
    at = dataOffset + blockBytes;
  }
  const footer = encodeDynamicFooter(disk.sizeBytes, identity);
  const header = encodeDynamicHeader(disk.sizeBytes, TABLE_OFFSET_BYTES);
  dynamicDiskHeader.set(header, 'max_table_entries', count);
  dynamicDiskHeader.set(header, 'block_size', blockBytes);
  if (parent !== undefined) {
    hardDiskFooter.set(footer, 'disk_type', DISK_TYPE_DIFFERENCING);
    dynamicDiskHeader.set(header, 'parent_unique_id', parent.uniqueId);
    dynamicDiskHeader.set(header, 'parent_time_stamp', identity.createdSeconds - VHD_EPOCH_SECONDS);
    const [, { bytes: nameBytes }] = dynamicDiskHeader.rows.parent_unicode_name;
    dynamicDiskHeader.set(header, 'parent_unicode_name', utf16(parent.name, nameBytes));
  }
  sealFooter(footer);
  sealHeader(header);
  vhd.write(0, footer);
  vhd.write(hardDiskFooter.sizeBytes, header);
  vhd.write(TABLE_OFFSET_BYTES, table);
  vhd.write(at, footer);
}

const COPY_BYTES = 256 * KIB;

/**
 * Copies a disk, with holes for zeros, and puts the footer of a fixed VHD behind it if there is an identity.
 *
 * @param target an empty file
 */
export function packRaw(disk: DiskFile, target: DiskFile, identity?: VhdIdentity): void {
  const { sizeBytes } = disk;
  for (let at = 0; at < sizeBytes; at += COPY_BYTES) {
    const bytes = disk.read(at, Math.min(COPY_BYTES, sizeBytes - at));
    if (bytes.some((byte) => byte !== 0)) target.write(at, bytes);
  }
  target.resize(sizeBytes);
  if (identity !== undefined) target.write(sizeBytes, encodeFixedFooter(sizeBytes, identity));
}
