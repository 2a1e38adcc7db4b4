import { corrupt, type ExtFilesystem } from './filesystem.js';
import type { RawInode } from './inode.js';
import {
  EXTENT_MAGIC,
  EXTENT_MAX_INITIALISED_BLOCKS,
  INODE_FLAG_EXTENTS,
  extentHeader,
  extentIndex,
  extentLeaf,
} from './layout.js';

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

/** The kernel's own limit (EXT4_MAX_EXTENT_DEPTH). */
const MAX_DEPTH = 5;

interface Walk {
  readonly filesystem: ExtFilesystem;
  readonly extents: Extent[];
  /** In the order in which they were met. */
  readonly treeBlocks: Set<number>;
}

function addLeaf(walk: Walk, node: Uint8Array, at: number, nodeOffset: number): void {
  const raw = extentLeaf.decode(node, at);
  const unwritten = raw.ee_len > EXTENT_MAX_INITIALISED_BLOCKS;
  const extent: Extent = {
    fileBlock: raw.ee_block,
    fsBlock: raw.ee_start_lo + raw.ee_start_hi * 2 ** 32,
    blockCount: unwritten ? raw.ee_len - EXTENT_MAX_INITIALISED_BLOCKS : raw.ee_len,
    unwritten,
  };
  const { superblock } = walk.filesystem;
  const before = walk.extents.at(-1);
  const firstAllowed = before === undefined ? 0 : before.fileBlock + before.blockCount;
  const end = extent.fsBlock + extent.blockCount;
  if (extent.blockCount === 0 || extent.fileBlock < firstAllowed || end > superblock.blockCount) {
    const found = `${extent.blockCount} blocks at ${extent.fsBlock} for file block ${extent.fileBlock}`;
    const expected = `file blocks from ${firstAllowed}, disk blocks below ${superblock.blockCount}`;
    throw corrupt('an extent', nodeOffset + at, found, expected);
  }
  walk.extents.push(extent);
}

async function walkNode(
  walk: Walk,
  node: Uint8Array,
  depthExpected: number | undefined,
  nodeOffset: number,
): Promise<void> {
  const header = extentHeader.decode(node);
  const capacity = Math.floor((node.length - extentHeader.sizeBytes) / extentLeaf.sizeBytes);
  const depthFits =
    depthExpected === undefined ? header.eh_depth <= MAX_DEPTH : header.eh_depth === depthExpected;
  if (header.eh_magic !== EXTENT_MAGIC || header.eh_entries > capacity || !depthFits) {
    const found = `magic 0x${header.eh_magic.toString(16)}, ${header.eh_entries} entries, depth ${header.eh_depth}`;
    const expected = `magic 0x${EXTENT_MAGIC.toString(16)}, at most ${capacity} entries, depth ${depthExpected ?? `0 to ${MAX_DEPTH}`}`;
    throw corrupt('an extent tree node', nodeOffset, found, expected);
  }
  for (let entry = 0; entry < header.eh_entries; entry += 1) {
    const at = extentHeader.sizeBytes + entry * extentLeaf.sizeBytes;
    if (header.eh_depth === 0) addLeaf(walk, node, at, nodeOffset);
    else await walkChild(walk, node, at, header.eh_depth - 1, nodeOffset);
  }
}

async function walkChild(
  walk: Walk,
  node: Uint8Array,
  at: number,
  depth: number,
  nodeOffset: number,
): Promise<void> {
  const raw = extentIndex.decode(node, at);
  const child = raw.ei_leaf_lo + raw.ei_leaf_hi * 2 ** 32;
  const { superblock, read } = walk.filesystem;
  if (child >= superblock.blockCount || walk.treeBlocks.has(child)) {
    const found = `tree block ${child}${walk.treeBlocks.has(child) ? ' for the second time' : ''}`;
    const expected = `a block below ${superblock.blockCount} that is met once`;
    throw corrupt('an extent index', nodeOffset + at, found, expected);
  }
  walk.treeBlocks.add(child);
  const offset = child * superblock.blockBytes;
  await walkNode(walk, new Uint8Array(await read(offset, superblock.blockBytes)), depth, offset);
}

/**
 * All extents of a file, by walking its extent tree (ext4 documentation, "Extent Tree").
 * Bounded by the image: no block of a tree is read twice.
 *
 * @throws PatchVdiError `image` for a file without extents, or a damaged tree
 */
export async function readFileMap(filesystem: ExtFilesystem, raw: RawInode): Promise<FileMap> {
  if ((raw.i_flags & INODE_FLAG_EXTENTS) === 0) {
    throw corrupt('the inode', 0, `i_flags 0x${raw.i_flags.toString(16)}`, 'a file with extents (0x80000)');
  }
  const walk: Walk = { filesystem, extents: [], treeBlocks: new Set() };
  await walkNode(walk, raw.i_block, undefined, 0);
  return { extents: walk.extents, treeBlocks: [...walk.treeBlocks] };
}

/** Joins extents that continue each other both in the file and on disk, and are of the same kind. */
export function mergeExtents(extents: readonly Extent[]): Extent[] {
  const merged: Extent[] = [];
  for (const extent of extents) {
    const last = merged.at(-1);
    const continues =
      last !== undefined &&
      last.unwritten === extent.unwritten &&
      last.fileBlock + last.blockCount === extent.fileBlock &&
      last.fsBlock + last.blockCount === extent.fsBlock;
    if (continues) merged[merged.length - 1] = { ...last, blockCount: last.blockCount + extent.blockCount };
    else merged.push(extent);
  }
  return merged;
}
