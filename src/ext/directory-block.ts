import { KIB } from '../units.js';
import { directoryEntryHead, INCOMPAT_FILETYPE } from './layout.js';
import { printableBytes } from './printable-bytes.js';
import type { Superblock } from './superblock.js';

export interface DirectoryEntry {
  readonly inodeNumber: number;
  /** The name's bytes as UTF-8; never printed unescaped. */
  readonly name: string;
  /** As they stand on disk; a copy. */
  readonly nameBytes: Uint8Array;
  /** 1 regular file, 2 directory, … (ext4 documentation, "Directory Entries"); 0: the inode tells. */
  readonly fileType: number;
}

/** Something that is wrong with an entry. */
export interface EntryFault {
  readonly code: 'directory-entry' | 'directory-entry-inode' | 'directory-entry-name';
  /** Of the entry, on the disk, in bytes. */
  readonly offset: number;
  readonly found: string;
  readonly expected: string;
}

const LARGEST_BLOCK_BYTES = 64 * KIB;
const LARGEST_RECORD = 0xffff;
const RECORD_ALIGNMENT_BYTES = 4;

/**
 * The length that `rec_len` says. In blocks of 64 KiB it does not fit 16 bits: 65535 and 0 mean the whole block, and the
 * two lowest bits are bits 16 and 17 (e2fsprogs, lib/ext2fs/dirblock.c, ext2fs_get_rec_len).
 */
export function recordBytes(recLen: number, blockBytes: number): number {
  if (blockBytes < LARGEST_BLOCK_BYTES) return recLen;
  if (recLen === LARGEST_RECORD || recLen === 0) return blockBytes;
  const low = recLen % RECORD_ALIGNMENT_BYTES;
  return recLen - low + low * 2 ** 16;
}

const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });
const SLASH = 0x2f;

function nameFault(name: Uint8Array): string | undefined {
  if (name.length === 0) return 'an empty name';
  if (name.includes(SLASH) || name.includes(0)) return `the name ${printableBytes(name)}`;
  return undefined;
}

/**
 * The entries in a block, or in a part of an inode, one behind the other. An entry that does not fit ends the block; one
 * that cannot be is left out.
 *
 * @param area not kept
 * @param areaOffset of `area`, on the disk, in bytes
 * @param tell is told what is wrong
 */
export function* areaEntries(
  { blockBytes, inodeCount, features }: Superblock,
  area: Uint8Array,
  areaOffset: number,
  tell: (fault: EntryFault) => void,
): Generator<DirectoryEntry> {
  const hasTypes = (features.incompat & INCOMPAT_FILETYPE) !== 0;
  for (let at = 0; at < area.length;) {
    const offset = areaOffset + at;
    const left = area.length - at;
    if (left < directoryEntryHead.sizeBytes) {
      tell({ code: 'directory-entry', offset, found: `${left} bytes left`, expected: 'a whole entry' });
      return;
    }
    const head = directoryEntryHead.decode(area, at);
    const length = recordBytes(head.rec_len, blockBytes);
    const needed = directoryEntryHead.sizeBytes + head.name_len;
    if (length < needed || length % RECORD_ALIGNMENT_BYTES !== 0 || length > left) {
      const expected = `a multiple of 4 from ${needed} to ${left}`;
      tell({ code: 'directory-entry', offset, found: `rec_len ${head.rec_len}`, expected });
      return;
    }
    // Inode 0 marks an unused entry; the checksum at a block's end has that form, too.
    if (head.inode > inodeCount) {
      const found = `inode ${head.inode}`;
      tell({ code: 'directory-entry-inode', offset, found, expected: `1 to ${inodeCount}` });
    } else if (head.inode !== 0) {
      const nameBytes = new Uint8Array(area.subarray(at + directoryEntryHead.sizeBytes, at + needed));
      const found = nameFault(nameBytes);
      if (found === undefined) {
        const fileType = hasTypes ? head.file_type : 0;
        yield { inodeNumber: head.inode, name: utf8.decode(nameBytes), nameBytes, fileType };
      } else {
        const expected = 'a name without a slash or a zero';
        tell({ code: 'directory-entry-name', offset, found, expected });
      }
    }
    at += length;
  }
}
