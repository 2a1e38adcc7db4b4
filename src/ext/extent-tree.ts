import { viewOf } from '../struct.js';
import { crc32c } from './crc32c.js';
import type { Extent } from './file-extents.js';
import { corrupt, type ExtFilesystem } from './filesystem.js';
import type { FindingCap } from './finding-cap.js';
import { inodeIsIntact, type RawInode } from './inode.js';
import { EXTENT_MAX_DEPTH, MAX_FILE_BLOCKS, extentTail } from './file-layout.js';
import {
  EXTENT_MAGIC,
  EXTENT_MAX_INITIALISED_BLOCKS,
  extentHeader,
  extentIndex,
  extentLeaf,
} from './layout.js';
import type { MappedBlocks } from './mapped-blocks.js';

interface MapChecksums {
  readonly inodeNumber: number;
  /** What they continue from. */
  readonly seed: number;
  /** A tree with nothing but damage is not reported block by block. */
  readonly cap: FindingCap;
}

/** How a map is walked. */
export interface MapWalk {
  readonly filesystem: ExtFilesystem;
  readonly mapped: MappedBlocks;
  /** Undefined: checksums of tree blocks are not looked at. */
  readonly checksums: MapChecksums | undefined;
  /** Where `i_block` stands on the disk, in bytes; 0 when nobody told. */
  readonly rootOffset: number;
  /** Is told each block of the map itself, in the order in which they are met. */
  readonly onTreeBlock: (fsBlock: number) => void;
}

/** A node on the way from the root to where the walk is. */
interface Node {
  readonly bytes: Uint8Array;
  /** Of the node, on the disk. */
  readonly offset: number;
  readonly depth: number;
  readonly entryCount: number;
  /** Its extents start below this file block. */
  readonly endFileBlock: number;
  /** The entry that is next. */
  next: number;
  /** The least file block with which it may start. */
  firstAllowed: number;
}

/** File blocks that a node may map, as its parent says. */
interface NodeRange {
  readonly first: number;
  readonly end: number;
}

const entryOffset = (index: number): number => extentHeader.sizeBytes + index * extentLeaf.sizeBytes;

/** e2fsprogs, lib/ext2fs/extent.c, ext2fs_extent_header_verify. */
const SPARE_ENTRIES = 2;

/** @param depth undefined for the root, which tells it */
async function openNode(
  walk: MapWalk,
  bytes: Uint8Array,
  offset: number,
  depth: number | undefined,
  range: NodeRange,
): Promise<Node> {
  const header = extentHeader.decode(bytes);
  const capacity = Math.floor((bytes.length - extentHeader.sizeBytes) / extentLeaf.sizeBytes);
  const depthFits = depth === undefined ? header.eh_depth <= EXTENT_MAX_DEPTH : header.eh_depth === depth;
  // A node below the root that holds nothing could be met for ever.
  const isEmpty = header.eh_entries === 0 && (depth !== undefined || header.eh_depth > 0);
  if (header.eh_magic !== EXTENT_MAGIC || header.eh_entries > capacity || !depthFits || isEmpty) {
    const found = `magic 0x${header.eh_magic.toString(16)}, ${header.eh_entries} entries, depth ${header.eh_depth}`;
    const least = depth === undefined && header.eh_depth === 0 ? 0 : 1;
    const expected = `magic 0x${EXTENT_MAGIC.toString(16)}, ${least} to ${capacity} entries, depth ${depth ?? `0 to ${EXTENT_MAX_DEPTH}`}`;
    throw corrupt('an extent tree node', offset, found, expected);
  }
  // Room for two entries may be kept for a tail; with less, libext2fs takes the node for damaged, the kernel with none.
  const leastMax = Math.max(header.eh_entries, capacity - SPARE_ENTRIES);
  const capacityFault = header.eh_max < leastMax || header.eh_max > capacity;
  if (capacityFault) {
    const found = `eh_max ${header.eh_max}`;
    const expected = `${leastMax} to ${capacity}`;
    walk.filesystem.report({
      code: 'extent-node-capacity',
      severity: 'error',
      structure: 'extent tree node',
      space: 'disk',
      offset,
      found,
      expected,
    });
  } else if (depth !== undefined) await verifyChecksum(walk, bytes, offset, header.eh_max);
  const { first: firstAllowed, end: endFileBlock } = range;
  const { eh_depth, eh_entries: entryCount } = header;
  return { bytes, offset, depth: eh_depth, entryCount, endFileBlock, next: 0, firstAllowed };
}

/** `et_checksum` stands behind the room for `eh_max` entries, and covers all of it. */
async function verifyChecksum(
  walk: MapWalk,
  bytes: Uint8Array,
  offset: number,
  maxEntries: number,
): Promise<void> {
  const { checksums, filesystem } = walk;
  if (checksums === undefined) return;
  const at = entryOffset(maxEntries);
  const stored = at + extentTail.sizeBytes <= bytes.length ? viewOf(bytes).getUint32(at, true) : undefined;
  const computed = crc32c(checksums.seed, bytes.subarray(0, at));
  if (stored === computed) return;
  if (!(await inodeIsIntact(filesystem, checksums.inodeNumber))) return;
  const found = stored === undefined ? 'no room for a checksum' : `checksum 0x${stored.toString(16)}`;
  checksums.cap.report({
    code: 'extent-block-checksum',
    severity: 'error',
    structure: `extent tree block ${offset / bytes.length}`,
    space: 'disk',
    offset: offset + at,
    found,
    expected: `0x${computed.toString(16)}`,
  });
}

function nextExtent(walk: MapWalk, node: Node): Extent {
  const at = entryOffset(node.next);
  node.next += 1;
  const raw = extentLeaf.decode(node.bytes, at);
  const unwritten = raw.ee_len > EXTENT_MAX_INITIALISED_BLOCKS;
  const fileBlock = raw.ee_block;
  const fsBlock = raw.ee_start_lo + raw.ee_start_hi * 2 ** 32;
  const blockCount = unwritten ? raw.ee_len - EXTENT_MAX_INITIALISED_BLOCKS : raw.ee_len;
  const place = { structure: 'an extent', offset: node.offset + at };
  const end = fileBlock + blockCount;
  if (fileBlock < node.firstAllowed || fileBlock >= node.endFileBlock || end > MAX_FILE_BLOCKS) {
    const found = `${blockCount} blocks at ${fsBlock} for file block ${fileBlock}`;
    const expected = `file blocks from ${node.firstAllowed}, below ${node.endFileBlock}`;
    throw corrupt(place.structure, place.offset, found, expected);
  }
  walk.mapped.addData(place, fsBlock, blockCount, fileBlock);
  node.firstAllowed = end;
  return { fileBlock, fsBlock, blockCount, unwritten };
}

async function nextChild(walk: MapWalk, node: Node): Promise<Node> {
  const at = entryOffset(node.next);
  const raw = extentIndex.decode(node.bytes, at);
  node.next += 1;
  const isLast = node.next === node.entryCount;
  const end = isLast ? node.endFileBlock : extentIndex.decode(node.bytes, entryOffset(node.next)).ei_block;
  if (raw.ei_block < node.firstAllowed || raw.ei_block >= end || end > node.endFileBlock) {
    const found = `file blocks ${raw.ei_block} to ${end}`;
    const expected = `a part of ${node.firstAllowed} to ${node.endFileBlock}`;
    throw corrupt('an extent index', node.offset + at, found, expected);
  }
  const child = raw.ei_leaf_lo + raw.ei_leaf_hi * 2 ** 32;
  walk.mapped.addTreeBlock({ structure: 'an extent index', offset: node.offset + at }, child);
  walk.onTreeBlock(child);
  const { blockBytes } = walk.filesystem.superblock;
  const bytes = new Uint8Array(await walk.filesystem.read(child * blockBytes, blockBytes));
  // What the leaf before this one mapped is behind us, whatever this one's index says.
  const range = { first: raw.ei_block, end };
  return await openNode(walk, bytes, child * blockBytes, node.depth - 1, range);
}

/**
 * The extents of an extent tree, one entry at a time, in file order (ext4 documentation, "Extent Tree").
 *
 * In memory is one node of each level, 6 at most. It ends, and reads no block twice: each node below the root holds
 * something, all that it holds starts within the range that its parent has for it, and these ranges are disjoint.
 * Reports `extent-block-checksum`, `extent-node-capacity`, `file-over-superblock`.
 *
 * @throws PatchVdiError `image` for a damaged tree
 */
export async function* treeExtents(walk: MapWalk, raw: RawInode): AsyncGenerator<Extent> {
  const path = [
    await openNode(walk, raw.i_block, walk.rootOffset, undefined, { first: 0, end: MAX_FILE_BLOCKS }),
  ];
  let endOfLast = 0;
  for (let node = path.at(-1); node !== undefined; node = path.at(-1)) {
    if (node.next === node.entryCount) path.pop();
    else if (node.depth > 0) {
      const child = await nextChild(walk, node);
      node.firstAllowed = child.endFileBlock;
      child.firstAllowed = Math.max(child.firstAllowed, endOfLast);
      path.push(child);
    } else {
      const extent = nextExtent(walk, node);
      endOfLast = extent.fileBlock + extent.blockCount;
      yield extent;
    }
  }
  walk.checksums?.cap.finish();
}
