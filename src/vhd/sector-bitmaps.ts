import type { ByteReader } from '../bytes.js';
import { MIB, SECTOR_BYTES } from '../units.js';

/** Bitmaps kept at most, and their bytes at most: 64 of the usual 512 bytes. */
const MAX_BITMAPS = 64;
const MAX_BITMAP_BYTES = 4 * MIB;

/** Sectors of one block, counted from its first. */
export interface SectorRun {
  /** Whether they are in the file. */
  readonly isSet: boolean;
  readonly first: number;
  /** The sector behind the last. */
  readonly end: number;
}

/** Which sectors of a block are in the file; the first is the highest bit of the first byte. */
export class SectorBitmap {
  readonly #bytes: Uint8Array;
  /** Every sector is in the file. */
  readonly isFull: boolean;

  /** Keeps `bytes`. */
  constructor(bytes: Uint8Array, sectorCount: number) {
    this.#bytes = bytes;
    this.isFull = this.#runEnd(0, sectorCount, 0xff) === sectorCount;
  }

  /** The sector, at most `end`, behind the run from `first` whose bytes are `whole` (0 or 255) where they are whole. */
  #runEnd(first: number, end: number, whole: number): number {
    const bytes = this.#bytes;
    let sector = first;
    while (sector < end) {
      if (sector % 8 === 0 && bytes[sector >>> 3] === whole) sector += 8;
      else if ((((bytes[sector >>> 3] ?? 0) & (0x80 >>> (sector % 8))) !== 0) === (whole !== 0)) sector += 1;
      else break;
    }
    return Math.min(sector, end);
  }

  /** The run of equal sectors that starts with `first`, cut at `end`. */
  runFrom(first: number, end: number): SectorRun {
    if (this.isFull) return { isSet: true, first, end };
    const isSet = ((this.#bytes[first >>> 3] ?? 0) & (0x80 >>> (first % 8))) !== 0;
    return { isSet, first, end: this.#runEnd(first, end, isSet ? 0xff : 0) };
  }
}

/** The bitmaps of the blocks that were read last, by their place in the file. */
export class BitmapCache {
  readonly #reader: ByteReader;
  readonly #bitmapBytes: number;
  readonly #sectorCount: number;
  readonly #capacity: number;
  /** In the order of their last use. */
  readonly #bitmaps = new Map<number, SectorBitmap>();

  constructor(reader: ByteReader, bitmapBytes: number, blockBytes: number) {
    this.#reader = reader;
    this.#bitmapBytes = bitmapBytes;
    this.#sectorCount = blockBytes / SECTOR_BYTES;
    this.#capacity = Math.max(2, Math.min(MAX_BITMAPS, Math.floor(MAX_BITMAP_BYTES / bitmapBytes)));
  }

  has(bitmapOffset: number): boolean {
    return this.#bitmaps.has(bitmapOffset);
  }

  /** @throws PatchVdiError `image` as the reader does */
  async get(bitmapOffset: number): Promise<SectorBitmap> {
    const kept = this.#bitmaps.get(bitmapOffset);
    if (kept === undefined) {
      const bytes = new Uint8Array(this.#bitmapBytes);
      await this.#reader.readInto(bytes, bitmapOffset);
      return this.#keep(bitmapOffset, new SectorBitmap(bytes, this.#sectorCount));
    }
    return this.#keep(bitmapOffset, kept);
  }

  #keep(bitmapOffset: number, bitmap: SectorBitmap): SectorBitmap {
    this.#bitmaps.delete(bitmapOffset);
    this.#bitmaps.set(bitmapOffset, bitmap);
    for (const oldest of this.#bitmaps.keys()) {
      if (this.#bitmaps.size <= this.#capacity) break;
      this.#bitmaps.delete(oldest);
    }
    return bitmap;
  }
}
