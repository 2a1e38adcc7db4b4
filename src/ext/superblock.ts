import { PatchVdiError } from '../errors.js';
import { viewOf } from '../struct.js';
import { KIB, checkedBytes } from '../units.js';
import { crc32c } from './crc32c.js';
import {
  COMPAT_HAS_JOURNAL,
  COMPAT_SPARSE_SUPER2,
  EXT_MAGIC,
  INCOMPAT_64BIT,
  INCOMPAT_FEATURES,
  RO_COMPAT_METADATA_CSUM,
  RO_COMPAT_SPARSE_SUPER,
  SUPERBLOCK_OFFSET_BYTES,
  groupDescriptor,
  superBlock,
} from './layout.js';

/** `s_feature_compat`, `s_feature_incompat`, `s_feature_ro_compat`. */
export interface Features {
  readonly compat: number;
  readonly incompat: number;
  readonly roCompat: number;
}

/** What the rest of the program knows of a superblock: checked, in our words, with units. */
export interface Superblock {
  readonly blockBytes: number;
  readonly blockCount: number;
  readonly freeBlockCount: number;
  readonly firstDataBlock: number;
  readonly blocksPerGroup: number;
  readonly inodesPerGroup: number;
  readonly inodeCount: number;
  readonly inodeBytes: number;
  readonly groupCount: number;
  /** Bytes of one group descriptor on disk: 32 or 64. */
  readonly descriptorBytes: number;
  readonly hasMetadataChecksums: boolean;
  /** What every CRC-32C of metadata but the superblock's own continues from. */
  readonly checksumSeed: number;
  /** The three sets of feature bits. */
  readonly features: Features;
  /** Groups that hold a copy of the superblock and of the group descriptors, in order, besides group 0. */
  readonly backupGroups: readonly number[];
  /** The first inode that is not reserved. */
  readonly firstInodeNumber: number;
  readonly freeInodeCount: number;
  /** 0 without a journal in the file system. */
  readonly journalInodeNumber: number;
  /** 16 bytes, a copy. */
  readonly uuid: Uint8Array;
  /** Up to 16 bytes before the first NUL, decoded as UTF-8; unprintable characters are as they stand. */
  readonly label: string;
}

/** The incompatible features this reader understands; any other is refused by name. */
const READABLE_INCOMPAT = new Set(['filetype', 'extent', '64bit', 'flex_bg']);

function imageError(offset: number, found: string, expected: string): PatchVdiError {
  return new PatchVdiError('image', 'this is not an ext file system that can be read', {
    context: { operation: 'read the superblock', offset: SUPERBLOCK_OFFSET_BYTES + offset, found, expected },
  });
}

function featureNames(bits: number): string[] {
  const names: string[] = [];
  for (let bit = 0; bit < 32; bit += 1) {
    const value = 2 ** bit;
    if (Math.floor(bits / value) % 2 === 1) names.push(INCOMPAT_FEATURES[value] ?? `0x${value.toString(16)}`);
  }
  return names;
}

/**
 * Where `mke2fs` puts copies of the superblock (e2fsprogs, lib/ext2fs/closefs.c, ext2fs_bg_has_super): in the two
 * groups that `sparse_super2` names, if any; with `sparse_super` in group 1 and the powers of 3, 5 and 7; else in
 * every group.
 */
function backupGroups(features: Features, groupCount: number, named: Uint8Array): number[] {
  const groups: number[] = [];
  if ((features.compat & COMPAT_SPARSE_SUPER2) !== 0) {
    const numbers = viewOf(named);
    for (let at = 0; at < named.length; at += Uint32Array.BYTES_PER_ELEMENT) {
      const group = numbers.getUint32(at, true);
      if (group > 0 && group < groupCount) groups.push(group);
    }
    return groups;
  }
  if ((features.roCompat & RO_COMPAT_SPARSE_SUPER) === 0) {
    for (let group = 1; group < groupCount; group += 1) groups.push(group);
    return groups;
  }
  if (groupCount > 1) groups.push(1);
  for (const base of [3, 5, 7]) {
    for (let group = base; group < groupCount; group *= base) groups.push(group);
  }
  return groups.sort((a, b) => a - b);
}

/** `s_first_ino` and `s_inode_size` count from revision 1 on. */
const GOOD_OLD_FIRST_INODE = 11;

/**
 * Decodes and checks the 1024 bytes of a superblock.
 *
 * @param buffer starts with the superblock; not kept and not changed
 * @throws PatchVdiError `image` that names the field, what it held and what it may hold
 */
export function decodeSuperblock(buffer: Uint8Array): Superblock {
  const raw = superBlock.decode(buffer);
  const at = (name: keyof typeof superBlock.rows) => superBlock.rows[name][0];
  if (raw.s_magic !== EXT_MAGIC) {
    throw imageError(at('s_magic'), `s_magic 0x${raw.s_magic.toString(16)}`, `0x${EXT_MAGIC.toString(16)}`);
  }
  const unknown = featureNames(raw.s_feature_incompat).filter((name) => !READABLE_INCOMPAT.has(name));
  if (unknown.length > 0) {
    throw imageError(
      at('s_feature_incompat'),
      `the incompatible features ${unknown.join(', ')}`,
      `none but ${[...READABLE_INCOMPAT].join(', ')}`,
    );
  }
  const hasMetadataChecksums = (raw.s_feature_ro_compat & RO_COMPAT_METADATA_CSUM) !== 0;
  if (hasMetadataChecksums) {
    const computed = crc32c(0xffffffff, buffer.subarray(0, at('s_checksum')));
    if (computed !== raw.s_checksum) {
      throw imageError(
        at('s_checksum'),
        `s_checksum 0x${raw.s_checksum.toString(16)}`,
        `0x${computed.toString(16)}`,
      );
    }
  }
  if (raw.s_log_block_size > 6) {
    throw imageError(
      at('s_log_block_size'),
      `s_log_block_size ${raw.s_log_block_size}`,
      '0 to 6 (1 KiB to 64 KiB)',
    );
  }
  const blockBytes = KIB * 2 ** raw.s_log_block_size;
  const has64bit = (raw.s_feature_incompat & INCOMPAT_64BIT) !== 0;
  const blockCount = raw.s_blocks_count_lo + (has64bit ? raw.s_blocks_count_hi * 2 ** 32 : 0);
  // Every offset must stay a safe integer; that is 8 PiB, and files end at 16 TiB.
  const maxBlockCount = Math.floor(Number.MAX_SAFE_INTEGER / blockBytes);
  if (blockCount === 0 || blockCount > maxBlockCount || raw.s_first_data_block >= blockCount) {
    throw imageError(at('s_blocks_count_lo'), `${blockCount} blocks`, `1 to ${maxBlockCount} blocks`);
  }
  if (raw.s_blocks_per_group < 8 || raw.s_blocks_per_group > 8 * blockBytes) {
    throw imageError(
      at('s_blocks_per_group'),
      `s_blocks_per_group ${raw.s_blocks_per_group}`,
      `8 to ${8 * blockBytes}`,
    );
  }
  if (raw.s_inodes_per_group < 1 || raw.s_inodes_per_group > 8 * blockBytes) {
    throw imageError(
      at('s_inodes_per_group'),
      `s_inodes_per_group ${raw.s_inodes_per_group}`,
      `1 to ${8 * blockBytes}`,
    );
  }
  const inodeBytes = raw.s_rev_level === 0 ? 128 : raw.s_inode_size;
  if (inodeBytes < 128 || inodeBytes > blockBytes || (inodeBytes & (inodeBytes - 1)) !== 0) {
    throw imageError(
      at('s_inode_size'),
      `s_inode_size ${inodeBytes}`,
      `a power of two from 128 to ${blockBytes}`,
    );
  }
  const descriptorBytes = has64bit ? raw.s_desc_size : 32;
  if (descriptorBytes !== 32 && descriptorBytes !== groupDescriptor.sizeBytes) {
    throw imageError(at('s_desc_size'), `s_desc_size ${descriptorBytes}`, '32 or 64');
  }
  const groupCount = Math.ceil((blockCount - raw.s_first_data_block) / raw.s_blocks_per_group);
  const features: Features = {
    compat: raw.s_feature_compat,
    incompat: raw.s_feature_incompat,
    roCompat: raw.s_feature_ro_compat,
  };
  const labelEnd = raw.s_volume_name.indexOf(0);
  return {
    blockBytes,
    blockCount,
    freeBlockCount: raw.s_free_blocks_count_lo + (has64bit ? raw.s_free_blocks_count_hi * 2 ** 32 : 0),
    firstDataBlock: raw.s_first_data_block,
    blocksPerGroup: raw.s_blocks_per_group,
    inodesPerGroup: raw.s_inodes_per_group,
    inodeCount: raw.s_inodes_count,
    inodeBytes,
    groupCount,
    descriptorBytes,
    hasMetadataChecksums,
    checksumSeed: crc32c(0xffffffff, raw.s_uuid),
    features,
    backupGroups: backupGroups(features, groupCount, raw.s_backup_bgs),
    firstInodeNumber: raw.s_rev_level === 0 ? GOOD_OLD_FIRST_INODE : raw.s_first_ino,
    freeInodeCount: raw.s_free_inodes_count,
    journalInodeNumber: (features.compat & COMPAT_HAS_JOURNAL) === 0 ? 0 : raw.s_journal_inum,
    uuid: new Uint8Array(raw.s_uuid),
    // Our read-back compares it with what was asked for, so a byte order mark must not get lost.
    label: new TextDecoder('utf-8', { ignoreBOM: true }).decode(
      raw.s_volume_name.subarray(0, labelEnd === -1 ? 16 : labelEnd),
    ),
  };
}

/** Bytes of the whole group descriptor table. */
export function descriptorTableBytes(superblock: Superblock): number {
  return checkedBytes(superblock.groupCount * superblock.descriptorBytes);
}
