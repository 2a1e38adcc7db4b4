import { MIB } from '../units.js';
import { readDirectory } from './directory.js';
import { inodeTableBytes, readInode, type BlockGroup, type ExtFilesystem } from './filesystem.js';
import { readFileMap } from './file-extents.js';
import { MODE_TYPE_DIRECTORY, MODE_TYPE_MASK, ROOT_INODE_NUMBER } from './layout.js';
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

interface BlockRange {
  readonly name: string;
  readonly firstBlock: number;
  readonly blockCount: number;
  /** Known to be zeros without looking: at 2 TiB the inode tables alone are 8 GiB. */
  readonly zero?: true;
}

function groupRanges(filesystem: ExtFilesystem, group: BlockGroup): BlockRange[] {
  const { superblock } = filesystem;
  const bitmap = (name: string, firstBlock: number, uninitialised: boolean): BlockRange =>
    uninitialised ? { name, firstBlock, blockCount: 1, zero: true } : { name, firstBlock, blockCount: 1 };
  const ranges = [
    bitmap('block bitmaps', group.blockBitmapBlock, group.blockBitmapUninitialised),
    bitmap('inode bitmaps', group.inodeBitmapBlock, group.inodeBitmapUninitialised),
  ];
  const tableBytes = inodeTableBytes(superblock);
  const unusedBytes = group.inodeTableZeroed ? group.unusedInodeCount * superblock.inodeBytes : 0;
  const usedBlocks = Math.ceil((tableBytes - unusedBytes) / superblock.blockBytes);
  const unusedBlocks = Math.ceil(tableBytes / superblock.blockBytes) - usedBlocks;
  const name = 'inode tables';
  const firstBlock = group.inodeTableBlock;
  if (usedBlocks > 0) ranges.push({ name, firstBlock, blockCount: usedBlocks });
  if (unusedBlocks > 0) {
    ranges.push({ name, firstBlock: firstBlock + usedBlocks, blockCount: unusedBlocks, zero: true });
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
      last.zero === range.zero &&
      last.firstBlock + last.blockCount === range.firstBlock
    ) {
      merged[merged.length - 1] = { ...last, blockCount: last.blockCount + range.blockCount };
    } else merged.push(range);
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
  const superblock = name === SUPERBLOCK_NAME;
  const start = range.firstBlock * blockBytes;
  const end = start + range.blockCount * blockBytes;
  if (range.zero === true) {
    append({ name, offset: start, length: end - start, superblock, zero: true }, into);
    return;
  }
  const zeros = Buffer.alloc(blockBytes);
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
 * Where a freshly formatted file system holds metadata, apart from the data of its files: superblock, group
 * descriptors, bitmaps, inode tables, directories and the given extent tree blocks, all of each. In order of offset.
 * A fresh file system has nothing else; the tests compare the image made from this map with the template byte by
 * byte. What lies outside it, and outside of files, is free: nobody cares what is there.
 *
 * @param treeBlocks the blocks of the extent tree of `patch`
 */
export async function mapWholeMetadata(
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
  for (const range of mergeRanges(ranges)) await splitAtZeros(filesystem, range, metadata);
  return metadata;
}

/** The part of {@link mapWholeMetadata} that is anything but zeros. */
export async function mapMetadata(
  filesystem: ExtFilesystem,
  treeBlocks: readonly number[],
): Promise<MetadataRange[]> {
  const ranges = await mapWholeMetadata(filesystem, treeBlocks);
  return ranges.filter(({ zero }) => zero !== true);
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
