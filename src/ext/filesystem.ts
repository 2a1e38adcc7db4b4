import type { ReadBytes } from '../bytes.js';
import { PatchVdiError } from '../errors.js';
import { throwErrors, type ReportFinding } from '../findings.js';
import { MIB } from '../units.js';
import {
  GROUP_BLOCK_UNINIT,
  GROUP_INODE_UNINIT,
  GROUP_INODE_ZEROED,
  SUPERBLOCK_OFFSET_BYTES,
  groupDescriptor,
  superBlock,
} from './layout.js';
import { viewOf } from '../struct.js';
import { decodeSuperblock, descriptorTableBytes, type Superblock } from './superblock.js';

/** One block group, as its descriptor has it. Block numbers count from the start of the file system. */
export interface BlockGroup {
  readonly index: number;
  readonly firstBlock: number;
  readonly blockCount: number;
  readonly blockBitmapBlock: number;
  readonly inodeBitmapBlock: number;
  readonly inodeTableBlock: number;
  readonly freeBlockCount: number;
  readonly freeInodeCount: number;
  /** The block bitmap on disk is meaningless (all free but the group's own metadata). */
  readonly blockBitmapUninitialised: boolean;
  /** The inode bitmap on disk is meaningless (no inode in use). */
  readonly inodeBitmapUninitialised: boolean;
  /** The part of the inode table behind the used inodes was written with zeros. */
  readonly inodeTableZeroed: boolean;
  /** Inodes at the end of the table that were never used. */
  readonly unusedInodeCount: number;
}

/** An opened ext file system: the superblock, the groups, and how to read. */
export interface ExtFilesystem {
  readonly superblock: Superblock;
  readonly groups: readonly BlockGroup[];
  readonly read: ReadBytes;
  /** Is told whatever is wrong but can be read past; by default the first error ends the reading. */
  readonly report: ReportFinding;
}

export interface OpenExtOptions {
  readonly report?: ReportFinding;
}

/** A table of groups larger than this is not one of a disk we could read (16 TiB with 4 KiB blocks: 8 MiB). */
const MAX_DESCRIPTOR_TABLE_BYTES = 32 * MIB;

/** Bytes of inode table in each group. */
export function inodeTableBytes(superblock: Superblock): number {
  return superblock.inodesPerGroup * superblock.inodeBytes;
}

/** An error of kind `image` about a structure at a place. */
export function corrupt(structure: string, offset: number, found: string, expected: string): PatchVdiError {
  return new PatchVdiError('image', `${structure} is damaged`, {
    context: { operation: `read ${structure}`, offset, found, expected },
  });
}

type DescriptorField = Parameters<typeof groupDescriptor.number>[2];

function decodeGroup(superblock: Superblock, table: DataView, index: number): BlockGroup {
  const at = index * superblock.descriptorBytes;
  const low = (name: DescriptorField): number => groupDescriptor.number(table, at, name);
  // Without `64bit` the upper halves are not on disk.
  const high = (name: DescriptorField): number =>
    superblock.descriptorBytes < groupDescriptor.sizeBytes ? 0 : groupDescriptor.number(table, at, name);
  const firstBlock = superblock.firstDataBlock + index * superblock.blocksPerGroup;
  const flags = low('bg_flags');
  const group: BlockGroup = {
    index,
    firstBlock,
    blockCount: Math.min(superblock.blocksPerGroup, superblock.blockCount - firstBlock),
    blockBitmapBlock: low('bg_block_bitmap_lo') + high('bg_block_bitmap_hi') * 2 ** 32,
    inodeBitmapBlock: low('bg_inode_bitmap_lo') + high('bg_inode_bitmap_hi') * 2 ** 32,
    inodeTableBlock: low('bg_inode_table_lo') + high('bg_inode_table_hi') * 2 ** 32,
    freeBlockCount: low('bg_free_blocks_count_lo') + high('bg_free_blocks_count_hi') * 2 ** 16,
    freeInodeCount: low('bg_free_inodes_count_lo') + high('bg_free_inodes_count_hi') * 2 ** 16,
    blockBitmapUninitialised: (flags & GROUP_BLOCK_UNINIT) !== 0,
    inodeBitmapUninitialised: (flags & GROUP_INODE_UNINIT) !== 0,
    inodeTableZeroed: (flags & GROUP_INODE_ZEROED) !== 0,
    unusedInodeCount: low('bg_itable_unused_lo') + high('bg_itable_unused_hi') * 2 ** 16,
  };
  const tableBlocks = Math.ceil(inodeTableBytes(superblock) / superblock.blockBytes);
  const last = Math.max(
    group.blockBitmapBlock,
    group.inodeBitmapBlock,
    group.inodeTableBlock + tableBlocks - 1,
  );
  if (last >= superblock.blockCount || group.unusedInodeCount > superblock.inodesPerGroup) {
    const found = `metadata up to block ${last}, ${group.unusedInodeCount} unused inodes`;
    const expected = `blocks below ${superblock.blockCount}, at most ${superblock.inodesPerGroup} unused inodes`;
    throw corrupt(`group descriptor ${index}`, at, found, expected);
  }
  return group;
}

/**
 * Opens the file system that starts at offset 0 of what `read` reads.
 *
 * @throws PatchVdiError `image` when it is not one, is damaged, or has features this reader does not know
 */
export async function openExt(
  read: ReadBytes,
  { report = throwErrors }: OpenExtOptions = {},
): Promise<ExtFilesystem> {
  const superblock = decodeSuperblock(
    new Uint8Array(await read(SUPERBLOCK_OFFSET_BYTES, superBlock.sizeBytes)),
  );
  const tableBytes = descriptorTableBytes(superblock);
  const tableOffset = (superblock.firstDataBlock + 1) * superblock.blockBytes;
  if (tableBytes > MAX_DESCRIPTOR_TABLE_BYTES) {
    throw corrupt(
      'the group descriptor table',
      tableOffset,
      `${tableBytes} bytes`,
      `${MAX_DESCRIPTOR_TABLE_BYTES} at most`,
    );
  }
  const table = viewOf(new Uint8Array(await read(tableOffset, tableBytes)));
  const groups: BlockGroup[] = [];
  for (let index = 0; index < superblock.groupCount; index += 1)
    groups.push(decodeGroup(superblock, table, index));
  return { superblock, groups, read, report };
}
