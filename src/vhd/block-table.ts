import type { ByteReader } from '../bytes.js';
import { SECTOR_BYTES, roundUp } from '../units.js';
import type { FoundHeader } from './read-header.js';
import { BAT_UNUSED, dynamicDiskHeader } from './layout.js';
import { vhdError, type Report } from './words.js';

/** 32 MiB of BAT: 16 TiB in blocks of 2 MiB, and more than 2040 GiB in blocks of 512 KiB. */
const MAX_TABLE_ENTRIES = 2 ** 23;
const ENTRY_BYTES = Uint32Array.BYTES_PER_ELEMENT;

/** The BAT as far as the disk needs it and the file has it. */
export class BlockTable {
  readonly blockBytes: number;
  /** Bytes of a bitmap: a bit for each sector of a block, in whole sectors. */
  readonly bitmapBytes: number;
  /** Sectors that a block takes in the file, with its bitmap. */
  readonly strideSectors: number;
  /** Where the first entry stands in the file. */
  readonly tableOffset: number;
  /** Sectors of the file, by block; native byte order. Blocks beyond are unknown: reading them is an error. */
  readonly entries: Uint32Array;
  /** Entries in use, damaged ones among them. */
  readonly allocatedCount: number;

  constructor(blockBytes: number, tableOffset: number, entries: Uint32Array) {
    this.blockBytes = blockBytes;
    this.bitmapBytes = roundUp(Math.ceil(blockBytes / SECTOR_BYTES / 8), SECTOR_BYTES);
    this.strideSectors = (this.bitmapBytes + blockBytes) / SECTOR_BYTES;
    this.tableOffset = tableOffset;
    this.entries = entries;
    let unused = 0;
    for (const entry of entries) if (entry === BAT_UNUSED) unused += 1;
    this.allocatedCount = entries.length - unused;
  }

  isUnused(block: number): boolean {
    return this.entries[block] === BAT_UNUSED;
  }

  /** Where the entry of a block stands in the file. */
  entryOffset(block: number): number {
    return this.tableOffset + block * ENTRY_BYTES;
  }

  /**
   * Where the bitmap of a block in use starts in the file, in bytes; undefined when its entry is not in the file, or
   * is 0, which no block can have: the footer copy stands there.
   */
  bitmapOffset(block: number): number | undefined {
    const sector = this.entries[block];
    return sector === undefined || sector === 0 ? undefined : sector * SECTOR_BYTES;
  }
}

/** Bytes of the file that the whole BAT takes, padded to a sector: what stands behind it is found with that. */
export function paddedTableBytes(maxTableEntries: number): number {
  return roundUp(maxTableEntries * ENTRY_BYTES, SECTOR_BYTES);
}

function reportLength(header: FoundHeader, needed: number, report: Report): void {
  const maxTableEntries = header.raw.max_table_entries;
  // vhd-lib (Xen Orchestra) always writes one more, which hurts nobody. A disk of no size has a finding of its own.
  const isUsual = maxTableEntries === needed || maxTableEntries === needed + 1;
  if (isUsual || needed === 0) return;
  report({
    code: 'vhd-max-table-entries',
    severity: maxTableEntries < needed ? 'error' : 'warning',
    structure: 'dynamic disk header',
    offset: header.offset + dynamicDiskHeader.rows.max_table_entries[0],
    found: `max_table_entries ${maxTableEntries}`,
    expected: `${needed} for a disk of this size`,
  });
}

/**
 * Reads the entries that the disk needs, of those that are there.
 *
 * @returns the table; `isCutOff`: the file ends in it; `isShort`: entries are missing, for whichever reason. Both are
 *   reported
 * @throws PatchVdiError `image` when the disk needs more entries than there can be
 */
export async function readBlockTable(
  reader: ByteReader,
  header: FoundHeader,
  diskBytes: number,
  report: Report,
): Promise<{ table: BlockTable; isCutOff: boolean; isShort: boolean }> {
  const { block_size: blockBytes, max_table_entries: maxTableEntries } = header.raw;
  const needed = Math.ceil(diskBytes / blockBytes);
  if (needed > MAX_TABLE_ENTRIES) {
    throw vhdError(reader.name, 'block allocation table', {
      offset: header.tableOffset,
      found: `a disk of ${diskBytes} bytes in blocks of ${blockBytes}, which needs ${needed} entries`,
      expected: `at most ${MAX_TABLE_ENTRIES} entries`,
    });
  }
  reportLength(header, needed, report);
  const wanted = Math.min(needed, maxTableEntries);
  const room = (reader.sizeBytes ?? Number.MAX_SAFE_INTEGER) - header.tableOffset;
  const present = Math.min(wanted, Math.floor(room / ENTRY_BYTES));
  const entries = new Uint32Array(present);
  const bytes = Buffer.from(entries.buffer);
  if (present > 0) await reader.readInto(bytes, header.tableOffset);
  toNativeOrder(bytes);
  if (present < wanted) {
    report({
      code: 'vhd-bat-truncated',
      severity: 'error',
      structure: 'block allocation table',
      offset: header.tableOffset + present * ENTRY_BYTES,
      found: `the end of the file after ${present} of ${wanted} entries`,
      expected: `${wanted * ENTRY_BYTES} bytes from ${header.tableOffset}`,
    });
  }
  return {
    table: new BlockTable(blockBytes, header.tableOffset, entries),
    isCutOff: present < wanted,
    isShort: present < needed,
  };
}

function toNativeOrder(bytes: Buffer): void {
  const isLittleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;
  if (isLittleEndian) bytes.swap32();
}
