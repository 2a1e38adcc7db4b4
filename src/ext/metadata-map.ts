import { MIB } from '../units.js';
import { readDirectory } from './directory.js';
import { firstClearBit, lastSetBit } from './bitmap.js';
import { readInode, type BlockGroup, type ExtFilesystem } from './filesystem.js';
import { readFileBlocks } from './file-blocks.js';
import {
  MODE_TYPE_DIRECTORY,
  MODE_TYPE_MASK,
  ROOT_INODE_NUMBER,
  RO_COMPAT_GDT_CSUM,
  RO_COMPAT_METADATA_CSUM,
} from './layout.js';
import { descriptorTableBytes } from './superblock.js';

/** A piece of the image that holds metadata with at least one byte that is not zero, on whole blocks. */
export interface MetadataRange {
  /** What it is, for people: `block bitmaps`, `inode tables`. */
  readonly name: string;
  readonly offset: number;
  readonly length: number;
  /** Holds the superblock or a backup of it: without these nothing opens the file system. */
  readonly superblock: boolean;
}

const READ_BYTES = MIB;
const SUPERBLOCK_NAME = 'superblock';
const BACKUP_NAME = 'superblock backup';
/** What the blocks of the map of `patch` are called in plans. */
export const EXTENT_TREE_NAME = 'extent tree of patch';
export const INDIRECT_BLOCKS_NAME = 'indirect blocks of patch';

interface BlockRange {
  readonly name: string;
  readonly firstBlock: number;
  readonly blockCount: number;
  /** None of its blocks is all zeros, so they need not be read. */
  readonly neverZero?: true;
}

/**
 * Bytes at the front of a group's inode table in which inodes may be. Behind them a fresh table holds zeros, and need
 * not be read: at 2 TiB the tables are gigabytes.
 */
async function usedTableBytes(filesystem: ExtFilesystem, group: BlockGroup): Promise<number> {
  const { superblock, read } = filesystem;
  const { inodesPerGroup, inodeBytes, features } = superblock;
  if ((features.roCompat & (RO_COMPAT_METADATA_CSUM | RO_COMPAT_GDT_CSUM)) !== 0) {
    return (inodesPerGroup - (group.inodeTableZeroed ? group.unusedInodeCount : 0)) * inodeBytes;
  }
  // Descriptors without checksums do not tell where the used inodes end, the bitmap does.
  if (group.freeInodeCount === inodesPerGroup) return 0;
  const bitmap = await read(group.inodeBitmapBlock * superblock.blockBytes, Math.ceil(inodesPerGroup / 8));
  return (lastSetBit(bitmap, inodesPerGroup) + 1) * inodeBytes;
}

async function groupRanges(filesystem: ExtFilesystem, group: BlockGroup): Promise<BlockRange[]> {
  const { superblock } = filesystem;
  const ranges: BlockRange[] = [];
  if (!group.blockBitmapUninitialised) {
    ranges.push({ name: 'block bitmaps', firstBlock: group.blockBitmapBlock, blockCount: 1 });
  }
  if (!group.inodeBitmapUninitialised) {
    ranges.push({ name: 'inode bitmaps', firstBlock: group.inodeBitmapBlock, blockCount: 1 });
  }
  const tableBlocks = Math.ceil((await usedTableBytes(filesystem, group)) / superblock.blockBytes);
  if (tableBlocks > 0) {
    ranges.push({ name: 'inode tables', firstBlock: group.inodeTableBlock, blockCount: tableBlocks });
  }
  return ranges;
}

/** The superblock and its copies; each is followed by a copy of the group descriptors. */
function superblockRanges({ superblock, groups }: ExtFilesystem): BlockRange[] {
  const tableBlocks = Math.ceil(descriptorTableBytes(superblock) / superblock.blockBytes);
  const { firstDataBlock } = superblock;
  const ranges: BlockRange[] = [
    { name: SUPERBLOCK_NAME, firstBlock: 0, blockCount: firstDataBlock + 1 },
    { name: 'group descriptors', firstBlock: firstDataBlock + 1, blockCount: tableBlocks },
  ];
  for (const group of superblock.backupGroups) {
    const firstBlock = groups[group]?.firstBlock ?? 0;
    ranges.push({ name: BACKUP_NAME, firstBlock, blockCount: 1 });
    const blockCount = Math.min(tableBlocks, superblock.blockCount - firstBlock - 1);
    if (blockCount > 0)
      ranges.push({ name: 'group descriptor backups', firstBlock: firstBlock + 1, blockCount });
  }
  return ranges;
}

/** A journal that was never used is its superblock, in its first block, and the way to its other blocks. */
async function journalRanges(filesystem: ExtFilesystem): Promise<BlockRange[]> {
  const { journalInodeNumber } = filesystem.superblock;
  if (journalInodeNumber === 0) return [];
  const map = await readFileBlocks(filesystem, await readInode(filesystem, journalInodeNumber));
  const first = map.extents[0];
  const blocks = [...map.treeBlocks, ...(first === undefined ? [] : [first.fsBlock])];
  return blocks.map((block) => ({ name: 'journal', firstBlock: block, blockCount: 1 }));
}

async function directoryRanges(filesystem: ExtFilesystem): Promise<BlockRange[]> {
  const ranges: BlockRange[] = [];
  const visit = async (inodeNumber: number, name: string): Promise<void> => {
    const raw = await readInode(filesystem, inodeNumber);
    if ((raw.i_mode & MODE_TYPE_MASK) !== MODE_TYPE_DIRECTORY) return;
    const map = await readFileBlocks(filesystem, raw);
    for (const block of map.treeBlocks) ranges.push({ name, firstBlock: block, blockCount: 1 });
    for (const extent of map.extents) {
      ranges.push({ name, firstBlock: extent.fsBlock, blockCount: extent.blockCount });
    }
  };
  await visit(ROOT_INODE_NUMBER, 'root directory');
  for (const entry of await readDirectory(filesystem, ROOT_INODE_NUMBER)) {
    if (entry.name === 'lost+found') await visit(entry.inodeNumber, 'lost+found');
  }
  return ranges;
}

function mergeRanges(ranges: readonly BlockRange[]): BlockRange[] {
  const merged: BlockRange[] = [];
  for (const range of [...ranges].sort((a, b) => a.firstBlock - b.firstBlock)) {
    const last = merged.at(-1);
    if (
      last !== undefined &&
      last.name === range.name &&
      last.neverZero === range.neverZero &&
      last.firstBlock + last.blockCount === range.firstBlock
    ) {
      merged[merged.length - 1] = { ...last, blockCount: last.blockCount + range.blockCount };
    } else merged.push(range);
  }
  return merged;
}

/** Splits one range into the runs of blocks that hold anything but zeros. */
async function keepNonZero(
  filesystem: ExtFilesystem,
  range: BlockRange,
  into: MetadataRange[],
): Promise<void> {
  const { blockBytes } = filesystem.superblock;
  const zeros = Buffer.alloc(blockBytes);
  const end = (range.firstBlock + range.blockCount) * blockBytes;
  let runStart: number | undefined;
  const superblock = range.name === SUPERBLOCK_NAME || range.name === BACKUP_NAME;
  const closeRun = (at: number): void => {
    if (runStart !== undefined)
      into.push({ name: range.name, offset: runStart, length: at - runStart, superblock });
    runStart = undefined;
  };
  const start = range.firstBlock * blockBytes;
  if (range.neverZero === true) {
    into.push({ name: range.name, offset: start, length: end - start, superblock });
    return;
  }
  for (let offset = start; offset < end; offset += READ_BYTES) {
    const bytes = await filesystem.read(offset, Math.min(READ_BYTES, end - offset));
    for (let at = 0; at < bytes.length; at += blockBytes) {
      if (zeros.equals(bytes.subarray(at, at + blockBytes))) closeRun(offset + at);
      else runStart ??= offset + at;
    }
  }
  closeRun(end);
}

/**
 * Where a freshly formatted file system holds anything but zeros, apart from the data of its files: superblocks,
 * group descriptors, bitmaps, the used part of the inode tables, the journal, directories and the given blocks of the
 * map of `patch`. In order of offset. A fresh file system has nothing else; the tests compare the image made from this
 * map with the template byte by byte.
 *
 * @param treeBlocks the blocks of the extent tree of `patch`, or its indirect blocks
 * @param treeName what these are called
 */
export async function mapMetadata(
  filesystem: ExtFilesystem,
  treeBlocks: readonly number[],
  treeName: string = EXTENT_TREE_NAME,
): Promise<MetadataRange[]> {
  const ranges: BlockRange[] = [
    ...superblockRanges(filesystem),
    ...(await journalRanges(filesystem)),
    ...(await directoryRanges(filesystem)),
  ];
  // At 500 GiB of payload there are 128,000 indirect blocks.
  for (const block of treeBlocks) {
    ranges.push({ name: treeName, firstBlock: block, blockCount: 1, neverZero: true });
  }
  for (const group of filesystem.groups) ranges.push(...(await groupRanges(filesystem, group)));

  const metadata: MetadataRange[] = [];
  for (const range of mergeRanges(ranges)) await keepNonZero(filesystem, range, metadata);
  return metadata;
}

/** The first block that no group's bitmap marks as used, or undefined when the file system is full. */
export async function firstFreeBlock(filesystem: ExtFilesystem): Promise<number | undefined> {
  const { superblock, groups, read } = filesystem;
  for (const group of groups) {
    const bitmap = await read(group.blockBitmapBlock * superblock.blockBytes, superblock.blockBytes);
    const bit = firstClearBit(bitmap);
    if (bit !== -1 && bit < group.blockCount) return group.firstBlock + bit;
  }
  return undefined;
}
