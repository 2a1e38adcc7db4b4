import { blockUse } from '../ext/block-use.js';
import { metadataRuns } from '../ext/metadata-runs.js';
import type { ImageFile } from './image-file.js';
import type { ImageFilesystem } from './image-filesystem.js';
import type { Image } from './image.js';

/** What a piece of the disk is used for. */
export const MAP_KINDS = ['superblock', 'metadata', 'payload', 'other', 'free', 'outside'] as const;
/** What a part of the disk is used for. */
export type MapKind = (typeof MAP_KINDS)[number];

/** One cell of the picture. */
export interface MapCell {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  /** What fills most of it; a superblock always shows. */
  readonly kind: MapKind;
  /** Bytes of the cell by use. */
  readonly bytes: Readonly<Record<MapKind, number>>;
  /** Bytes of the cell that have a place in the image file. */
  readonly allocatedBytes: number;
}

/** The whole disk in cells of one size, and the sums. */
export interface DiskMap {
  readonly diskBytes: number;
  readonly cellBytes: number;
  readonly cells: readonly MapCell[];
  readonly totals: Readonly<Record<MapKind, number>>;
  /** Bytes of the disk that have a place in the image file; all of a raw or fixed one. */
  readonly allocatedBytes: number;
}

/** What a file has beyond so many extents shows as other use: a hostile map may name blocks for hours. */
const MAX_EXTENTS = 1_000_000;

/** Sums bytes by kind and cell. Memory is that of the cells, whatever the disk. */
class CellSums {
  readonly #sums: Readonly<Record<MapKind | 'used' | 'allocated', Float64Array>>;
  readonly #cellBytes: number;
  readonly #diskBytes: number;

  constructor(diskBytes: number, cellBytes: number) {
    const count = Math.ceil(diskBytes / cellBytes);
    const sums = (): Float64Array => new Float64Array(count);
    this.#diskBytes = diskBytes;
    this.#cellBytes = cellBytes;
    this.#sums = {
      superblock: sums(),
      metadata: sums(),
      payload: sums(),
      other: sums(),
      free: sums(),
      outside: sums(),
      used: sums(),
      allocated: sums(),
    };
  }

  add(kind: MapKind | 'used' | 'allocated', offset: number, length: number): void {
    const sums = this.#sums[kind];
    const end = Math.min(offset + length, this.#diskBytes);
    for (let at = Math.max(0, offset); at < end;) {
      const cell = Math.floor(at / this.#cellBytes);
      const stop = Math.min(end, (cell + 1) * this.#cellBytes);
      sums[cell] = (sums[cell] ?? 0) + stop - at;
      at = stop;
    }
  }

  /** What the bitmaps call used and nobody has claimed so far is other files: the journal, folders, what else is there. */
  cells(): MapCell[] {
    const cells: MapCell[] = [];
    const value = (kind: MapKind | 'used' | 'allocated', index: number): number =>
      this.#sums[kind][index] ?? 0;
    for (let index = 0; index < this.#sums.free.length; index += 1) {
      const offsetBytes = index * this.#cellBytes;
      const lengthBytes = Math.min(this.#cellBytes, this.#diskBytes - offsetBytes);
      const superblock = value('superblock', index);
      const metadata = value('metadata', index);
      const payload = value('payload', index);
      const outside = value('outside', index);
      const other = Math.max(0, value('used', index) - superblock - metadata - payload);
      const free = Math.max(0, lengthBytes - outside - superblock - metadata - payload - other);
      const bytes = { superblock, metadata, payload, other, free, outside };
      cells.push({
        offsetBytes,
        lengthBytes,
        kind: kindOf(bytes),
        bytes,
        allocatedBytes: value('allocated', index),
      });
    }
    return cells;
  }
}

/** What one cell shows: a superblock if there is one, else whatever fills most of what is not free. */
function kindOf(bytes: Readonly<Record<MapKind, number>>): MapKind {
  if (bytes.superblock > 0) return 'superblock';
  let best: MapKind = 'free';
  for (const kind of ['metadata', 'payload', 'other', 'outside'] as const) {
    if (bytes[kind] > 0 && (best === 'free' || bytes[kind] > bytes[best])) best = kind;
  }
  return best;
}

/** Cells of a size that is a power of two and at least a block, so that their borders mean something. */
function cellSize(diskBytes: number, cellCount: number, blockBytes: number): number {
  let size = blockBytes;
  while (diskBytes / size > cellCount) size *= 2;
  return size;
}

/**
 * What the disk is used for, from end to end. Reads all block bitmaps and the map of the file, nothing else.
 *
 * @param cellCount at most so many cells
 * @param file the payload; undefined when there is none that can be read
 */
export async function mapDisk(
  image: Image,
  filesystem: ImageFilesystem,
  file: ImageFile | undefined,
  cellCount: number,
): Promise<DiskMap> {
  const { blockBytes, blockCount } = filesystem.superblock;
  const filesystemBytes = blockCount * blockBytes;
  const diskBytes = image.virtualSize ?? image.offsetBytes + filesystemBytes;
  const cellBytes = cellSize(diskBytes, cellCount, blockBytes);
  const sums = new CellSums(diskBytes, cellBytes);
  const addBlocks = (kind: MapKind | 'used', firstBlock: number, count: number): void =>
    sums.add(kind, image.offsetBytes + firstBlock * blockBytes, count * blockBytes);

  sums.add('outside', 0, image.offsetBytes);
  sums.add('outside', image.offsetBytes + filesystemBytes, diskBytes);
  for (const { name, firstBlock, blockCount: count } of metadataRuns(filesystem.ext)) {
    addBlocks(name.startsWith('superblock') ? 'superblock' : 'metadata', firstBlock, count);
  }
  for await (const run of blockUse(filesystem.ext)) {
    if (run.used) addBlocks('used', run.firstBlock, run.blockCount);
  }
  if (file !== undefined && (file.facts.storage === 'extents' || file.facts.storage === 'block map')) {
    let extents = 0;
    for await (const { fsBlock, blockCount: count } of file.extents()) {
      addBlocks('payload', fsBlock, count);
      extents += 1;
      if (extents === MAX_EXTENTS) break;
    }
  }
  for (const { offset, length } of image.vhd?.allocatedRuns() ?? [{ offset: 0, length: diskBytes }]) {
    sums.add('allocated', offset, length);
  }

  const cells = sums.cells();
  const totals = { superblock: 0, metadata: 0, payload: 0, other: 0, free: 0, outside: 0 };
  let allocatedBytes = 0;
  for (const cell of cells) {
    for (const kind of MAP_KINDS) totals[kind] += cell.bytes[kind];
    allocatedBytes += cell.allocatedBytes;
  }
  return { diskBytes, cellBytes, cells, totals, allocatedBytes };
}
