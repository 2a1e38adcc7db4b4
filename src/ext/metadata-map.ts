import { MIB } from '../units.js';
import { readDirectory } from './directory.js';
import { firstClearBit, lastSetBit } from './bitmap.js';
import { inodeTableBytes, type BlockGroup, type ExtFilesystem } from './filesystem.js';
import { readInode } from './inode.js';
import { readFileBlocks } from './file-blocks.js';
import {
  MODE_TYPE_DIRECTORY,
  MODE_TYPE_MASK,
  ROOT_INODE_NUMBER,
  RO_COMPAT_GDT_CSUM,
  RO_COMPAT_METADATA_CSUM,
} from './layout.js';
import { descriptorTableBytes } from './superblock.js';

/** A piece of the image that belongs to metadata, on whole blocks. */
export interface MetadataRange {
  /** What it is, for people: `block bitmaps`, `inode tables`. */
  readonly name: string;
  readonly offset: number;
  readonly length: number;
  /** Holds the superblock or a backup of it: without these nothing opens the file system. */
  readonly superblock: boolean;
  /** Every byte is zero, and must be: a new file has such ranges by itself, an old disk does not. */
  readonly zero?: true;
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
  /** Known to be zeros without looking: at 2 TiB the inode tables alone are 8 GiB. */
  readonly zero?: true;
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
  const bitmap = (name: string, firstBlock: number, uninitialised: boolean): BlockRange =>
    uninitialised ? { name, firstBlock, blockCount: 1, zero: true } : { name, firstBlock, blockCount: 1 };
  const ranges = [
    bitmap('block bitmaps', group.blockBitmapBlock, group.blockBitmapUninitialised),
    bitmap('inode bitmaps', group.inodeBitmapBlock, group.inodeBitmapUninitialised),
  ];
  const usedBlocks = Math.ceil((await usedTableBytes(filesystem, group)) / superblock.blockBytes);
  const unusedBlocks = Math.ceil(inodeTableBytes(superblock) / superblock.blockBytes) - usedBlocks;
  const name = 'inode tables';
  const firstBlock = group.inodeTableBlock;
  if (usedBlocks > 0) ranges.push({ name, firstBlock, blockCount: usedBlocks });
  if (unusedBlocks > 0) {
    ranges.push({ name, firstBlock: firstBlock + usedBlocks, blockCount: unusedBlocks, zero: true });
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
    const firstBlock = groups.at(group)?.firstBlock ?? 0;
    ranges.push({ name: BACKUP_NAME, firstBlock, blockCount: 1 });
    const blockCount = Math.min(tableBlocks, superblock.blockCount - firstBlock - 1);
    if (blockCount > 0)
      ranges.push({ name: 'group descriptor backups', firstBlock: firstBlock + 1, blockCount });
  }
  return ranges;
}

/**
 * All of the journal. One that was never used is zeros but for its superblock, in its first block; and it must be: a
 * recovery takes any block for its own that has the next number of a transaction, and what an older journal left at
 * the same place has the same numbers.
 */
async function journalRanges(filesystem: ExtFilesystem): Promise<BlockRange[]> {
  const { journalInodeNumber } = filesystem.superblock;
  if (journalInodeNumber === 0) return [];
  const map = await readFileBlocks(filesystem, await readInode(filesystem, journalInodeNumber));
  return [
    ...map.treeBlocks.map((block) => ({ name: 'journal', firstBlock: block, blockCount: 1 })),
    ...map.extents.map((run) => ({ name: 'journal', firstBlock: run.fsBlock, blockCount: run.blockCount })),
  ];
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

/** In order of place, neighbours of one kind as one. They grow in place: at 2 TiB there are 65,000 ranges. */
function mergeRanges(ranges: readonly BlockRange[]): BlockRange[] {
  const merged: { -readonly [key in keyof BlockRange]: BlockRange[key] }[] = [];
  for (const range of ranges.toSorted((a, b) => a.firstBlock - b.firstBlock)) {
    const last = merged.at(-1);
    if (
      last !== undefined &&
      last.name === range.name &&
      last.zero === range.zero &&
      last.neverZero === range.neverZero &&
      last.firstBlock + last.blockCount === range.firstBlock
    ) {
      last.blockCount += range.blockCount;
    } else merged.push({ ...range });
  }
  return merged;
}

function append(range: MetadataRange, into: MetadataRange[]): void {
  const last = into.at(-1);
  const continues =
    last?.name === range.name && last.zero === range.zero && last.offset + last.length === range.offset;
  if (continues) into[into.length - 1] = { ...last, length: last.length + range.length };
  else if (range.length > 0) into.push(range);
}

/** Splits one range into its runs of blocks that are zeros, and of blocks that are not. */
async function splitAtZeros(
  filesystem: ExtFilesystem,
  range: BlockRange,
  into: MetadataRange[],
): Promise<void> {
  const { blockBytes } = filesystem.superblock;
  const { name } = range;
  const superblock = name === SUPERBLOCK_NAME || name === BACKUP_NAME;
  const start = range.firstBlock * blockBytes;
  const end = start + range.blockCount * blockBytes;
  if (range.zero === true) {
    append({ name, offset: start, length: end - start, superblock, zero: true }, into);
    return;
  }
  const zeros = Buffer.alloc(blockBytes);
  if (range.neverZero === true) {
    append({ name, offset: start, length: end - start, superblock }, into);
    return;
  }
  let run = { offset: start, zero: false };
  const endRun = (at: number): void => {
    const found = { name, offset: run.offset, length: at - run.offset, superblock };
    append(run.zero ? { ...found, zero: true } : found, into);
  };
  for (let offset = start; offset < end; offset += READ_BYTES) {
    const bytes = await filesystem.read(offset, Math.min(READ_BYTES, end - offset));
    for (let at = 0; at < bytes.length; at += blockBytes) {
      const zero = zeros.equals(bytes.subarray(at, at + blockBytes));
      if (zero === run.zero) continue;
      endRun(offset + at);
      run = { offset: offset + at, zero };
    }
  }
  endRun(end);
}

/**
 * Where a freshly formatted file system holds metadata, apart from the data of its files: superblocks, group
 * descriptors, bitmaps, inode tables, the journal, directories and the given blocks of the map of `patch`, all of each.
 * In order of offset.
 * A fresh file system has nothing else; the tests compare the image made from this map with the template byte by
 * byte. What lies outside it, and outside of files, is free: nobody cares what is there.
 *
 * @param treeBlocks the blocks of the extent tree of `patch`, or its indirect blocks
 * @param treeName what these are called
 */
export async function mapWholeMetadata(
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
  for (const range of mergeRanges(ranges)) await splitAtZeros(filesystem, range, metadata);
  return metadata;
}

/** The part of {@link mapWholeMetadata} that is anything but zeros. */
export async function mapMetadata(
  filesystem: ExtFilesystem,
  treeBlocks: readonly number[],
  treeName: string = EXTENT_TREE_NAME,
): Promise<MetadataRange[]> {
  const ranges = await mapWholeMetadata(filesystem, treeBlocks, treeName);
  return ranges.filter(({ zero }) => zero !== true);
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
