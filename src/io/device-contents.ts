import { readSync } from 'node:fs';
import { KIB, SECTOR_BYTES } from '../units.js';
import type { ClaimedDevice } from './block-device.js';
import { readFailure } from './system-errors.js';

/*
 * What a device holds that is more than a file system: a table that divides it, or its part of something larger.
 * O_EXCL protects these while they are in use; not in use, they are one slip of the finger away (/dev/sdb for
 * /dev/sdb1), and far more than one file system goes with them.
 */

/** Reads at most `length` bytes; fewer at the end of the device, none before its start. */
type Read = (offset: number, length: number) => Buffer;

function text(bytes: Buffer, offset: number, expected: string): boolean {
  return bytes.toString('latin1', offset, offset + expected.length) === expected;
}

const MBR_TABLE_OFFSET = 446;
const MBR_ENTRY_BYTES = 16;

/**
 * 0x55 0xAA also ends boot sectors, where code and text stand in the place of the table: entries must look like
 * entries (flag 0 or 0x80), and one of them be in use (type, first sector and length not 0).
 */
function holdsMbr(sector: Buffer): boolean {
  if (sector.length < SECTOR_BYTES || sector.readUInt16LE(510) !== 0xaa55) return false;
  const starts = [0, 1, 2, 3].map((index) => MBR_TABLE_OFFSET + index * MBR_ENTRY_BYTES);
  const plausible = starts.every((at) => sector[at] === 0 || sector[at] === 0x80);
  const used = starts.some(
    (at) => sector[at + 4] !== 0 && sector.readUInt32LE(at + 8) > 0 && sector.readUInt32LE(at + 12) > 0,
  );
  return plausible && used;
}

const GPT_SIGNATURE = 'EFI PART';
/** Sector sizes of disks, in bytes. */
const DISK_SECTORS = [SECTOR_BYTES, 4 * KIB];

const PAGE_SIZES = [4, 8, 16, 64].map((size) => size * KIB);

const MD_MAGIC = Buffer.from([0xfc, 0x4e, 0x2b, 0xa9]);
const MD_ALIGNMENT_BYTES = 64 * KIB;

/** Where the four versions of an MD superblock are (md(4); linux/raid/md_p.h). */
function mdOffsets(sizeBytes: number): number[] {
  const version090 = Math.floor(sizeBytes / MD_ALIGNMENT_BYTES) * MD_ALIGNMENT_BYTES - MD_ALIGNMENT_BYTES;
  const version10 = Math.floor((sizeBytes - 8 * KIB) / (4 * KIB)) * 4 * KIB;
  return [0, 4 * KIB, version090, version10];
}

const FINDERS: readonly (readonly [what: string, find: (read: Read, sizeBytes: number) => boolean])[] = [
  [
    'a GPT partition table',
    (read, size) =>
      DISK_SECTORS.some((sector) =>
        [sector, size - sector].some((at) => text(read(at, 8), 0, GPT_SIGNATURE)),
      ),
  ],
  ['an MBR partition table', (read) => holdsMbr(read(0, SECTOR_BYTES))],
  [
    'a physical volume of LVM',
    (read) => [0, 1, 2, 3].some((sector) => text(read(sector * SECTOR_BYTES, 8), 0, 'LABELONE')),
  ],
  ['an encrypted volume (LUKS)', (read) => text(read(0, 6), 0, 'LUKS\xba\xbe')],
  [
    'swap space',
    (read) =>
      PAGE_SIZES.some((page) =>
        ['SWAPSPACE2', 'SWAP-SPACE'].some((magic) => text(read(page - magic.length, magic.length), 0, magic)),
      ),
  ],
  [
    'a member of a software RAID',
    (read, size) => mdOffsets(size).some((at) => read(at, MD_MAGIC.length).equals(MD_MAGIC)),
  ],
];

/** @throws PatchVdiError `sink` when the device cannot be read */
function reader({ fd, name, sizeBytes }: ClaimedDevice): Read {
  return (offset, length) => {
    if (offset < 0 || offset >= sizeBytes) return Buffer.alloc(0);
    const bytes = Buffer.alloc(length);
    try {
      return bytes.subarray(0, readSync(fd, bytes, 0, length, offset));
    } catch (error) {
      throw readFailure(name, offset, error);
    }
  };
}

/** What a device holds that is more than a file system, for a message; undefined when nothing of that kind was found. */
export function moreThanAFilesystem(device: ClaimedDevice): string | undefined {
  const read = reader(device);
  return FINDERS.find(([, find]) => find(read, device.sizeBytes))?.[0];
}

/** Whether a range reads as zeros, as far as the device goes. */
export function isZeroed(device: ClaimedDevice, offset: number, length: number): boolean {
  const bytes = reader(device)(offset, length);
  return bytes.equals(Buffer.alloc(bytes.length));
}
