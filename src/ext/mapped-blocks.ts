import { corrupt, type ExtFilesystem } from './filesystem.js';
import { SUPERBLOCK_OFFSET_BYTES } from './layout.js';
import type { Superblock } from './superblock.js';

/** The block that holds the superblock; no file has it. */
function superblockBlock({ blockBytes }: Superblock): number {
  return Math.floor(SUPERBLOCK_OFFSET_BYTES / blockBytes);
}

/** Where blocks of a file are named: for messages. */
export interface MapPlace {
  /** `an extent`, `a block map` */
  readonly structure: string;
  /** Bytes on the disk. */
  readonly offset: number;
}

/**
 * Counts the blocks of one file while its map is walked. No file has more blocks than the file system: so whatever a map
 * says, walking it ends, and copying the file, too.
 */
export class MappedBlocks {
  readonly #filesystem: ExtFilesystem;
  #dataBlocks = 0;
  #treeBlocks = 0;
  #overSuperblock = false;

  constructor(filesystem: ExtFilesystem) {
    this.#filesystem = filesystem;
  }

  /** Of data and of the map itself. */
  get total(): number {
    return this.#dataBlocks + this.#treeBlocks;
  }

  /**
   * Reports `file-over-superblock`, once.
   *
   * @throws PatchVdiError `image` for blocks beyond the file system
   */
  addData(place: MapPlace, fsBlock: number, blockCount: number, fileBlock: number): void {
    const { superblock, report } = this.#filesystem;
    const found = `${blockCount} blocks at ${fsBlock} for file block ${fileBlock}`;
    if (blockCount < 1 || fsBlock + blockCount > superblock.blockCount) {
      throw corrupt(place.structure, place.offset, found, `disk blocks below ${superblock.blockCount}`);
    }
    const firstAllowed = superblockBlock(superblock) + 1;
    if (fsBlock < firstAllowed && !this.#overSuperblock) {
      this.#overSuperblock = true;
      const expected = `disk blocks from ${firstAllowed}: the superblock is no part of a file`;
      const { structure, offset } = place;
      report({
        code: 'file-over-superblock',
        severity: 'error',
        structure,
        space: 'disk',
        offset,
        found,
        expected,
      });
    }
    this.#dataBlocks += blockCount;
    this.#requireBound(place);
  }

  /** @throws PatchVdiError `image` for a block that cannot be one of a map */
  addTreeBlock(place: MapPlace, fsBlock: number): void {
    const { superblock } = this.#filesystem;
    const first = superblockBlock(superblock) + 1;
    if (fsBlock < first || fsBlock >= superblock.blockCount) {
      const expected = `a block from ${first} to ${superblock.blockCount - 1}`;
      throw corrupt(place.structure, place.offset, `tree block ${fsBlock}`, expected);
    }
    this.#treeBlocks += 1;
    this.#requireBound(place);
  }

  #requireBound({ structure, offset }: MapPlace): void {
    const { blockCount } = this.#filesystem.superblock;
    if (this.total <= blockCount) return;
    const expected = 'no more blocks than the file system has';
    throw corrupt(structure, offset, `a file of more than ${blockCount} blocks`, expected);
  }
}
