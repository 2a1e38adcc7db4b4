import type { ByteReader } from '../bytes.js';
import { runsOf } from '../io/data-runs.js';
import { SECTOR_BYTES, KIB, roundUp } from '../units.js';
import { VHD_BLOCK_BYTES, dynamicDiskHeader, hardDiskFooter } from '../vhd/layout.js';
import {
  BITMAP_BYTES,
  BlockAllocationTable,
  encodeBitmap,
  encodeDynamicFooter,
  encodeDynamicHeader,
  tableBytes,
  type VhdIdentity,
} from '../vhd/structures.js';
import { dataRuns } from './disk-runs.js';
import type { TransferOptions } from './storage.js';

/** As our builds lay it out: the data of a block starts on a page of the file. */
const DATA_ALIGNMENT_BYTES = 4 * KIB;
const BLOCK_STRIDE_BYTES = DATA_ALIGNMENT_BYTES + VHD_BLOCK_BYTES;
const TABLE_OFFSET_BYTES = hardDiskFooter.sizeBytes + dynamicDiskHeader.sizeBytes;

/** A raw disk as a dynamic VHD: its length, and its bytes. */
export interface VhdStream {
  readonly lengthBytes: number;
  /** Once. The buffers are the receiver's. */
  bytes(): AsyncGenerator<Uint8Array>;
}

/**
 * Reads the disk once to see which blocks hold anything, because the table of blocks and the exact length come before
 * the first of them; the stream reads those blocks again. The disk must not change in between.
 */
export async function openVhdStream(
  disk: ByteReader,
  virtualSize: number,
  identity: VhdIdentity,
  options: TransferOptions = {},
): Promise<VhdStream> {
  const used: number[] = [];
  for await (const { offset, bytes } of dataRuns(disk, virtualSize, options.signal)) {
    // A read of 1 MiB never crosses the end of a block of 2 MiB.
    const block = Math.floor(offset / VHD_BLOCK_BYTES);
    if (used.at(-1) !== block && bytes.length > 0) used.push(block);
  }
  const blocksOffset = roundUp(TABLE_OFFSET_BYTES + tableBytes(virtualSize), DATA_ALIGNMENT_BYTES);
  const footer = encodeDynamicFooter(virtualSize, identity);
  const lengthBytes = blocksOffset + used.length * BLOCK_STRIDE_BYTES + footer.length;
  return { lengthBytes, bytes: () => vhdBytes({ disk, virtualSize, used, blocksOffset, footer, options }) };
}

interface Parts {
  readonly disk: ByteReader;
  readonly virtualSize: number;
  readonly used: readonly number[];
  readonly blocksOffset: number;
  readonly footer: Uint8Array;
  readonly options: TransferOptions;
}

async function* vhdBytes(parts: Parts): AsyncGenerator<Uint8Array> {
  const { disk, virtualSize, used, blocksOffset, footer, options } = parts;
  const table = new BlockAllocationTable(virtualSize);
  const bitmapAt = DATA_ALIGNMENT_BYTES - BITMAP_BYTES;
  for (const [index, block] of used.entries()) {
    table.place(block, (blocksOffset + index * BLOCK_STRIDE_BYTES + bitmapAt) / SECTOR_BYTES);
  }
  const head = Buffer.concat([footer, encodeDynamicHeader(virtualSize, TABLE_OFFSET_BYTES), table.bytes]);
  yield head;
  yield new Uint8Array(blocksOffset - head.length);
  for (const [index, block] of used.entries()) {
    options.signal?.throwIfAborted();
    const piece = new Uint8Array(BLOCK_STRIDE_BYTES);
    const start = block * VHD_BLOCK_BYTES;
    const length = Math.min(VHD_BLOCK_BYTES, virtualSize - start);
    const data = piece.subarray(DATA_ALIGNMENT_BYTES, DATA_ALIGNMENT_BYTES + length);
    await disk.readInto(data, start);
    piece.set(encodeBitmap(sectorsOf(data)), bitmapAt);
    yield piece;
    options.onProgress?.((index + 1) / used.length);
  }
  yield footer;
}

/** Where a block holds anything. */
function* sectorsOf(data: Uint8Array): Generator<{ offset: number; length: number }> {
  const half = VHD_BLOCK_BYTES / 2;
  for (let at = 0; at < data.length; at += half) {
    for (const { offset, bytes } of runsOf(data.subarray(at, at + half), at)) {
      yield { offset, length: bytes.length };
    }
  }
}
