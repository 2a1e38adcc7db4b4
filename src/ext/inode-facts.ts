import type { ExtFilesystem } from './filesystem.js';
import { fileSizeBytes, hasInlineData, largestFileBytes, type RawInode } from './inode.js';
import { inodeTimes, type InodeTimes } from './inode-times.js';
import {
  INCOMPAT_EA_INODE,
  INODE_FLAGS,
  INODE_FLAG_HUGE_FILE,
  MODE_TYPE_BLOCK_DEVICE,
  MODE_TYPE_CHARACTER_DEVICE,
  MODE_TYPE_FIFO,
  MODE_TYPE_SOCKET,
  MODE_TYPE_SYMLINK,
  RO_COMPAT_HUGE_FILE,
} from './file-layout.js';
import {
  INODE_BLOCKS_UNIT_BYTES,
  INODE_FLAG_EXTENTS,
  MODE_TYPE_DIRECTORY,
  MODE_TYPE_MASK,
  MODE_TYPE_REGULAR,
} from './layout.js';
import type { Superblock } from './superblock.js';

export type FileType =
  | 'regular'
  | 'directory'
  | 'symlink'
  | 'character device'
  | 'block device'
  | 'fifo'
  | 'socket'
  | 'unknown';

/** How an inode has its content. Devices, fifos and sockets have none. */
export type FileStorage = 'extents' | 'block map' | 'inline' | 'fast symlink';

/** What an inode tells, in our words, with units. */
export interface InodeFacts extends InodeTimes {
  readonly inodeNumber: number;
  readonly type: FileType;
  /** Permission bits, 0o7777 of them. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** At most what 2^32 blocks hold; a size beyond was reported when the inode was read. */
  readonly sizeBytes: number;
  readonly linkCount: number;
  /** Seconds since 1970 of a deleted inode, else 0. (An inode on the list of orphans has its successor there.) */
  readonly deletedSeconds: number;
  /** `i_flags` as it stands. */
  readonly flags: number;
  /** Its bits by name, the lowest first; one that has none as `0x…`. */
  readonly flagNames: readonly string[];
  readonly storage: FileStorage;
  /** `i_blocks` in units of 512 bytes, whichever unit it has on disk. */
  readonly blocks512: number;
}

const TYPES: Readonly<Record<number, FileType>> = {
  [MODE_TYPE_REGULAR]: 'regular',
  [MODE_TYPE_DIRECTORY]: 'directory',
  [MODE_TYPE_SYMLINK]: 'symlink',
  [MODE_TYPE_CHARACTER_DEVICE]: 'character device',
  [MODE_TYPE_BLOCK_DEVICE]: 'block device',
  [MODE_TYPE_FIFO]: 'fifo',
  [MODE_TYPE_SOCKET]: 'socket',
};
const PERMISSION_MASK = 0o7777;

/** The type that the mode's upper bits tell. */
export function fileTypeOf(raw: RawInode): FileType {
  return TYPES[raw.i_mode & MODE_TYPE_MASK] ?? 'unknown';
}

/** `i_blocks` in units of 512 bytes (fs/ext4/inode.c, ext4_inode_blocks). */
export function blocks512({ features, blockBytes }: Superblock, raw: RawInode): number {
  if ((features.roCompat & RO_COMPAT_HUGE_FILE) === 0) return raw.i_blocks_lo;
  const count = raw.i_blocks_lo + raw.l_i_blocks_high * 2 ** 32;
  const inBlocks = (raw.i_flags & INODE_FLAG_HUGE_FILE) !== 0;
  return inBlocks ? count * (blockBytes / INODE_BLOCKS_UNIT_BYTES) : count;
}

/** A symbolic link whose target stands in `i_block` (fs/ext4/inode.c, ext4_inode_is_fast_symlink). */
function isFastSymlink(superblock: Superblock, raw: RawInode): boolean {
  if (fileTypeOf(raw) !== 'symlink') return false;
  const sizeBytes = fileSizeBytes(superblock, raw);
  if ((superblock.features.incompat & INCOMPAT_EA_INODE) !== 0) {
    return sizeBytes > 0 && sizeBytes < raw.i_block.length;
  }
  // A block of attributes counts, too: all of its cluster.
  const hasAttributeBlock = raw.i_file_acl_lo !== 0 || raw.l_i_file_acl_high !== 0;
  const clusterBytes = superblock.blocksPerCluster * superblock.blockBytes;
  const attributeBlocks = hasAttributeBlock ? clusterBytes / INODE_BLOCKS_UNIT_BYTES : 0;
  return blocks512(superblock, raw) === attributeBlocks;
}

export function storageOf(superblock: Superblock, raw: RawInode): FileStorage {
  if (hasInlineData(raw)) return 'inline';
  if (isFastSymlink(superblock, raw)) return 'fast symlink';
  return (raw.i_flags & INODE_FLAG_EXTENTS) === 0 ? 'block map' : 'extents';
}

/** The names of the bits that are set in `i_flags`. */
export function inodeFlagNames(flags: number): string[] {
  const names: string[] = [];
  for (let value = 1; value <= flags; value *= 2) {
    if (Math.floor(flags / value) % 2 === 1) names.push(INODE_FLAGS[value] ?? `0x${value.toString(16)}`);
  }
  return names;
}

/** An inode in our words; pure: what is wrong with it was reported by `readInode`. */
export function describeInode({ superblock }: ExtFilesystem, inodeNumber: number, raw: RawInode): InodeFacts {
  return {
    inodeNumber,
    type: fileTypeOf(raw),
    mode: raw.i_mode & PERMISSION_MASK,
    uid: raw.i_uid + raw.l_i_uid_high * 2 ** 16,
    gid: raw.i_gid + raw.l_i_gid_high * 2 ** 16,
    sizeBytes: Math.min(fileSizeBytes(superblock, raw), largestFileBytes(superblock)),
    linkCount: raw.i_links_count,
    ...inodeTimes(superblock, raw),
    deletedSeconds: raw.i_dtime,
    flags: raw.i_flags,
    flagNames: inodeFlagNames(raw.i_flags),
    storage: storageOf(superblock, raw),
    blocks512: blocks512(superblock, raw),
  };
}
