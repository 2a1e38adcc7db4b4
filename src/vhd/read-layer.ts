import { readBytesOf, type ByteReader } from '../bytes.js';
import { SECTOR_BYTES } from '../units.js';
import { paddedTableBytes, readBlockTable, type BlockTable } from './block-table.js';
import { findFooter, type FoundFooter } from './find-footer.js';
import { checkFooterFields } from './footer-checks.js';
import { clampedNumber, creatorName, footerFacts, isTapdisk, unixSeconds } from './footer-facts.js';
import { BATMAP_COOKIE, batmapHeader, dynamicDiskHeader, hardDiskFooter } from './layout.js';
import { decodeParentName, locatorEntries, readLocator } from './parent-locators.js';
import { readHeader, type FoundHeader } from './read-header.js';
import { checkStructures, checkTable, type FileRange, type TableShape } from './table-checks.js';
import type { ParentLocator, VhdFooterFacts, VhdHeaderFacts, VhdKind } from './vhd-disk.js';
import { vhdError, type Report } from './words.js';

/** Blocks are aligned to as much, so less than that before the footer is nothing to speak of. */
const ALIGNMENT_BYTES = 4096;

/** blktap 0.1 wrote its bitmaps with the lowest bit first; libvhd refuses such files. */
const TAPDISK_LITTLE_ENDIAN = 0x00000001;
/** From this version of blktap on a file has a batmap, or libvhd refuses it (vhd_has_batmap). */
const TAPDISK_WITH_BATMAP = 0x00010002;

/** One file of a chain, read and checked, without its parent. */
export interface VhdLayer {
  readonly reader: ByteReader;
  readonly kind: VhdKind;
  readonly sizeBytes: number;
  readonly footer: VhdFooterFacts;
  /** Undefined for a fixed disk. */
  readonly blocks:
    | {
        readonly header: VhdHeaderFacts;
        /** Where the header was found in the file, which need not be where the footer has it. */
        readonly headerOffset: number;
        readonly table: BlockTable;
        /** Where the bits of the batmap stand in the file, one for each block; undefined without one. */
        readonly batmap: FileRange | undefined;
      }
    | undefined;
  readonly report: Report;
  /** Bytes of the file that belong to a fixed disk: those before the footer. */
  readonly dataBytes: number;
}

interface Batmap {
  readonly ranges: FileRange[];
  readonly isThere: boolean;
  /** The bits, one for each block: highest first, as libvhd tests them. */
  readonly bits: FileRange | undefined;
}

/** Recognises blktap's batmap behind the BAT; nothing is read where a block starts, or the file ends. */
async function findBatmap(reader: ByteReader, header: FoundHeader, table: BlockTable): Promise<Batmap> {
  const nothing = { ranges: [], isThere: false, bits: undefined };
  const offset = header.tableOffset + paddedTableBytes(header.raw.max_table_entries);
  const end = offset + batmapHeader.sizeBytes;
  // The header may claim a BAT of any length. And a stream whose length nobody told may end here.
  if (reader.sizeBytes === undefined ? table.allocatedCount === 0 : end > reader.sizeBytes) return nothing;
  if (table.entries.length < header.raw.max_table_entries && reader.forwardOnly) return nothing;
  if (offset % SECTOR_BYTES === 0 && table.entries.includes(offset / SECTOR_BYTES)) return nothing;
  const raw = batmapHeader.decode(await readBytesOf(reader)(offset, batmapHeader.sizeBytes));
  if (!Buffer.from(BATMAP_COOKIE).equals(raw.cookie)) return nothing;
  const bits = {
    name: 'batmap',
    offset: clampedNumber(raw.batmap_offset),
    length: raw.batmap_size * SECTOR_BYTES,
  };
  const ranges = [{ name: 'batmap header', offset, length: batmapHeader.sizeBytes }, bits];
  return { ranges, isThere: true, bits };
}

/** Reads the locators on either side of the BAT in the order of the file, for the sake of streams. */
async function readTableAndLocators(
  reader: ByteReader,
  header: FoundHeader,
  kind: VhdKind,
  diskBytes: number,
  report: Report,
): Promise<Awaited<ReturnType<typeof readBlockTable>> & { readonly locators: ParentLocator[] }> {
  const entries = kind === 'differencing' ? locatorEntries(header, reader.sizeBytes, report) : [];
  const ascending = [...entries].sort((a, b) => a.dataOffset - b.dataOffset);
  const byIndex = new Map<number, ParentLocator>();
  const readThose = async (inFront: boolean): Promise<void> => {
    for (const entry of ascending) {
      if (entry.dataOffset < header.tableOffset !== inFront) continue;
      byIndex.set(entry.index, await readLocator(reader, entry, report));
    }
  };
  await readThose(true);
  const read = await readBlockTable(reader, header, diskBytes, report);
  await readThose(false);
  const locators = entries.flatMap(({ index }) => byIndex.get(index) ?? []);
  return { ...read, locators };
}

function structuresOf(
  footer: FoundFooter,
  header: FoundHeader,
  table: BlockTable,
  locators: readonly ParentLocator[],
): FileRange[] {
  const ofEnd =
    footer.endOffset === undefined
      ? []
      : [{ name: 'footer', offset: footer.endOffset, length: hardDiskFooter.sizeBytes }];
  return [
    { name: 'footer copy', offset: 0, length: hardDiskFooter.sizeBytes },
    { name: 'dynamic disk header', offset: header.offset, length: dynamicDiskHeader.sizeBytes },
    { name: 'block allocation table', offset: table.tableOffset, length: table.entries.byteLength },
    ...locators.map(({ dataOffset, dataLength }, index) => ({
      name: `data of parent locator ${index + 1}`,
      offset: dataOffset,
      length: dataLength,
    })),
    ...ofEnd,
  ];
}

/** Bytes between the last block and the footer that nothing accounts for. */
function checkUnaccounted(
  footer: FoundFooter,
  structures: readonly FileRange[],
  shape: TableShape,
  report: Report,
): void {
  const { endOffset } = footer;
  if (endOffset === undefined || shape.isDamaged) return;
  const ends = structures
    .filter(({ offset }) => offset < endOffset)
    .map(({ offset, length }) => offset + length);
  const end = Math.max(shape.dataEnd, ...ends);
  if (endOffset - end < ALIGNMENT_BYTES) return;
  report({
    code: 'vhd-unaccounted-bytes',
    severity: 'warning',
    structure: 'file',
    offset: end,
    found: `${endOffset - end} bytes between the last block and the footer`,
    expected: 'the footer behind the last block',
  });
}

async function readBlocks(
  reader: ByteReader,
  footer: FoundFooter,
  diskBytes: number,
  report: Report,
): Promise<NonNullable<VhdLayer['blocks']>> {
  if (isTapdisk(footer.raw, TAPDISK_LITTLE_ENDIAN)) {
    throw vhdError(reader.name, footer.structure, {
      offset: footer.offset + hardDiskFooter.rows.creator_version[0],
      found: 'creator "tap" of version 0.1, whose bitmaps have the lowest bit first',
      expected: 'a later version',
    });
  }
  const header = await readHeader(reader, footer, report);
  const { table, isCutOff, isShort, locators } = await readTableAndLocators(
    reader,
    header,
    footer.kind,
    diskBytes,
    report,
  );
  const batmap = await findBatmap(reader, header, table);
  checkBatmap(footer, batmap, isCutOff, report);
  const structures = [...structuresOf(footer, header, table, locators), ...batmap.ranges];
  checkStructures(structures, report);
  const atEnd = footer.missingAtEnd === undefined ? 'no' : 'end';
  const shape = checkTable(
    table,
    { structures, fileBytes: reader.sizeBytes, cutOff: isCutOff ? 'table' : atEnd },
    report,
  );
  // A file that is cut off has lost its footer by the same cause.
  const isExplained = isCutOff || shape.hasBlocksOutside;
  if (footer.missingAtEnd !== undefined && !isExplained) report(footer.missingAtEnd);
  // Blocks that nobody knows of may be what stands there.
  if (!isShort) checkUnaccounted(footer, structures, shape, report);
  return {
    table,
    headerOffset: header.offset,
    batmap: batmap.bits,
    header: {
      headerVersion: header.raw.header_version,
      blockBytes: header.raw.block_size,
      maxTableEntries: header.raw.max_table_entries,
      tableOffset: header.tableOffset,
      parentUniqueId: Uint8Array.from(header.raw.parent_unique_id),
      parentCreatedSeconds: unixSeconds(header.raw.parent_time_stamp),
      parentUnicodeName: decodeParentName(header),
      parentLocators: locators,
      hasBatmap: batmap.isThere,
    },
  };
}

function checkBatmap(footer: FoundFooter, batmap: Batmap, isCutOff: boolean, report: Report): void {
  const { raw, structure, offset } = footer;
  if (creatorName(raw) !== 'tap' || raw.creator_version < TAPDISK_WITH_BATMAP) return;
  if (batmap.isThere || isCutOff) return;
  report({
    code: 'vhd-batmap-missing',
    severity: 'warning',
    structure,
    offset: offset + hardDiskFooter.rows.creator_version[0],
    found: `creator "tap" of version 0x${raw.creator_version.toString(16)}, and no batmap behind the BAT`,
    expected: 'a batmap, or version 1.1: libvhd refuses it',
  });
}

/** A fixed disk ends where its footer starts. */
function checkFixedSize(footer: FoundFooter, diskBytes: number, report: Report): void {
  const { offset } = footer;
  if (diskBytes === offset || diskBytes === 0) return;
  report({
    code: 'vhd-fixed-size',
    severity: diskBytes > offset ? 'error' : 'warning',
    structure: footer.structure,
    offset: offset + hardDiskFooter.rows.current_size[0],
    found: `current_size ${diskBytes}`,
    expected: `${offset}, the bytes in front of the footer`,
  });
}

/**
 * Reads everything of one file but its data: footers, header, BAT, locators; reports what is wrong with them.
 *
 * @throws PatchVdiError `image` when nothing sensible can be read
 */
export async function readLayer(
  reader: ByteReader,
  report: Report,
  nowSeconds: number | undefined,
): Promise<VhdLayer> {
  const footer = await findFooter(reader, report);
  const { raw, kind } = footer;
  if (raw.current_size > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw vhdError(reader.name, footer.structure, {
      offset: footer.offset + hardDiskFooter.rows.current_size[0],
      found: `current_size ${raw.current_size}`,
      expected: 'a size that can be',
    });
  }
  checkFooterFields(footer, report, nowSeconds);
  const sizeBytes = Number(raw.current_size);
  const common = { reader, kind, sizeBytes, footer: footerFacts(raw), dataBytes: footer.offset, report };
  if (kind === 'fixed') {
    checkFixedSize(footer, sizeBytes, report);
    return { ...common, blocks: undefined };
  }
  try {
    return { ...common, blocks: await readBlocks(reader, footer, sizeBytes, report) };
  } catch (error) {
    // What comes next is not known, so a footer that is missing is all the explanation there is.
    if (footer.missingAtEnd !== undefined) report(footer.missingAtEnd);
    throw error;
  }
}
