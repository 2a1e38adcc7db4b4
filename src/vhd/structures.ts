import { invariant } from '../errors.js';
import { viewOf } from '../struct.js';
import { SECTOR_BYTES, roundUp } from '../units.js';
import { geometryFor } from './geometry.js';
import {
  BAT_UNUSED,
  CREATOR_APPLICATION,
  CREATOR_VERSION,
  DISK_TYPE_DYNAMIC,
  DISK_TYPE_FIXED,
  FEATURES_RESERVED,
  FILE_FORMAT_VERSION,
  FOOTER_COOKIE,
  HEADER_COOKIE,
  HEADER_VERSION,
  NO_DATA_OFFSET,
  VHD_BLOCK_BYTES,
  VHD_EPOCH_SECONDS,
  dynamicDiskHeader,
  hardDiskFooter,
} from './layout.js';

/** What identifies a VHD besides its contents. */
export interface VhdIdentity {
  /** 16 bytes, not all zero. */
  readonly uniqueId: Uint8Array;
  /** Seconds since 1970. Before 2000 counts as 2000: a VHD has no negative time. */
  readonly createdSeconds: number;
}

/** "The checksum is a one's complement of the sum of all the bytes in the structure without the checksum field." */
export function checksumOf(bytes: Uint8Array, checksumOffset: number): number {
  let sum = 0;
  for (const [index, byte] of bytes.entries()) {
    if (index < checksumOffset || index >= checksumOffset + 4) sum += byte;
  }
  return ~sum >>> 0;
}

function ascii(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, 'latin1'));
}

function encodeFooter(
  virtualSize: number,
  identity: VhdIdentity,
  diskType: number,
  dataOffset: bigint,
): Uint8Array {
  invariant(
    identity.uniqueId.some((byte) => byte !== 0),
    'the unique id of a VHD is not null',
  );
  const geometry = geometryFor(virtualSize);
  const footer = hardDiskFooter.encode({
    cookie: ascii(FOOTER_COOKIE),
    features: FEATURES_RESERVED,
    file_format_version: FILE_FORMAT_VERSION,
    data_offset: dataOffset,
    time_stamp: Math.max(0, identity.createdSeconds - VHD_EPOCH_SECONDS),
    creator_application: ascii(CREATOR_APPLICATION),
    creator_version: CREATOR_VERSION,
    // blktap leaves this 0: neither "Wi2k" nor "Mac ".
    creator_host_os: 0,
    original_size: BigInt(virtualSize),
    current_size: BigInt(virtualSize),
    disk_geometry_cylinders: geometry.cylinders,
    disk_geometry_heads: geometry.heads,
    disk_geometry_sectors_per_track: geometry.sectorsPerTrack,
    disk_type: diskType,
    unique_id: identity.uniqueId,
  });
  hardDiskFooter.set(footer, 'checksum', checksumOf(footer, hardDiskFooter.rows.checksum[0]));
  return footer;
}

/** The footer of a dynamic disk; the same 512 bytes open the file and close it. */
export function encodeDynamicFooter(virtualSize: number, identity: VhdIdentity): Uint8Array {
  return encodeFooter(virtualSize, identity, DISK_TYPE_DYNAMIC, BigInt(hardDiskFooter.sizeBytes));
}

/** The footer of a fixed disk, which stands behind the disk's own bytes and leads nowhere. */
export function encodeFixedFooter(virtualSize: number, identity: VhdIdentity): Uint8Array {
  return encodeFooter(virtualSize, identity, DISK_TYPE_FIXED, NO_DATA_OFFSET);
}

/** The number of BAT entries for a disk of that size. */
export function tableEntries(virtualSize: number): number {
  return Math.ceil(virtualSize / VHD_BLOCK_BYTES);
}

/** Bytes of the BAT on disk, padded to a sector. */
export function tableBytes(virtualSize: number): number {
  return roundUp(tableEntries(virtualSize) * 4, SECTOR_BYTES);
}

/** The dynamic disk header; `tableOffset` is where the BAT starts in the file, in bytes. */
export function encodeDynamicHeader(virtualSize: number, tableOffset: number): Uint8Array {
  const header = dynamicDiskHeader.encode({
    cookie: ascii(HEADER_COOKIE),
    data_offset: NO_DATA_OFFSET,
    table_offset: BigInt(tableOffset),
    header_version: HEADER_VERSION,
    max_table_entries: tableEntries(virtualSize),
    block_size: VHD_BLOCK_BYTES,
  });
  dynamicDiskHeader.set(header, 'checksum', checksumOf(header, dynamicDiskHeader.rows.checksum[0]));
  return header;
}

/** The BAT: for each virtual block the sector of the file where its bitmap starts ("Block Allocation Table"). */
export class BlockAllocationTable {
  /** As on disk; owned by the table. */
  readonly bytes: Uint8Array;
  readonly #entries: number;
  readonly #view: DataView;

  constructor(virtualSize: number) {
    this.bytes = new Uint8Array(tableBytes(virtualSize)).fill(0xff);
    this.#entries = tableEntries(virtualSize);
    this.#view = viewOf(this.bytes);
  }

  place(block: number, sector: number): void {
    const fits = block < this.#entries && Number.isInteger(sector) && sector > 0 && sector < BAT_UNUSED;
    invariant(fits, `block ${block} at sector ${sector} fits the BAT`);
    invariant(this.#view.getUint32(block * 4) === BAT_UNUSED, `block ${block} is placed once`);
    this.#view.setUint32(block * 4, sector);
  }
}

/** Bytes of a sector bitmap: one bit a sector, "padded to a 512-byte sector boundary". */
export const BITMAP_BYTES = roundUp(VHD_BLOCK_BYTES / SECTOR_BYTES / 8, SECTOR_BYTES);

/**
 * The bitmap of a block in which the given ranges hold data. The first sector is the highest bit of the first byte.
 *
 * @param ranges offsets within the block, in bytes; a sector that a range only touches counts
 */
export function encodeBitmap(
  ranges: Iterable<{ readonly offset: number; readonly length: number }>,
): Uint8Array {
  const bitmap = new Uint8Array(BITMAP_BYTES);
  for (const { offset, length } of ranges) {
    invariant(
      offset >= 0 && length > 0 && offset + length <= VHD_BLOCK_BYTES,
      'a range lies within its block',
    );
    const last = Math.ceil((offset + length) / SECTOR_BYTES);
    for (let sector = Math.floor(offset / SECTOR_BYTES); sector < last; sector += 1) {
      bitmap[sector >> 3] = (bitmap[sector >> 3] ?? 0) | (0x80 >> (sector & 7));
    }
  }
  return bitmap;
}
