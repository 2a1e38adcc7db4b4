import { corrupt, type ExtFilesystem } from '../filesystem.js';
import { INODE_BLOCKS_UNIT_BYTES, inode } from '../layout.js';
import type { BytePatch } from './patch.js';

export interface FileInode {
  readonly inodeNumber: number;
  /** Type and permissions. */
  readonly mode: number;
  readonly sizeBytes: number;
  /** Data and indirect blocks together. */
  readonly blockCount: number;
  /** `i_block` */
  readonly pointers: Uint8Array;
  /** Seconds since 1970, for all timestamps; below 2^32. */
  readonly timeSeconds: number;
}

const GOOD_OLD_INODE_BYTES = 128;
/** What e2fsprogs itself writes into `i_extra_isize`: the fields up to and including `i_projid`. */
const EXTRA_BYTES = inode.sizeBytes - GOOD_OLD_INODE_BYTES;

/**
 * The lowest bits of `i_*time_extra` count how often the signed 32 bits of `i_*time` have wrapped ("Inode
 * Timestamps").
 */
function epochBits(seconds: number): number {
  return seconds >= 2 ** 31 ? 1 : 0;
}

/** Writes the whole inode of a regular file of user and group 0. */
export function writeInode(filesystem: ExtFilesystem, file: FileInode): BytePatch {
  const { superblock, groups } = filesystem;
  const index = file.inodeNumber - 1;
  const group = groups.at(Math.floor(index / superblock.inodesPerGroup));
  if (group === undefined) throw corrupt('the file system', 0, `no inode ${file.inodeNumber}`, 'one');
  const { inodeBytes, blockBytes } = superblock;
  const offset = group.inodeTableBlock * blockBytes + (index % superblock.inodesPerGroup) * inodeBytes;
  const time = file.timeSeconds;
  const extra = epochBits(time);
  const large = inodeBytes > GOOD_OLD_INODE_BYTES;
  const encoded = inode.encode({
    i_mode: file.mode,
    i_size_lo: file.sizeBytes % 2 ** 32,
    i_size_high: Math.floor(file.sizeBytes / 2 ** 32),
    i_atime: time,
    i_ctime: time,
    i_mtime: time,
    i_links_count: 1,
    i_blocks_lo: (file.blockCount * blockBytes) / INODE_BLOCKS_UNIT_BYTES,
    i_block: file.pointers,
    ...(large
      ? {
          i_extra_isize: EXTRA_BYTES,
          i_ctime_extra: extra,
          i_mtime_extra: extra,
          i_atime_extra: extra,
          i_crtime: time,
          i_crtime_extra: extra,
        }
      : {}),
  });
  const bytes = new Uint8Array(inodeBytes);
  bytes.set(encoded.subarray(0, Math.min(inodeBytes, encoded.length)));
  return { offset, bytes };
}
