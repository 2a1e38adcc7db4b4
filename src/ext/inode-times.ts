import { extraBytes, type RawInode } from './inode.js';
import { GOOD_OLD_INODE_BYTES } from './file-layout.js';
import { inode as inodeLayout } from './layout.js';
import type { Superblock } from './superblock.js';

/** A point in time: seconds since 1970 (before it: negative), and nanoseconds on top of them. */
export interface Timestamp {
  readonly seconds: number;
  readonly nanoseconds: number;
}

export interface InodeTimes {
  readonly atime: Timestamp;
  readonly ctime: Timestamp;
  readonly mtime: Timestamp;
  /** When the file was made; undefined where the inode has no room for it. */
  readonly crtime: Timestamp | undefined;
}

/** `*_extra`: two bits of epoch below 30 bits of nanoseconds ("Inode Timestamps"). */
const EPOCH_VALUES = 4;

/**
 * As the kernel does it (fs/ext4/ext4.h, ext4_decode_extra_time): the 32 bits are signed, and 2^32 seconds are added
 * for each epoch.
 */
export function decodeTime(base: number, extra: number): Timestamp {
  const signed = base >= 2 ** 31 ? base - 2 ** 32 : base;
  return {
    seconds: signed + (extra % EPOCH_VALUES) * 2 ** 32,
    nanoseconds: Math.floor(extra / EPOCH_VALUES),
  };
}

type ExtraField = 'i_ctime_extra' | 'i_mtime_extra' | 'i_atime_extra' | 'i_crtime' | 'i_crtime_extra';

/** The times of an inode; those parts that its `i_extra_isize` leaves out are zero. */
export function inodeTimes(superblock: Superblock, raw: RawInode): InodeTimes {
  const end = GOOD_OLD_INODE_BYTES + (extraBytes(superblock, raw) ?? 0);
  const fits = (name: ExtraField): boolean => inodeLayout.rows[name][0] + 4 <= end;
  const extra = (name: ExtraField): number => (fits(name) ? raw[name] : 0);
  return {
    atime: decodeTime(raw.i_atime, extra('i_atime_extra')),
    ctime: decodeTime(raw.i_ctime, extra('i_ctime_extra')),
    mtime: decodeTime(raw.i_mtime, extra('i_mtime_extra')),
    crtime: fits('i_crtime') ? decodeTime(raw.i_crtime, extra('i_crtime_extra')) : undefined,
  };
}
