import type { FindingCode } from '../finding-codes.js';
import { corrupt, type BlockGroup, type ExtFilesystem } from './filesystem.js';
import { inodeChecksum } from './inode-checksum.js';
import {
  GOOD_OLD_INODE_BYTES,
  INCOMPAT_EXTENT,
  INCOMPAT_INLINE_DATA,
  INCOMPAT_LARGE_DIR,
  MAX_FILE_BLOCKS,
} from './file-layout.js';
import {
  INODE_FLAG_EXTENTS,
  INODE_FLAG_INLINE_DATA,
  MODE_TYPE_MASK,
  MODE_TYPE_REGULAR,
  EXTENT_MAGIC,
  extentHeader,
  inode as inodeLayout,
} from './layout.js';
import type { StructValues } from '../struct.js';
import type { Superblock } from './superblock.js';

export type RawInode = StructValues<(typeof inodeLayout)['rows']>;

/** One inode as on disk, all `inodeBytes` of it. */
export interface InodeBytes {
  /** On the disk, in bytes. */
  readonly offset: number;
  /** A copy. */
  readonly bytes: Uint8Array;
}

function groupOf({ superblock, groups }: ExtFilesystem, inodeNumber: number): BlockGroup | undefined {
  return groups.at(Math.floor((inodeNumber - 1) / superblock.inodesPerGroup));
}

/** Where an inode stands on the disk, in bytes. @throws PatchVdiError `image` for a number that no inode has */
export function inodeOffset(filesystem: ExtFilesystem, inodeNumber: number): number {
  const { superblock } = filesystem;
  const exists = inodeNumber >= 1 && inodeNumber <= superblock.inodeCount;
  if (!exists) {
    throw corrupt(`inode ${inodeNumber}`, 0, `inode number ${inodeNumber}`, `1 to ${superblock.inodeCount}`);
  }
  const group = groupOf(filesystem, inodeNumber);
  if (group === undefined) {
    const found = 'a group whose descriptor cannot be used';
    throw corrupt(`inode ${inodeNumber}`, 0, found, 'a group with a table of inodes');
  }
  const slot = (inodeNumber - 1) % superblock.inodesPerGroup;
  return group.inodeTableBlock * superblock.blockBytes + slot * superblock.inodeBytes;
}

/** @throws PatchVdiError `image` for a number that no inode has */
export async function readInodeBytes(filesystem: ExtFilesystem, inodeNumber: number): Promise<InodeBytes> {
  const offset = inodeOffset(filesystem, inodeNumber);
  return { offset, bytes: new Uint8Array(await filesystem.read(offset, filesystem.superblock.inodeBytes)) };
}

/**
 * Reads one inode by number. Fields beyond a 128 byte inode read as zero.
 * Reports one of `inode-extra-size`, `inode-checksum`, `inode-flags` and `inode-size`, whichever comes first.
 *
 * @throws PatchVdiError `image` for a number that no inode has
 */
export async function readInode(filesystem: ExtFilesystem, inodeNumber: number): Promise<RawInode> {
  const { offset, bytes } = await readInodeBytes(filesystem, inodeNumber);
  const padded = new Uint8Array(inodeLayout.sizeBytes);
  padded.set(bytes.subarray(0, padded.length));
  const raw = inodeLayout.decode(padded);
  const fault = inodeFault(filesystem.superblock, inodeNumber, raw, bytes);
  if (fault !== undefined) {
    const { code, field, found, expected } = fault;
    const at = offset + inodeLayout.rows[field][0];
    const structure = `inode ${inodeNumber}`;
    filesystem.report({ code, severity: 'error', structure, space: 'disk', offset: at, found, expected });
  }
  return raw;
}

/**
 * Whether an inode has the checksum that it should have. When it has not, that was reported, and what follows from it is
 * not reported again: its times, its counts, the checksums that continue from its generation.
 */
export async function inodeIsIntact(filesystem: ExtFilesystem, inodeNumber: number): Promise<boolean> {
  const { bytes } = await readInodeBytes(filesystem, inodeNumber);
  const checksum = inodeChecksum(filesystem.superblock, inodeNumber, bytes);
  return checksum === undefined || checksum.stored === checksum.computed;
}

interface InodeFault {
  readonly code: FindingCode;
  readonly field: keyof typeof inodeLayout.rows;
  readonly found: string;
  readonly expected: string;
}

const hex = (value: number): string => `0x${value.toString(16)}`;

/** The first thing that is wrong: damage is one finding, not one for each field that it hit. */
function inodeFault(
  superblock: Superblock,
  inodeNumber: number,
  raw: RawInode,
  bytes: Uint8Array,
): InodeFault | undefined {
  // One that was never used has no checksum either.
  if (bytes.every((byte) => byte === 0)) return undefined;
  if (extraBytes(superblock, raw) === undefined) {
    const found = `i_extra_isize ${raw.i_extra_isize}`;
    const expected = `a multiple of 4, at most ${superblock.inodeBytes - GOOD_OLD_INODE_BYTES}`;
    return { code: 'inode-extra-size', field: 'i_extra_isize', found, expected };
  }
  const checksum = inodeChecksum(superblock, inodeNumber, bytes);
  if (checksum !== undefined && checksum.stored !== checksum.computed) {
    const found = `checksum ${hex(checksum.stored)}`;
    return { code: 'inode-checksum', field: 'l_i_checksum_lo', found, expected: hex(checksum.computed) };
  }
  if (saysExtentsAndInline(raw)) {
    const found = `i_flags ${hex(raw.i_flags)}: extents and inline data`;
    return { code: 'inode-flags', field: 'i_flags', found, expected: 'one of the two' };
  }
  const lacking = lackingFeature(superblock, raw);
  if (lacking !== undefined) {
    const found = `i_flags ${hex(raw.i_flags)} without the feature ${lacking}`;
    return { code: 'inode-flags', field: 'i_flags', found, expected: 'flags of features that are there' };
  }
  if (fileSizeBytes(superblock, raw) > largestFileBytes(superblock)) {
    const found = `i_size ${hex(raw.i_size_high)} ${hex(raw.i_size_lo)}`;
    const expected = `at most ${largestFileBytes(superblock)} bytes`;
    return { code: 'inode-size', field: 'i_size_high', found, expected };
  }
  return undefined;
}

/**
 * Bytes behind the first 128 of an inode that hold fields. The kernel takes 0 for all it knows (fs/ext4/inode.c,
 * ext4_iget), for the room is then unused, and zeros.
 *
 * @returns undefined when `i_extra_isize` cannot be
 */
export function extraBytes({ inodeBytes }: Superblock, raw: RawInode): number | undefined {
  const room = inodeBytes - GOOD_OLD_INODE_BYTES;
  if (room === 0) return 0;
  if (raw.i_extra_isize > room || raw.i_extra_isize % 4 !== 0) return undefined;
  return raw.i_extra_isize === 0 ? inodeLayout.sizeBytes - GOOD_OLD_INODE_BYTES : raw.i_extra_isize;
}

const saysExtentsAndInline = ({ i_flags: flags }: RawInode): boolean =>
  (flags & INODE_FLAG_EXTENTS) !== 0 && (flags & INODE_FLAG_INLINE_DATA) !== 0;

/**
 * A flag without its feature: the drivers for ext2 and ext3 of old kernels know neither, and would take the root of an
 * extent tree, or content, for block numbers. The file is another one to them.
 */
function lackingFeature({ features }: Superblock, { i_flags: flags }: RawInode): string | undefined {
  const lacks = (flag: number, feature: number): boolean =>
    (flags & flag) !== 0 && (features.incompat & feature) === 0;
  if (lacks(INODE_FLAG_EXTENTS, INCOMPAT_EXTENT)) return 'extent';
  return lacks(INODE_FLAG_INLINE_DATA, INCOMPAT_INLINE_DATA) ? 'inline_data' : undefined;
}

/** Content in the inode itself. Of an inode that says so, and extents, too, the magic of an extent tree decides. */
export function hasInlineData(raw: RawInode): boolean {
  if (saysExtentsAndInline(raw)) return extentHeader.decode(raw.i_block).eh_magic !== EXTENT_MAGIC;
  return (raw.i_flags & INODE_FLAG_INLINE_DATA) !== 0;
}

/** `i_size` of a regular file in bytes. */
export function inodeSizeBytes(raw: RawInode): number {
  return raw.i_size_lo + raw.i_size_high * 2 ** 32;
}

/**
 * `i_size` as the kernel takes it (fs/ext4/ext4.h, ext4_isize): its upper half counts for regular files, and with
 * `large_dir` for all. In bytes; beyond {@link largestFileBytes} it is damage, and may be no exact number.
 */
export function fileSizeBytes({ features }: Superblock, raw: RawInode): number {
  const isRegular = (raw.i_mode & MODE_TYPE_MASK) === MODE_TYPE_REGULAR;
  const hasUpperHalf = isRegular || (features.incompat & INCOMPAT_LARGE_DIR) !== 0;
  return hasUpperHalf ? inodeSizeBytes(raw) : raw.i_size_lo;
}

/** Bytes that 2^32 file blocks hold. */
export function largestFileBytes({ blockBytes }: Superblock): number {
  return MAX_FILE_BLOCKS * blockBytes;
}

/** Reports the warning `deleted-inode` for an inode that a name leads to all the same. */
export async function reportDeleted(
  filesystem: ExtFilesystem,
  inodeNumber: number,
  raw: RawInode,
): Promise<void> {
  if (raw.i_links_count > 0 && raw.i_dtime === 0) return;
  if (!(await inodeIsIntact(filesystem, inodeNumber))) return;
  filesystem.report({
    code: 'deleted-inode',
    severity: 'warning',
    structure: `inode ${inodeNumber}`,
    space: 'disk',
    offset: inodeOffset(filesystem, inodeNumber),
    found: `i_links_count ${raw.i_links_count}, i_dtime ${raw.i_dtime}`,
    expected: 'an inode in use, for it has a name',
  });
}
