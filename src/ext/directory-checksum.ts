import { viewOf } from '../struct.js';
import { crc32c } from './crc32c.js';
import { recordBytes } from './directory-block.js';
import {
  DIRECTORY_TAIL_FILE_TYPE,
  DX_ENTRY_BYTES,
  DX_ROOT_INFO_BYTES,
  directoryEntryTail,
  dxCountLimit,
  dxRoot,
  dxTail,
} from './file-layout.js';
import { directoryEntryHead } from './layout.js';

/** A checksum of a directory block: as it stands (undefined: there is none), and as it should be. */
export interface BlockChecksum {
  /** Within the block, in bytes. */
  readonly at: number;
  readonly stored: number | undefined;
  readonly computed: number | undefined;
}

/** The checksum at the end of a block of entries (fs/ext4/namei.c, get_dirent_tail). */
function entriesChecksum(seed: number, block: Uint8Array): BlockChecksum {
  const at = block.length - directoryEntryTail.sizeBytes;
  const tail = directoryEntryTail.decode(block, at);
  const isTail =
    tail.det_reserved_zero1 === 0 &&
    tail.det_rec_len === directoryEntryTail.sizeBytes &&
    tail.det_reserved_zero2 === 0 &&
    tail.det_reserved_ft === DIRECTORY_TAIL_FILE_TYPE;
  if (!isTail) return { at, stored: undefined, computed: undefined };
  return { at, stored: tail.det_checksum, computed: crc32c(seed, block.subarray(0, at)) };
}

/** Where the index of such a block begins (fs/ext4/namei.c, get_dx_countlimit). @returns undefined: it has none */
function countLimitOffset(block: Uint8Array): number | undefined {
  const root = dxRoot.decode(block);
  if (recordBytes(root['dot.rec_len'], block.length) === block.length) return directoryEntryHead.sizeBytes;
  const isRoot =
    root['dot.rec_len'] === dxRoot.rows['dotdot.inode'][0] &&
    recordBytes(root['dotdot.rec_len'], block.length) === block.length - root['dot.rec_len'] &&
    root['info.reserved_zero'] === 0 &&
    root['info.info_length'] === DX_ROOT_INFO_BYTES;
  return isRoot ? dxRoot.sizeBytes : undefined;
}

/** The checksum behind the index entries of a hashed folder's block (fs/ext4/namei.c, ext4_dx_csum). */
function indexChecksum(seed: number, block: Uint8Array): BlockChecksum {
  const none = { at: 0, stored: undefined, computed: undefined };
  const start = countLimitOffset(block);
  if (start === undefined) return none;
  const { limit, count } = dxCountLimit.decode(block, start);
  const tailAt = start + limit * DX_ENTRY_BYTES;
  if (count > limit || tailAt + dxTail.sizeBytes > block.length) return none;
  const at = tailAt + dxTail.rows.dt_checksum[0];
  const overEntries = crc32c(seed, block.subarray(0, start + count * DX_ENTRY_BYTES));
  const overReserved = crc32c(overEntries, block.subarray(tailAt, at));
  const computed = crc32c(overReserved, new Uint8Array(Uint32Array.BYTES_PER_ELEMENT));
  return { at, stored: viewOf(block).getUint32(at, true), computed };
}

/**
 * The checksum of one block of a folder with `metadata_csum`.
 *
 * @param hashed the folder has an index: its first block, and each block that begins with an entry over all of it, is
 *   one of the index (fs/ext4/namei.c, __ext4_read_dirblock)
 */
export function directoryChecksum(
  seed: number,
  block: Uint8Array,
  fileBlock: number,
  hashed: boolean,
): BlockChecksum {
  const { rec_len } = directoryEntryHead.decode(block);
  const isIndex = hashed && (fileBlock === 0 || recordBytes(rec_len, block.length) === block.length);
  return isIndex ? indexChecksum(seed, block) : entriesChecksum(seed, block);
}
