import { readBytesOf, type ByteReader } from '../bytes.js';
import { KIB } from '../units.js';
import type { BlockTable } from './block-table.js';
import type { FileRange } from './table-checks.js';
import type { Report } from './words.js';

const READ_BYTES = 64 * KIB;
const BATMAP_MASK = 0x80;

/** What a layer has that programs read in two ways. */
export interface HiddenDataParts {
  readonly reader: ByteReader;
  readonly table: BlockTable;
  /** Sectors that the file does not have are zeros, not those of a parent. */
  readonly isDynamic: boolean;
  readonly batmap: FileRange | undefined;
  readonly report: Report;
}

/**
 * Sectors that are read and whose bits are 0. qemu-img and vhd-lib do not look at the bitmaps of a dynamic disk and
 * return what stands in the file; blktap does not look at that of a block which its batmap calls full. So the same file
 * is another disk to them, unless what stands there is zeros. Each is reported once: `vhd-bitmap-hides-data`,
 * `vhd-batmap-disagrees`.
 */
export class HiddenData {
  readonly #parts: HiddenDataParts;
  #dataTold = false;
  #batmapTold = false;
  #lastBlock = -1;

  constructor(parts: HiddenDataParts) {
    this.#parts = parts;
    // What a stream passes over is gone.
    this.#dataTold = !parts.isDynamic || parts.reader.forwardOnly;
    this.#batmapTold = parts.batmap === undefined || parts.reader.forwardOnly;
  }

  /** @param fileOffset of sectors whose bits are 0, in bytes */
  async look(block: number, fileOffset: number, length: number): Promise<void> {
    if (!this.#batmapTold && block !== this.#lastBlock) await this.#lookAtBatmap(block);
    if (!this.#dataTold) await this.#lookAtData(block, fileOffset, length);
  }

  async #lookAtBatmap(block: number): Promise<void> {
    this.#lastBlock = block;
    const { batmap, reader, report, table } = this.#parts;
    const byte = Math.floor(block / 8);
    if (batmap === undefined || byte >= batmap.length) return;
    const offset = batmap.offset + byte;
    if (offset >= (reader.sizeBytes ?? 0)) return;
    const [bits = 0] = await readBytesOf(reader)(offset, 1);
    if ((bits & (BATMAP_MASK >> (block % 8))) === 0 || this.#batmapTold) return;
    this.#batmapTold = true;
    report({
      code: 'vhd-batmap-disagrees',
      severity: 'error',
      structure: 'batmap',
      offset,
      found: `block ${block} is full`,
      expected: `what its bitmap at ${table.bitmapOffset(block) ?? 0} says: not all of it is there`,
    });
  }

  async #lookAtData(block: number, fileOffset: number, length: number): Promise<void> {
    const { reader, report } = this.#parts;
    const end = Math.min(fileOffset + length, reader.sizeBytes ?? 0);
    for (let at = fileOffset; at < end; at += READ_BYTES) {
      const bytes = await readBytesOf(reader)(at, Math.min(READ_BYTES, end - at));
      const index = bytes.findIndex((byte) => byte !== 0);
      if (index === -1 || this.#dataTold) continue;
      this.#dataTold = true;
      report({
        code: 'vhd-bitmap-hides-data',
        severity: 'error',
        structure: `block ${block}`,
        offset: at + index,
        found: 'data in a sector whose bit is 0, which reads as zeros here',
        expected: 'zeros, or a bit of 1: qemu-img and vhd-lib read the data',
      });
      return;
    }
  }
}
