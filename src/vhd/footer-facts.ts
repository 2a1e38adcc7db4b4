import { invariant } from '../errors.js';
import type { StructValues } from '../struct.js';
import {
  CREATOR_APPLICATION,
  DISK_TYPE_DIFFERENCING,
  DISK_TYPE_DYNAMIC,
  DISK_TYPE_FIXED,
  FOOTER_COOKIE,
  NO_DATA_OFFSET,
  NO_DATA_OFFSET_SHORT,
  VHD_EPOCH_SECONDS,
  hardDiskFooter,
} from './layout.js';
import { checksumOf } from './structures.js';
import type { VhdFooterFacts, VhdKind } from './vhd-disk.js';
import { printableBytes } from './words.js';

export type RawFooter = StructValues<(typeof hardDiskFooter)['rows']>;

/** "Creator Host OS". */
const HOST_SYSTEMS: Readonly<Record<string, string>> = { Wi2k: 'Windows', 'Mac ': 'Macintosh' };

const KINDS: Readonly<Record<number, VhdKind>> = {
  [DISK_TYPE_FIXED]: 'fixed',
  [DISK_TYPE_DYNAMIC]: 'dynamic',
  [DISK_TYPE_DIFFERENCING]: 'differencing',
};

/** Undefined for the types that nobody may use: none, and those that the specification calls deprecated. */
export function kindOf(diskType: number): VhdKind | undefined {
  return KINDS[diskType];
}

export function hasFooterCookie(bytes: Uint8Array, at = 0): boolean {
  return Buffer.from(FOOTER_COOKIE).equals(bytes.subarray(at, at + FOOTER_COOKIE.length));
}

/** blktap's mark of a hidden disk is the first of the reserved bytes (blktap, include/vhd.h, struct hd_ftr). */
function isHidden(raw: RawFooter): boolean {
  return raw.reserved[0] !== 0;
}

/** Creator `tap` in one of those versions. */
export function isTapdisk(raw: RawFooter, ...versions: readonly number[]): boolean {
  const tap = Buffer.from(CREATOR_APPLICATION, 'latin1').equals(raw.creator_application);
  return tap && versions.includes(raw.creator_version);
}

/**
 * Whether the checksum holds. Early versions of blktap did not compute it anew when they hid a disk, and libvhd takes
 * those for good (vhd_validate_footer): so do we.
 */
export function footerChecksumHolds(bytes: Uint8Array): boolean {
  const checksumAt = hardDiskFooter.rows.checksum[0];
  const raw = hardDiskFooter.decode(bytes);
  if (raw.checksum === checksumOf(bytes, checksumAt)) return true;
  if (!isHidden(raw) || !isTapdisk(raw, 0x00000001, 0x00010001)) return false;
  const shown = Uint8Array.from(bytes);
  shown[hardDiskFooter.rows.reserved[0]] = 0;
  return raw.checksum === checksumOf(shown, checksumAt);
}

/** A field of eight bytes as a safe integer; what is larger becomes the largest there is, and has its finding. */
export function clampedNumber(value: bigint): number {
  return value > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(value);
}

export function leadsNowhere(dataOffset: bigint): boolean {
  return dataOffset === NO_DATA_OFFSET || dataOffset === NO_DATA_OFFSET_SHORT;
}

/** Seconds since 1970 of a VHD's time. */
export function unixSeconds(timeStamp: number): number {
  return timeStamp + VHD_EPOCH_SECONDS;
}

/** The footer in our words. Copies what it keeps. */
export function footerFacts(raw: RawFooter): VhdFooterFacts {
  const hostOs = Buffer.alloc(4);
  hostOs.writeUInt32BE(raw.creator_host_os);
  const hostName = hostOs.toString('latin1');
  invariant(kindOf(raw.disk_type) !== undefined, 'only a footer of a known type has facts');
  return {
    features: raw.features,
    fileFormatVersion: raw.file_format_version,
    dataOffset: leadsNowhere(raw.data_offset) ? undefined : clampedNumber(raw.data_offset),
    createdSeconds: unixSeconds(raw.time_stamp),
    creatorApplication: creatorName(raw),
    creatorVersion: raw.creator_version,
    creatorHostOs: raw.creator_host_os === 0 ? '' : (HOST_SYSTEMS[hostName] ?? printableBytes(hostOs)),
    originalSize: clampedNumber(raw.original_size),
    currentSize: clampedNumber(raw.current_size),
    geometry: {
      cylinders: raw.disk_geometry_cylinders,
      heads: raw.disk_geometry_heads,
      sectorsPerTrack: raw.disk_geometry_sectors_per_track,
    },
    diskType: raw.disk_type,
    checksum: raw.checksum,
    uniqueId: Uint8Array.from(raw.unique_id),
    savedState: raw.saved_state !== 0,
    hidden: isHidden(raw),
  };
}

/** The creator without what it is padded with, printable. */
export function creatorName(raw: RawFooter): string {
  const end = raw.creator_application.findLastIndex((byte) => byte !== 0 && byte !== 0x20) + 1;
  return printableBytes(raw.creator_application.subarray(0, end));
}
