import {
  EXTENT_MAGIC,
  EXT_MAGIC,
  INCOMPAT_FILETYPE,
  INCOMPAT_FLEX_BG,
  INODE_FLAG_EXTENTS,
  MODE_TYPE_DIRECTORY,
  MODE_TYPE_REGULAR,
  ROOT_INODE_NUMBER,
  SUPERBLOCK_OFFSET_BYTES,
  directoryEntryHead,
  extentHeader,
  extentIndex,
  extentLeaf,
  groupDescriptor,
  inode as inodeLayout,
  superBlock,
} from '../../src/ext/layout.js';
import type { StructValues } from '../../src/struct.js';
import { KIB } from '../../src/units.js';

/*
 * File systems that no mke2fs makes: as large as a sparse file may be, with only the blocks that matter. One block of
 * bitmaps and one inode table serve every group; nothing has a checksum.
 */

export const PATCH_INODE = 12;
const INODE_BYTES = 256;
const INODES_PER_GROUP = 16;
const DESCRIPTOR_BYTES = 32;
const ROOT_MODE = MODE_TYPE_DIRECTORY + 0o755;
export const PATCH_MODE = MODE_TYPE_REGULAR + 0o755;
const I_BLOCK_BYTES = 60;

export type InodeFields = Partial<StructValues<typeof inodeLayout.rows>>;
export type SuperblockFields = Partial<StructValues<typeof superBlock.rows>>;

/** Bytes to be written at an offset of the image. */
export interface Piece {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

export interface HandMadeExt {
  readonly blockBytes: number;
  readonly blockCount: number;
  readonly blocksPerGroup: number;
  /** Every second group has its bitmaps in two other blocks, so that none is where the one before is. */
  readonly alternateBitmaps?: boolean;
  /** Descriptors that point nowhere, instead of all to one place. */
  readonly emptyDescriptors?: boolean;
  readonly superblock?: SuperblockFields;
  readonly incompat?: number;
  readonly root?: InodeFields;
  readonly patch?: InodeFields;
  /** Further inodes, by number, up to 16. */
  readonly inodes?: ReadonlyMap<number, InodeFields>;
  /** Bytes behind the fields of the inode of `patch`: its attributes. */
  readonly attributes?: Uint8Array;
  /** Names in the root besides `.` and `..`; by default `patch`. */
  readonly entries?: readonly (readonly [name: string, inode: number])[];
}

export interface MadeExt {
  readonly sizeBytes: number;
  readonly pieces: Piece[];
  /** The first block that nothing uses. */
  readonly freeBlock: number;
}

/** A node of an extent tree, in `length` bytes. */
export function extentNode(
  depth: number,
  entries: readonly Uint8Array[],
  length = I_BLOCK_BYTES,
): Uint8Array {
  const bytes = new Uint8Array(length);
  const most = Math.floor((length - extentHeader.sizeBytes) / extentLeaf.sizeBytes);
  const head = { eh_magic: EXTENT_MAGIC, eh_entries: entries.length, eh_max: most, eh_depth: depth };
  bytes.set(extentHeader.encode(head));
  entries.forEach((entry, at) => bytes.set(entry, extentHeader.sizeBytes + at * extentLeaf.sizeBytes));
  return bytes;
}

export function leaf(fileBlock: number, length: number, fsBlock: number): Uint8Array {
  const high = Math.floor(fsBlock / 2 ** 32);
  return extentLeaf.encode({
    ee_block: fileBlock,
    ee_len: length,
    ee_start_lo: fsBlock % 2 ** 32,
    ee_start_hi: high,
  });
}

export function index(fileBlock: number, child: number): Uint8Array {
  return extentIndex.encode({
    ei_block: fileBlock,
    ei_leaf_lo: child % 2 ** 32,
    ei_leaf_hi: Math.floor(child / 2 ** 32),
  });
}

export function folderBlock(
  entries: readonly (readonly [name: string, inode: number])[],
  length: number,
): Uint8Array {
  const bytes = new Uint8Array(length);
  let at = 0;
  entries.forEach(([name, inode], number) => {
    const needed = directoryEntryHead.sizeBytes + Math.ceil(name.length / 4) * 4;
    const rec_len = number === entries.length - 1 ? length - at : needed;
    bytes.set(directoryEntryHead.encode({ inode, rec_len: rec_len % 2 ** 16, name_len: name.length }), at);
    bytes.set(Buffer.from(name, 'latin1'), at + directoryEntryHead.sizeBytes);
    at += needed;
  });
  return bytes;
}

export function sizeFields(bytes: number): InodeFields {
  return { i_size_lo: bytes % 2 ** 32, i_size_high: Math.floor(bytes / 2 ** 32) };
}

/** Puts such a file system together: superblock, descriptors, bitmap, inode table, root folder. */
export function makeExt(wish: HandMadeExt): MadeExt {
  const { blockBytes, blockCount, blocksPerGroup } = wish;
  const firstDataBlock = blockBytes === KIB ? 1 : 0;
  const groupCount = Math.ceil((blockCount - firstDataBlock) / blocksPerGroup);
  const tableBlocks = Math.ceil((groupCount * DESCRIPTOR_BYTES) / blockBytes);
  const blockBitmap = firstDataBlock + 1 + tableBlocks;
  const inodeTable = blockBitmap + 2;
  const rootBlock = inodeTable + Math.ceil((INODES_PER_GROUP * INODE_BYTES) / blockBytes);
  const log = Math.log2(blockBytes / KIB);
  const superblock = superBlock.encode({
    s_magic: EXT_MAGIC,
    s_rev_level: 1,
    s_state: 1,
    s_inodes_count: Math.min(0xffffffff, groupCount * INODES_PER_GROUP),
    s_blocks_count_lo: blockCount % 2 ** 32,
    s_first_data_block: firstDataBlock,
    s_log_block_size: log,
    s_log_cluster_size: log,
    s_blocks_per_group: blocksPerGroup,
    s_clusters_per_group: blocksPerGroup,
    s_inodes_per_group: INODES_PER_GROUP,
    s_inode_size: INODE_BYTES,
    s_first_ino: 11,
    s_feature_incompat: INCOMPAT_FILETYPE + INCOMPAT_FLEX_BG + 0x40 + (wish.incompat ?? 0),
    s_feature_ro_compat: 0x3,
    ...wish.superblock,
  });
  const descriptorOf = (bitmaps: readonly [number, number]): Uint8Array =>
    groupDescriptor
      .encode({
        bg_block_bitmap_lo: bitmaps[0],
        bg_inode_bitmap_lo: bitmaps[1],
        bg_inode_table_lo: inodeTable,
      })
      .subarray(0, DESCRIPTOR_BYTES);
  const descriptor = descriptorOf([blockBitmap, blockBitmap + 1]);
  // Not next to the others: what is next to a bitmap is read with it.
  const away = descriptorOf([rootBlock + 8, rootBlock + 9]);
  const table = new Uint8Array(groupCount * DESCRIPTOR_BYTES);
  const described = wish.emptyDescriptors === true ? 1 : groupCount;
  for (let group = 0; group < described; group += 1) {
    const isAway = wish.alternateBitmaps === true && group % 2 === 1;
    table.set(isAway ? away : descriptor, group * DESCRIPTOR_BYTES);
  }
  const common = { i_links_count: 2, i_extra_isize: 32, i_flags: INODE_FLAG_EXTENTS };
  const inodes = new Map<number, InodeFields>([
    [
      ROOT_INODE_NUMBER,
      {
        i_mode: ROOT_MODE,
        i_size_lo: blockBytes,
        i_block: extentNode(0, [leaf(0, 1, rootBlock)]),
        ...wish.root,
      },
    ],
    [PATCH_INODE, { i_mode: PATCH_MODE, i_block: extentNode(0, []), ...wish.patch }],
    ...(wish.inodes ?? []),
  ]);
  const inodeBytes = new Uint8Array(INODES_PER_GROUP * INODE_BYTES);
  for (const [number, fields] of inodes) {
    inodeBytes.set(inodeLayout.encode({ ...common, ...fields }), (number - 1) * INODE_BYTES);
  }
  if (wish.attributes !== undefined) {
    inodeBytes.set(wish.attributes, (PATCH_INODE - 1) * INODE_BYTES + inodeLayout.sizeBytes);
  }
  const names = wish.entries ?? [['patch', PATCH_INODE] as const];
  const root = folderBlock([['.', ROOT_INODE_NUMBER], ['..', ROOT_INODE_NUMBER], ...names], blockBytes);
  const at = (block: number, bytes: Uint8Array): Piece => ({ offset: block * blockBytes, bytes });
  return {
    sizeBytes: blockCount * blockBytes,
    freeBlock: rootBlock + 1,
    pieces: [
      { offset: SUPERBLOCK_OFFSET_BYTES, bytes: superblock },
      at(firstDataBlock + 1, table),
      at(blockBitmap, new Uint8Array(blockBytes).fill(0xff)),
      at(inodeTable, inodeBytes),
      at(rootBlock, root),
    ],
  };
}
