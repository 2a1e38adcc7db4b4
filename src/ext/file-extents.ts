import { blockMapExtents } from './block-map.js';
import { treeExtents, type MapWalk } from './extent-tree.js';
import { corrupt, type ExtFilesystem } from './filesystem.js';
import { FindingCap } from './finding-cap.js';
import { inodeChecksumSeed } from './inode-checksum.js';
import { blocks512, fileTypeOf, storageOf } from './inode-facts.js';
import { inodeIsIntact, inodeOffset, type RawInode } from './inode.js';
import { INODE_BLOCKS_UNIT_BYTES, INODE_FLAG_EXTENTS, inode as inodeLayout } from './layout.js';
import { MappedBlocks } from './mapped-blocks.js';

/** A run of file blocks on consecutive disk blocks. */
export interface Extent {
  /** Number of the first block within the file. */
  readonly fileBlock: number;
  /** Number of the first block within the file system. */
  readonly fsBlock: number;
  readonly blockCount: number;
  /** Unwritten extents read as zeros, whatever their blocks hold. */
  readonly unwritten: boolean;
}

/** The blocks of a file: its data, and the blocks of its extent tree, which are metadata. */
export interface FileMap {
  /** In file order; neither empty nor overlapping. */
  readonly extents: readonly Extent[];
  readonly treeBlocks: readonly number[];
}

export interface FileExtentsOptions {
  /** Is told each block of the map itself: nodes of an extent tree, indirect blocks. */
  readonly onTreeBlock?: (fsBlock: number) => void;
}

const HAS_NO_BLOCKS = new Set(['character device', 'block device', 'fifo', 'socket']);

function continues(before: Extent, extent: Extent): boolean {
  return (
    before.unwritten === extent.unwritten &&
    before.fileBlock + before.blockCount === extent.fileBlock &&
    before.fsBlock + before.blockCount === extent.fsBlock
  );
}

/** Joins extents that continue each other, one behind the other. */
async function* merged(extents: AsyncIterable<Extent>): AsyncGenerator<Extent> {
  let last: Extent | undefined;
  for await (const extent of extents) {
    if (last === undefined) last = extent;
    else if (continues(last, extent)) last = { ...last, blockCount: last.blockCount + extent.blockCount };
    else {
      yield last;
      last = extent;
    }
  }
  if (last !== undefined) yield last;
}

/** A walk through the map of one file. @param inodeNumber undefined: checksums of tree blocks are not verified */
function mapWalk(
  filesystem: ExtFilesystem,
  inodeNumber: number | undefined,
  raw: RawInode,
  onTreeBlock: (fsBlock: number) => void = () => undefined,
): MapWalk {
  const { superblock } = filesystem;
  const seed =
    inodeNumber === undefined ? undefined : inodeChecksumSeed(superblock, inodeNumber, raw.i_generation);
  const rootOffset =
    inodeNumber === undefined ? 0 : inodeOffset(filesystem, inodeNumber) + inodeLayout.rows.i_block[0];
  const mapped = new MappedBlocks(filesystem);
  const checksums =
    inodeNumber === undefined || seed === undefined
      ? undefined
      : { inodeNumber, seed, cap: new FindingCap(filesystem.report) };
  return { filesystem, mapped, checksums, rootOffset, onTreeBlock };
}

/**
 * Where the content of a file or folder lies, whichever way its inode has it, in file order and merged. Nothing for
 * content in the inode itself, and for devices, fifos and sockets. Memory does not grow with the file.
 *
 * Reports `extent-block-checksum`, `extent-node-capacity`, `file-over-superblock`, and at the end the warning
 * `inode-block-count` when `i_blocks` disagrees.
 *
 * @throws PatchVdiError `image` for a damaged map
 */
export async function* fileExtents(
  filesystem: ExtFilesystem,
  inodeNumber: number,
  raw: RawInode,
  { onTreeBlock }: FileExtentsOptions = {},
): AsyncGenerator<Extent> {
  const storage = storageOf(filesystem.superblock, raw);
  if (HAS_NO_BLOCKS.has(fileTypeOf(raw)) || storage === 'inline' || storage === 'fast symlink') return;
  const walk = mapWalk(filesystem, inodeNumber, raw, onTreeBlock);
  yield* merged(storage === 'extents' ? treeExtents(walk, raw) : blockMapExtents(walk, raw));
  if (storage === 'extents') await reportBlockCount(filesystem, inodeNumber, raw, walk.mapped.total);
}

/** With extents all blocks of a file are met; of clusters (`bigalloc`) the count says too little. */
async function reportBlockCount(
  filesystem: ExtFilesystem,
  inodeNumber: number,
  raw: RawInode,
  mappedBlocks: number,
): Promise<void> {
  const { superblock, report } = filesystem;
  if (superblock.blocksPerCluster > 1) return;
  const attributeBlocks = raw.i_file_acl_lo === 0 && raw.l_i_file_acl_high === 0 ? 0 : 1;
  const expected = (mappedBlocks + attributeBlocks) * (superblock.blockBytes / INODE_BLOCKS_UNIT_BYTES);
  const found = blocks512(superblock, raw);
  if (found === expected || !(await inodeIsIntact(filesystem, inodeNumber))) return;
  report({
    code: 'inode-block-count',
    severity: 'warning',
    structure: `inode ${inodeNumber}`,
    space: 'disk',
    offset: undefined,
    found: `i_blocks ${found}`,
    expected: `${expected}, in units of ${INODE_BLOCKS_UNIT_BYTES} bytes`,
  });
}

/** All that a walk finds, in memory; for files that we made. */
async function collectMap(extents: AsyncIterable<Extent>, treeBlocks: readonly number[]): Promise<FileMap> {
  const all: Extent[] = [];
  for await (const extent of extents) all.push(extent);
  return { extents: all, treeBlocks };
}

/**
 * All extents of a file with an extent tree, entry by entry as they stand in it.
 *
 * @param inodeNumber without it the checksums of the tree's blocks are not verified
 * @throws PatchVdiError `image` for a file without extents, or a damaged tree
 */
export async function readFileMap(
  filesystem: ExtFilesystem,
  raw: RawInode,
  inodeNumber?: number,
): Promise<FileMap> {
  if ((raw.i_flags & INODE_FLAG_EXTENTS) === 0) {
    throw corrupt('the inode', 0, `i_flags 0x${raw.i_flags.toString(16)}`, 'a file with extents (0x80000)');
  }
  const treeBlocks: number[] = [];
  const walk = mapWalk(filesystem, inodeNumber, raw, (block) => treeBlocks.push(block));
  return await collectMap(treeExtents(walk, raw), treeBlocks);
}

/**
 * All blocks of a file without extents, as runs that are merged, and its indirect blocks.
 *
 * @throws PatchVdiError `image` for a damaged map
 */
export async function readBlockMap(filesystem: ExtFilesystem, raw: RawInode): Promise<FileMap> {
  const treeBlocks: number[] = [];
  const walk = mapWalk(filesystem, undefined, raw, (block) => treeBlocks.push(block));
  return await collectMap(merged(blockMapExtents(walk, raw)), treeBlocks);
}

/** Joins extents that continue each other both in the file and on disk, and are of the same kind. */
export function mergeExtents(extents: readonly Extent[]): Extent[] {
  const all: Extent[] = [];
  for (const extent of extents) {
    const last = all.at(-1);
    if (last !== undefined && continues(last, extent)) {
      all[all.length - 1] = { ...last, blockCount: last.blockCount + extent.blockCount };
    } else all.push(extent);
  }
  return all;
}
