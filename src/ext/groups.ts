import { crc16 } from './crc16.js';
import { crc32c } from './crc32c.js';
import { descriptorChecksum, hasFeature } from './features.js';
import { groupHead } from './group-head.js';
import {
  GROUP_BLOCK_UNINIT,
  GROUP_INODE_UNINIT,
  GROUP_INODE_ZEROED,
  INCOMPAT_FLEX_BG,
  groupDescriptor,
} from './layout.js';
import { viewOf } from '../struct.js';
import type { Superblock } from './superblock.js';

/** One block group, as its descriptor has it. Block numbers count from the start of the file system. */
export interface BlockGroup {
  readonly index: number;
  readonly firstBlock: number;
  readonly blockCount: number;
  readonly blockBitmapBlock: number;
  readonly inodeBitmapBlock: number;
  readonly inodeTableBlock: number;
  /** With `bigalloc`: of all its free clusters, also when the last of them reaches past the end. */
  readonly freeBlockCount: number;
  readonly freeInodeCount: number;
  readonly usedDirectoryCount: number;
  /** The block bitmap on disk is meaningless (all free but the group's own metadata). */
  readonly blockBitmapUninitialised: boolean;
  /** The inode bitmap on disk is meaningless (no inode in use). */
  readonly inodeBitmapUninitialised: boolean;
  /** The part of the inode table behind the used inodes was written with zeros. */
  readonly inodeTableZeroed: boolean;
  /** Inodes at the end of the table that were never used. */
  readonly unusedInodeCount: number;
  /** Of the bitmaps: 32 bits, or the lower 16 of them in a descriptor of 32 bytes. For `metadata_csum` only. */
  readonly blockBitmapChecksum: number;
  readonly inodeBitmapChecksum: number;
}

/** What is wrong with a descriptor, as text. */
export interface DescriptorFault {
  readonly found: string;
  readonly expected: string;
}

type DescriptorField = Parameters<typeof groupDescriptor.number>[2];

/** Bytes of inode table in each group. */
export function inodeTableBytes(superblock: Superblock): number {
  return superblock.inodesPerGroup * superblock.inodeBytes;
}

export function inodeTableBlocks(superblock: Superblock): number {
  return Math.ceil(inodeTableBytes(superblock) / superblock.blockBytes);
}

/** Clusters of a group; blocks, without `bigalloc`. The last cluster of all may reach past the end. */
export function clusterCount({ blocksPerCluster }: Superblock, { blockCount }: BlockGroup): number {
  return Math.ceil(blockCount / blocksPerCluster);
}

/** The end of the last of what a group's descriptor names. */
function metadataEnd(superblock: Superblock, group: BlockGroup): number {
  const tableEnd = group.inodeTableBlock + inodeTableBlocks(superblock);
  return Math.max(group.blockBitmapBlock + 1, group.inodeBitmapBlock + 1, tableEnd);
}

/** As a descriptor has it, nothing checked. */
function decodeGroup(superblock: Superblock, view: DataView, at: number, index: number): BlockGroup {
  const low = (name: DescriptorField): number => groupDescriptor.number(view, at, name);
  // Without `64bit` the upper halves are not on disk.
  const wide = superblock.descriptorBytes >= groupDescriptor.sizeBytes;
  const high = (name: DescriptorField, factor: number): number =>
    wide ? groupDescriptor.number(view, at, name) * factor : 0;
  const firstBlock = superblock.firstDataBlock + index * superblock.blocksPerGroup;
  const freeClusters = low('bg_free_blocks_count_lo') + high('bg_free_blocks_count_hi', 2 ** 16);
  const protectedFlags = descriptorChecksum(superblock.features) !== undefined;
  const flags = protectedFlags ? low('bg_flags') : 0;
  return {
    index,
    firstBlock,
    blockCount: Math.min(superblock.blocksPerGroup, superblock.blockCount - firstBlock),
    blockBitmapBlock: low('bg_block_bitmap_lo') + high('bg_block_bitmap_hi', 2 ** 32),
    inodeBitmapBlock: low('bg_inode_bitmap_lo') + high('bg_inode_bitmap_hi', 2 ** 32),
    inodeTableBlock: low('bg_inode_table_lo') + high('bg_inode_table_hi', 2 ** 32),
    freeBlockCount: freeClusters * superblock.blocksPerCluster,
    freeInodeCount: low('bg_free_inodes_count_lo') + high('bg_free_inodes_count_hi', 2 ** 16),
    usedDirectoryCount: low('bg_used_dirs_count_lo') + high('bg_used_dirs_count_hi', 2 ** 16),
    blockBitmapUninitialised: hasFeature(flags, GROUP_BLOCK_UNINIT),
    inodeBitmapUninitialised: hasFeature(flags, GROUP_INODE_UNINIT),
    inodeTableZeroed: hasFeature(flags, GROUP_INODE_ZEROED),
    unusedInodeCount: protectedFlags ? low('bg_itable_unused_lo') + high('bg_itable_unused_hi', 2 ** 16) : 0,
    blockBitmapChecksum: low('bg_block_bitmap_csum_lo') + high('bg_block_bitmap_csum_hi', 2 ** 16),
    inodeBitmapChecksum: low('bg_inode_bitmap_csum_lo') + high('bg_inode_bitmap_csum_hi', 2 ** 16),
  };
}

/**
 * What makes the places of a group unusable (fs/ext4/super.c, ext4_check_descriptors): they lie outside the file
 * system, without `flex_bg` outside the group, on the superblock and the descriptors, or on each other.
 */
export function placeFault(superblock: Superblock, group: BlockGroup): DescriptorFault | undefined {
  const { blockBitmapBlock, inodeBitmapBlock, inodeTableBlock } = group;
  const tableBlocks = inodeTableBlocks(superblock);
  const tableEnd = inodeTableBlock + tableBlocks;
  const flexible = hasFeature(superblock.features.incompat, INCOMPAT_FLEX_BG);
  // What stands at the front of group 0, and of the group itself.
  const first = groupHead(superblock, 0).endBlock;
  const least = flexible ? first : Math.max(first, groupHead(superblock, group.index).endBlock);
  const end = flexible ? superblock.blockCount : group.firstBlock + group.blockCount;
  const within = (from: number, to: number): boolean => from >= least && to <= end;
  const inTable = (block: number): boolean => block >= inodeTableBlock && block < tableEnd;
  const fits =
    within(blockBitmapBlock, blockBitmapBlock + 1) &&
    within(inodeBitmapBlock, inodeBitmapBlock + 1) &&
    within(inodeTableBlock, tableEnd) &&
    blockBitmapBlock !== inodeBitmapBlock &&
    !inTable(blockBitmapBlock) &&
    !inTable(inodeBitmapBlock);
  if (fits) return undefined;
  return {
    found: `bitmaps ${blockBitmapBlock} and ${inodeBitmapBlock}, inode table ${inodeTableBlock} to ${tableEnd - 1}`,
    expected: `blocks ${least} to ${end - 1}, apart from each other`,
  };
}

/** Counts larger than what is counted; the group can be used all the same. */
export function countFault(superblock: Superblock, group: BlockGroup): DescriptorFault | undefined {
  const { freeBlockCount, freeInodeCount, usedDirectoryCount, unusedInodeCount } = group;
  const { inodesPerGroup } = superblock;
  const mostBlocks = clusterCount(superblock, group) * superblock.blocksPerCluster;
  const most = Math.max(freeInodeCount, usedDirectoryCount, unusedInodeCount);
  if (freeBlockCount <= mostBlocks && most <= inodesPerGroup) return undefined;
  return {
    found: `${freeBlockCount} free blocks, ${freeInodeCount} free inodes, ${usedDirectoryCount} folders, ${unusedInodeCount} unused inodes`,
    expected: `at most ${mostBlocks} blocks, ${inodesPerGroup} inodes`,
  };
}

/** The table of groups: descriptors as they are on disk, decoded when they are asked for. */
export class GroupTable {
  readonly length: number;
  readonly #superblock: Superblock;
  readonly #table: Uint8Array;
  readonly #view: DataView;
  readonly #missing: ReadonlySet<number>;
  readonly #blocksOnDisk: number;

  /**
   * @param table all descriptors, in order; kept
   * @param missing the blocks of descriptors that could not be read, counted from 0
   * @param blocksOnDisk groups that name blocks from this one on cannot be used
   */
  constructor(
    superblock: Superblock,
    table: Uint8Array,
    missing: ReadonlySet<number> = new Set(),
    blocksOnDisk: number = superblock.blockCount,
  ) {
    this.#blocksOnDisk = blocksOnDisk;
    this.length = superblock.groupCount;
    this.#superblock = superblock;
    this.#table = table;
    this.#view = viewOf(table);
    this.#missing = missing;
  }

  /** @returns undefined for a number that no group has, and for a group whose descriptor cannot be used */
  at(index: number): BlockGroup | undefined {
    const group = this.decode(index);
    if (group === undefined || placeFault(this.#superblock, group) !== undefined) return undefined;
    if (metadataEnd(this.#superblock, group) > this.#blocksOnDisk) return undefined;
    const { inodesPerGroup } = this.#superblock;
    const uninitialised = group.blockBitmapUninitialised || group.inodeBitmapUninitialised;
    const promises = uninitialised || group.unusedInodeCount > 0 || group.inodeTableZeroed;
    if (!promises) return group;
    // What a damaged descriptor says need not be looked at is looked at.
    if (group.unusedInodeCount <= inodesPerGroup && this.checksumFault(index) === undefined) return group;
    return {
      ...group,
      blockBitmapUninitialised: false,
      inodeBitmapUninitialised: false,
      inodeTableZeroed: false,
      unusedInodeCount: 0,
    };
  }

  /** The groups that can be used, in order. */
  *[Symbol.iterator](): Generator<BlockGroup> {
    for (let index = 0; index < this.length; index += 1) {
      const group = this.at(index);
      if (group !== undefined) yield group;
    }
  }

  /** A descriptor as it is, whatever it says; undefined where there is none. */
  decode(index: number): BlockGroup | undefined {
    const { blockBytes, descriptorBytes } = this.#superblock;
    if (!Number.isInteger(index) || index < 0 || index >= this.length) return undefined;
    const at = index * descriptorBytes;
    if (this.#missing.has(Math.floor(at / blockBytes)) || at + descriptorBytes > this.#table.length) {
      return undefined;
    }
    return decodeGroup(this.#superblock, this.#view, at, index);
  }

  /** The checksum of a descriptor against what it should be; undefined when it is right, or there is none. */
  checksumFault(index: number): DescriptorFault | undefined {
    const { descriptorBytes, features, hasMetadataChecksums } = this.#superblock;
    const kind = descriptorChecksum(features);
    if (kind === undefined || (kind === 'crc32c' && !hasMetadataChecksums)) return undefined;
    const at = index * descriptorBytes;
    const stored = groupDescriptor.number(this.#view, at, 'bg_checksum');
    const bytes = this.#table.subarray(at, at + descriptorBytes);
    const computed = kind === 'crc32c' ? this.#crc32cOf(index, bytes) : this.#crc16Of(index, bytes);
    if (computed === stored) return undefined;
    return { found: `bg_checksum 0x${stored.toString(16)}`, expected: `0x${computed.toString(16)}` };
  }

  /** The lower half of a CRC-32C over the group's number and its descriptor, in which the checksum counts as 0. */
  #crc32cOf(index: number, bytes: Uint8Array): number {
    const [at] = groupDescriptor.rows.bg_checksum;
    const behind = at + Uint16Array.BYTES_PER_ELEMENT;
    let crc = crc32c(this.#superblock.checksumSeed, groupNumberBytes(index));
    crc = crc32c(crc, bytes.subarray(0, at));
    crc = crc32c(crc, new Uint8Array(behind - at));
    return crc32c(crc, bytes.subarray(behind)) & 0xffff;
  }

  /** A CRC-16 over the UUID, the group's number and its descriptor without the checksum. */
  #crc16Of(index: number, bytes: Uint8Array): number {
    const [at] = groupDescriptor.rows.bg_checksum;
    let crc = crc16(crc16(0xffff, this.#superblock.uuid), groupNumberBytes(index));
    crc = crc16(crc, bytes.subarray(0, at));
    return crc16(crc, bytes.subarray(at + Uint16Array.BYTES_PER_ELEMENT));
  }
}

function groupNumberBytes(index: number): Uint8Array {
  const bytes = new Uint8Array(Uint32Array.BYTES_PER_ELEMENT);
  viewOf(bytes).setUint32(0, index, true);
  return bytes;
}
