import type { ByteReader } from '../bytes.js';
import { SECTOR_BYTES } from '../units.js';
import type { BlockTable } from './block-table.js';
import type { HiddenData } from './hidden-data.js';
import { BitmapCache, type SectorBitmap } from './sector-bitmaps.js';
import { vhdError } from './words.js';

/** Fills all of `target` with what the sectors are that the disk itself does not have. */
export type ReadBelow = (target: Uint8Array, offsetBytes: number) => Promise<void>;

/** A part of a read that lies in one block. Offsets are in bytes. */
interface Piece {
  readonly target: Uint8Array;
  readonly block: number;
  readonly inBlock: number;
}

/** Reads blocks; bounds were checked before. */
export class BlockReader {
  readonly #reader: ByteReader;
  readonly #table: BlockTable;
  readonly #below: ReadBelow;
  readonly #bitmaps: BitmapCache;
  readonly #abortSignal: AbortSignal | undefined;

  readonly #hidden: HiddenData;

  constructor(
    reader: ByteReader,
    table: BlockTable,
    below: ReadBelow,
    hidden: HiddenData,
    abortSignal: AbortSignal | undefined,
  ) {
    this.#hidden = hidden;
    this.#reader = reader;
    this.#table = table;
    this.#below = below;
    this.#bitmaps = new BitmapCache(reader, table.bitmapBytes, table.blockBytes);
    this.#abortSignal = abortSignal;
  }

  async readInto(target: Uint8Array, offsetBytes: number): Promise<void> {
    const { blockBytes } = this.#table;
    for (let done = 0; done < target.length;) {
      this.#abortSignal?.throwIfAborted();
      const block = Math.floor((offsetBytes + done) / blockBytes);
      const inBlock = offsetBytes + done - block * blockBytes;
      if (this.#table.isUnused(block)) {
        const end = this.#unusedEnd(block, offsetBytes + target.length);
        const length = Math.min(target.length - done, end - offsetBytes - done);
        await this.#below(target.subarray(done, done + length), offsetBytes + done);
        done += length;
      } else {
        const length = Math.min(target.length - done, blockBytes - inBlock);
        await this.#readBlock({ target: target.subarray(done, done + length), block, inBlock });
        done += length;
      }
    }
  }

  /** The place on the disk behind a run of unused blocks, at most `limit` rounded up to a block. */
  #unusedEnd(block: number, limit: number): number {
    const { blockBytes } = this.#table;
    let end = block + 1;
    while (end * blockBytes < limit && this.#table.isUnused(end)) end += 1;
    return end * blockBytes;
  }

  async #readBlock(piece: Piece): Promise<void> {
    const table = this.#table;
    const bitmapOffset = table.bitmapOffset(piece.block);
    if (bitmapOffset === undefined) {
      throw vhdError(this.#reader.name, 'block allocation table', {
        offset: table.entryOffset(piece.block),
        found: `no place of block ${piece.block}`,
        expected: 'an entry that says where it is, or that it is nowhere',
      });
    }
    const bitmap = await this.#bitmaps.get(bitmapOffset);
    const ahead = this.#bitmapAhead(piece.block);
    if (ahead === undefined) {
      await this.#readRuns(piece, bitmap, bitmapOffset + table.bitmapBytes);
      return;
    }
    const [data] = await Promise.allSettled([
      this.#readRuns(piece, bitmap, bitmapOffset + table.bitmapBytes),
      // If it cannot be read, whoever needs it will be told.
      this.#bitmaps.get(ahead),
    ]);
    if (data.status === 'rejected') throw data.reason;
  }

  /**
   * Where the next block's bitmap is, when the blocks are read one after the other: it is fetched while this one's data
   * is on its way. A stream has no two reads at a time.
   */
  #bitmapAhead(block: number): number | undefined {
    const table = this.#table;
    if (this.#reader.forwardOnly || table.isUnused(block + 1)) return undefined;
    const before = block === 0 || table.isUnused(block - 1) ? undefined : table.bitmapOffset(block - 1);
    if (before === undefined || !this.#bitmaps.has(before)) return undefined;
    const ahead = table.bitmapOffset(block + 1);
    return ahead === undefined || this.#bitmaps.has(ahead) ? undefined : ahead;
  }

  /** One read of the file for each run of sectors that it has, straight into the target. */
  async #readRuns(
    { target, block, inBlock }: Piece,
    bitmap: SectorBitmap,
    dataOffset: number,
  ): Promise<void> {
    const end = inBlock + target.length;
    const endSector = Math.ceil(end / SECTOR_BYTES);
    for (let at = inBlock; at < end;) {
      const run = bitmap.runFrom(Math.floor(at / SECTOR_BYTES), endSector);
      const runEnd = Math.min(end, run.end * SECTOR_BYTES);
      const part = target.subarray(at - inBlock, runEnd - inBlock);
      if (run.isSet) await this.#reader.readInto(part, dataOffset + at);
      else {
        await this.#hidden.look(block, dataOffset + at, part.length);
        await this.#below(part, block * this.#table.blockBytes + at);
      }
      at = runEnd;
    }
  }
}
