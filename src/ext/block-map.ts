import { viewOf } from '../struct.js';
import type { Extent } from './file-extents.js';
import type { MapWalk } from './extent-tree.js';
import { corrupt } from './filesystem.js';
import { MAX_FILE_BLOCKS } from './file-layout.js';
import { fileTypeOf } from './inode-facts.js';
import { fileSizeBytes, type RawInode } from './inode.js';
import { BLOCK_NUMBER_BYTES, DIRECT_BLOCK_COUNT, INDIRECT_LEVELS } from './layout.js';

/**
 * Indirect blocks without a single number, which a file is left with when holes are punched into it. Only these are not
 * bounded by the blocks that they map.
 */
const MAX_EMPTY_BLOCKS = 65_536;

/** An indirect block whose numbers are being followed; the root stands for the last three numbers of the inode. */
interface Level {
  readonly pointers: DataView;
  /** On the disk. */
  readonly offset: number;
  readonly block: number;
  /** Levels of indirect blocks below it. */
  readonly height: number;
  readonly firstFileBlock: number;
  /** Met in this block already: of the same block twice, a map would grow without growing on the disk. */
  readonly met: Set<number>;
  next: number;
}

/** The blocks that a run of numbers names, as runs; 0 is a hole. */
function* pointerRuns(
  walk: MapWalk,
  pointers: DataView,
  offset: number,
  count: number,
  fileBlock: number,
): Generator<Extent> {
  const pointer = (index: number): number => pointers.getUint32(index * BLOCK_NUMBER_BYTES, true);
  for (let index = 0; index < count;) {
    const first = pointer(index);
    let length = 1;
    if (first !== 0) {
      while (index + length < count && pointer(index + length) === first + length) length += 1;
      const place = { structure: 'a block map', offset: offset + index * BLOCK_NUMBER_BYTES };
      walk.mapped.addData(place, first, length, fileBlock + index);
      yield { fileBlock: fileBlock + index, fsBlock: first, blockCount: length, unwritten: false };
    }
    index += length;
  }
}

function isEmpty(pointers: DataView): boolean {
  for (let at = 0; at < pointers.byteLength; at += BLOCK_NUMBER_BYTES) {
    if (pointers.getUint32(at, true) !== 0) return false;
  }
  return true;
}

/** One walk through the trees of a map. */
class IndirectWalk {
  readonly #walk: MapWalk;
  readonly #numbersPerBlock: number;
  #emptyBlocks = 0;

  constructor(walk: MapWalk) {
    this.#walk = walk;
    this.#numbersPerBlock = walk.filesystem.superblock.blockBytes / BLOCK_NUMBER_BYTES;
  }

  /** File blocks below one number of a block of that height. */
  span(height: number): number {
    return this.#numbersPerBlock ** height;
  }

  /** @param ancestors the way from the inode, outermost first */
  async open(ancestors: readonly Level[], block: number, firstFileBlock: number, height: number, at: number) {
    const parent = ancestors.at(-1);
    const place = { structure: 'a block map', offset: at };
    this.#walk.mapped.addTreeBlock(place, block);
    const isAgain = parent?.met.has(block) === true || ancestors.some((level) => level.block === block);
    if (isAgain) {
      const found = `indirect block ${block} for the second time`;
      throw corrupt(place.structure, place.offset, found, 'a block that is met once');
    }
    parent?.met.add(block);
    this.#walk.onTreeBlock(block);
    const { read, superblock } = this.#walk.filesystem;
    const offset = block * superblock.blockBytes;
    const pointers = viewOf(new Uint8Array(await read(offset, superblock.blockBytes)));
    if (isEmpty(pointers)) this.#countEmpty(offset);
    const met = new Set<number>();
    return { pointers, offset, block, height, firstFileBlock, met, next: 0 } satisfies Level;
  }

  #countEmpty(offset: number): void {
    this.#emptyBlocks += 1;
    if (this.#emptyBlocks <= MAX_EMPTY_BLOCKS) return;
    const found = `more than ${MAX_EMPTY_BLOCKS} indirect blocks without a number`;
    throw corrupt('a block map', offset, found, 'indirect blocks that name blocks');
  }

  /** The runs below one number, in file order. @param limit the file block at which the file ends */
  async *below(
    root: Level,
    block: number,
    height: number,
    firstFileBlock: number,
    limit: number,
    at: number,
  ) {
    const path: Level[] = [root, await this.open([root], block, firstFileBlock, height, at)];
    for (let level = path.at(-1); level !== undefined && level !== root; level = path.at(-1)) {
      if (level.height === 0) {
        const count = Math.min(this.#numbersPerBlock, limit - level.firstFileBlock);
        yield* pointerRuns(this.#walk, level.pointers, level.offset, count, level.firstFileBlock);
        path.pop();
        continue;
      }
      const index = level.next;
      const first = level.firstFileBlock + index * this.span(level.height);
      if (index === this.#numbersPerBlock || first >= limit) {
        path.pop();
        continue;
      }
      level.next += 1;
      const child = level.pointers.getUint32(index * BLOCK_NUMBER_BYTES, true);
      const offset = level.offset + index * BLOCK_NUMBER_BYTES;
      if (child !== 0) path.push(await this.open(path, child, first, level.height - 1, offset));
    }
  }
}

/**
 * The runs of blocks of a file without extents, in file order: 12 direct blocks, and trees of one, two and three levels
 * (ext4 documentation, "Direct/Indirect Block Addressing"). A block number of 0 is a hole, at any level. What lies
 * behind `i_size` is not looked at, except of a folder: an index may lead there.
 *
 * In memory is one block of each level. It ends: no block names the same block twice or one that led to it, and no file
 * has more blocks than the file system. Reports `file-over-superblock`.
 *
 * @throws PatchVdiError `image` for a damaged map
 */
export async function* blockMapExtents(walk: MapWalk, raw: RawInode): AsyncGenerator<Extent> {
  const { superblock } = walk.filesystem;
  const isFolder = fileTypeOf(raw) === 'directory';
  const limit = isFolder
    ? MAX_FILE_BLOCKS
    : Math.ceil(fileSizeBytes(superblock, raw) / superblock.blockBytes);
  const pointers = viewOf(raw.i_block);
  yield* pointerRuns(walk, pointers, walk.rootOffset, Math.min(DIRECT_BLOCK_COUNT, limit), 0);
  const trees = new IndirectWalk(walk);
  const root: Level = {
    pointers,
    offset: walk.rootOffset,
    block: 0,
    height: INDIRECT_LEVELS,
    firstFileBlock: 0,
    met: new Set(),
    next: 0,
  };
  let fileBlock = DIRECT_BLOCK_COUNT;
  for (let height = 0; height < INDIRECT_LEVELS && fileBlock < limit; height += 1) {
    const at = (DIRECT_BLOCK_COUNT + height) * BLOCK_NUMBER_BYTES;
    const block = pointers.getUint32(at, true);
    if (block !== 0) yield* trees.below(root, block, height, fileBlock, limit, walk.rootOffset + at);
    fileBlock += trees.span(height + 1);
  }
}
