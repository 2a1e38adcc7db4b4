import { viewOf } from '../struct.js';
import type { Extent, FileMap } from './file-extents.js';
import { corrupt, type ExtFilesystem } from './filesystem.js';
import type { RawInode } from './inode.js';
import { BLOCK_NUMBER_BYTES, DIRECT_BLOCK_COUNT, INDIRECT_LEVELS } from './layout.js';

/** The extents of a file while its map is walked in file order. */
class ExtentCollector {
  readonly extents: { fileBlock: number; fsBlock: number; blockCount: number; unwritten: boolean }[] = [];
  readonly #filesystem: ExtFilesystem;
  #mappedCount = 0;

  constructor(filesystem: ExtFilesystem) {
    this.#filesystem = filesystem;
  }

  /** @throws PatchVdiError `image` for a block that is none, or when the file has more blocks than the image */
  add(fileBlock: number, fsBlock: number, count: number): void {
    requireBlock(this.#filesystem, fsBlock, fileBlock);
    requireBlock(this.#filesystem, fsBlock + count - 1, fileBlock + count - 1);
    this.#mappedCount += count;
    const { blockCount } = this.#filesystem.superblock;
    if (this.#mappedCount > blockCount) {
      throw corrupt('a block map', 0, `more than ${blockCount} blocks`, 'no more blocks than the image has');
    }
    const last = this.extents.at(-1);
    const continues =
      last !== undefined &&
      last.fsBlock + last.blockCount === fsBlock &&
      last.fileBlock + last.blockCount === fileBlock;
    if (continues) last.blockCount += count;
    else this.extents.push({ fileBlock, fsBlock, blockCount: count, unwritten: false });
  }

  /** Adds the blocks that a run of pointers names; 0 is a hole. */
  addPointers(fileBlock: number, pointers: DataView, pointerCount: number): void {
    const pointer = (index: number): number => pointers.getUint32(index * BLOCK_NUMBER_BYTES, true);
    for (let index = 0; index < pointerCount;) {
      const first = pointer(index);
      let count = 1;
      if (first !== 0) {
        while (index + count < pointerCount && pointer(index + count) === first + count) count += 1;
        this.add(fileBlock + index, first, count);
      }
      index += count;
    }
  }
}

function requireBlock({ superblock }: ExtFilesystem, fsBlock: number, fileBlock: number): void {
  const { blockCount, firstDataBlock, blockBytes } = superblock;
  if (fsBlock > firstDataBlock && fsBlock < blockCount) return;
  const found = `block ${fsBlock} for file block ${fileBlock}`;
  const expected = `${firstDataBlock + 1} to ${blockCount - 1}`;
  throw corrupt('a block map', fsBlock * blockBytes, found, expected);
}

/**
 * All blocks of a file without extents, as runs: 12 direct ones, and trees of one, two and three levels (ext4
 * documentation, "Direct/Indirect Block Addressing"). A block number of 0 is a hole, at any level.
 * Bounded by the image: no block of a tree is read twice, and no file has more blocks than the image.
 *
 * @returns extents that are merged already, and the indirect blocks in the order in which they are met
 * @throws PatchVdiError `image` for a damaged map
 */
export async function readBlockMap(filesystem: ExtFilesystem, raw: RawInode): Promise<FileMap> {
  const { read, superblock } = filesystem;
  const numbersPerBlock = superblock.blockBytes / BLOCK_NUMBER_BYTES;
  const collector = new ExtentCollector(filesystem);
  const treeBlocks = new Set<number>();

  const visitTree = async (block: number, level: number, fileBlock: number): Promise<void> => {
    requireBlock(filesystem, block, fileBlock);
    if (treeBlocks.has(block)) {
      const found = `indirect block ${block} for the second time`;
      throw corrupt('a block map', block * superblock.blockBytes, found, 'a block that is met once');
    }
    treeBlocks.add(block);
    const bytes = await read(block * superblock.blockBytes, superblock.blockBytes);
    // The buffer of `read` is ours only until the next read: the last level needs no copy.
    const view = viewOf(level === 1 ? bytes : new Uint8Array(bytes));
    if (level === 1) {
      collector.addPointers(fileBlock, view, numbersPerBlock);
      return;
    }
    const span = numbersPerBlock ** (level - 1);
    for (let index = 0; index < numbersPerBlock; index += 1) {
      const child = view.getUint32(index * BLOCK_NUMBER_BYTES, true);
      if (child !== 0) await visitTree(child, level - 1, fileBlock + index * span);
    }
  };

  const roots = viewOf(raw.i_block);
  collector.addPointers(0, roots, DIRECT_BLOCK_COUNT);
  let fileBlock = DIRECT_BLOCK_COUNT;
  for (let level = 1; level <= INDIRECT_LEVELS; level += 1) {
    const block = roots.getUint32((DIRECT_BLOCK_COUNT + level - 1) * BLOCK_NUMBER_BYTES, true);
    if (block !== 0) await visitTree(block, level, fileBlock);
    fileBlock += numbersPerBlock ** level;
  }
  const extents: readonly Extent[] = collector.extents;
  return { extents, treeBlocks: [...treeBlocks] };
}
