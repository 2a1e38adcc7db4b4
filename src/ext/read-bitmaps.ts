import { KIB } from '../units.js';
import { setBits } from './bitmap.js';
import type { ExtFilesystem } from './filesystem.js';
import { groupHead } from './group-head.js';
import { clusterCount, inodeTableBlocks, type BlockGroup } from './block-group.js';
import type { Superblock } from './superblock.js';

/** With `flex_bg` the bitmaps of many groups lie side by side, and are read together. */
const READ_AHEAD_BYTES = 256 * KIB;
/** Bitmaps are read together unless they fill less than this part of their blocks. */
const MAX_GAP_FACTOR = 64;

export type BitmapKind = 'block' | 'inode';

function bitmapBlock(kind: BitmapKind, group: BlockGroup): number {
  return kind === 'block' ? group.blockBitmapBlock : group.inodeBitmapBlock;
}

/** Whether the bitmap on disk means anything. */
export function isInitialised(kind: BitmapKind, group: BlockGroup): boolean {
  return kind === 'block' ? !group.blockBitmapUninitialised : !group.inodeBitmapUninitialised;
}

/** Reads the initialised bitmaps of one kind, for groups in ascending order. */
export class BitmapReader {
  readonly #filesystem: ExtFilesystem;
  readonly #kind: BitmapKind;
  #buffer = new Uint8Array(0);
  #firstBlock = 0;

  constructor(filesystem: ExtFilesystem, kind: BitmapKind) {
    this.#filesystem = filesystem;
    this.#kind = kind;
  }

  /** The bytes with the bits of a whole group, valid until the next call. @throws PatchVdiError `image` */
  async read(group: BlockGroup): Promise<Uint8Array> {
    const { blockBytes } = this.#filesystem.superblock;
    const bytes = this.#bitmapBytes;
    const block = bitmapBlock(this.#kind, group);
    const at = (block - this.#firstBlock) * blockBytes;
    if (at >= 0 && at < this.#buffer.length) return this.#buffer.subarray(at, at + bytes);
    const count = this.#runFrom(group);
    // What stands behind the bits is not read: a hostile disk may have a million groups of 8 blocks of 64 KiB.
    const length = (count - 1) * blockBytes + bytes;
    this.#buffer = new Uint8Array(await this.#filesystem.read(block * blockBytes, length));
    this.#firstBlock = block;
    return this.#buffer.subarray(0, bytes);
  }

  get #bitmapBytes(): number {
    const { blocksPerGroup, blocksPerCluster, inodesPerGroup } = this.#filesystem.superblock;
    return Math.ceil((this.#kind === 'block' ? blocksPerGroup / blocksPerCluster : inodesPerGroup) / 8);
  }

  /** How many bitmaps lie side by side from this group's on. */
  #runFrom(group: BlockGroup): number {
    const { superblock, groups } = this.#filesystem;
    // Where bitmaps are next to nothing, reading what is between them costs more than another read.
    if (this.#bitmapBytes * MAX_GAP_FACTOR < superblock.blockBytes) return 1;
    const most = Math.max(1, Math.floor(READ_AHEAD_BYTES / superblock.blockBytes));
    const block = bitmapBlock(this.#kind, group);
    let count = 1;
    while (count < most) {
      const next = groups.at(group.index + count);
      const follows =
        next !== undefined &&
        isInitialised(this.#kind, next) &&
        bitmapBlock(this.#kind, next) === block + count;
      if (!follows) break;
      count += 1;
    }
    return count;
  }
}

/**
 * The block bitmap that an uninitialised one stands for: only the group's own metadata is in use, as far as it lies
 * in the group (fs/ext4/balloc.c, ext4_init_block_bitmap).
 *
 * @returns a bit for each cluster of the group
 */
export function uninitialisedBlockBitmap(superblock: Superblock, group: BlockGroup): Uint8Array {
  const { blocksPerCluster } = superblock;
  const bitmap = new Uint8Array(Math.ceil(clusterCount(superblock, group) / 8));
  const end = group.firstBlock + group.blockCount;
  const use = (firstBlock: number, blockCount: number): void => {
    const from = Math.max(firstBlock, group.firstBlock) - group.firstBlock;
    const to = Math.min(firstBlock + blockCount, end) - group.firstBlock;
    if (to <= from) return;
    const cluster = Math.floor(from / blocksPerCluster);
    setBits(bitmap, cluster, Math.ceil(to / blocksPerCluster) - cluster);
  };
  const head = groupHead(superblock, group.index);
  const headEnd = head.reserved.firstBlock + head.reserved.blockCount;
  use(head.superblock.firstBlock, headEnd - head.superblock.firstBlock);
  use(group.blockBitmapBlock, 1);
  use(group.inodeBitmapBlock, 1);
  use(group.inodeTableBlock, inodeTableBlocks(superblock));
  return bitmap;
}
