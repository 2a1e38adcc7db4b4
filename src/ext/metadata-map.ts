import { MIB } from '../units.js';
import { readDirectory } from './directory.js';
import { inodeTableBytes, readInode, type BlockGroup, type ExtFilesystem } from './filesystem.js';
import { readFileMap } from './file-extents.js';
import { MODE_TYPE_DIRECTORY, MODE_TYPE_MASK, ROOT_INODE_NUMBER } from './layout.js';
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

interface BlockRange {
  readonly name: string;
  readonly firstBlock: number;
  readonly blockCount: number;
}

function groupRanges(filesystem: ExtFilesystem, group: BlockGroup): BlockRange[] {
  const { superblock } = filesystem;
  const ranges: BlockRange[] = [];
  if (!group.blockBitmapUninitialised) {
    ranges.push({ name: 'block bitmaps', firstBlock: group.blockBitmapBlock, blockCount: 1 });
  }
  if (!group.inodeBitmapUninitialised) {
    ranges.push({ name: 'inode bitmaps', firstBlock: group.inodeBitmapBlock, blockCount: 1 });
  }
  // A table whose tail is known to hold zeros need not be read: at 2 TiB the tables are 8 GiB.
  const unusedBytes = group.inodeTableZeroed ? group.unusedInodeCount * superblock.inodeBytes : 0;
  const usedBytes = inodeTableBytes(superblock) - unusedBytes;
  const tableBlocks = Math.ceil(usedBytes / superblock.blockBytes);
  if (tableBlocks > 0) {
    ranges.push({ name: 'inode tables', firstBlock: group.inodeTableBlock, blockCount: tableBlocks });
  }
  return ranges;
}

async function directoryRanges(filesystem: ExtFilesystem): Promise<BlockRange[]> {
  const ranges: BlockRange[] = [];
  const visit = async (inodeNumber: number, name: string): Promise<void> => {
    const raw = await readInode(filesystem, inodeNumber);
    if ((raw.i_mode & MODE_TYPE_MASK) !== MODE_TYPE_DIRECTORY) return;
    const map = await readFileMap(filesystem, raw);
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
  const superblock = range.name === SUPERBLOCK_NAME;
  const closeRun = (at: number): void => {
    if (runStart !== undefined)
      into.push({ name: range.name, offset: runStart, length: at - runStart, superblock });
    runStart = undefined;
  };
  for (let offset = range.firstBlock * blockBytes; offset < end; offset += READ_BYTES) {
    const bytes = await filesystem.read(offset, Math.min(READ_BYTES, end - offset));
    for (let at = 0; at < bytes.length; at += blockBytes) {
      if (zeros.equals(bytes.subarray(at, at + blockBytes))) closeRun(offset + at);
      else runStart ??= offset + at;
    }
  }
  closeRun(end);
}

/**
 * Where a freshly formatted file system holds anything but zeros, apart from the data of its files: superblock,
 * group descriptors, bitmaps, the used part of the inode tables, directories and the given extent tree blocks.
 * In order of offset. A fresh file system has nothing else; the tests compare the image made from this map with the
 * template byte by byte.
 *
 * @param treeBlocks the blocks of the extent tree of `patch`
 */
export async function mapMetadata(
  filesystem: ExtFilesystem,
  treeBlocks: readonly number[],
): Promise<MetadataRange[]> {
  const { superblock, groups } = filesystem;
  const ranges: BlockRange[] = [
    { name: SUPERBLOCK_NAME, firstBlock: 0, blockCount: superblock.firstDataBlock + 1 },
    {
      name: 'group descriptors',
      firstBlock: superblock.firstDataBlock + 1,
      blockCount: Math.ceil(descriptorTableBytes(superblock) / superblock.blockBytes),
    },
    ...treeBlocks.map((block) => ({ name: 'extent tree of patch', firstBlock: block, blockCount: 1 })),
    ...(await directoryRanges(filesystem)),
  ];
  for (const group of groups) ranges.push(...groupRanges(filesystem, group));

  const metadata: MetadataRange[] = [];
  for (const range of mergeRanges(ranges)) await keepNonZero(filesystem, range, metadata);
  return metadata;
}

/** The lowest bit of an ext bitmap that is clear (bit 0 is the lowest of the first byte), or -1. */
function firstClearBit(bitmap: Uint8Array): number {
  const index = bitmap.findIndex((byte) => byte !== 0xff);
  const byte = bitmap[index];
  // The lowest clear bit of a byte is the lowest set bit of its complement.
  return byte === undefined ? -1 : index * 8 + 31 - Math.clz32(~byte & -~byte);
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
