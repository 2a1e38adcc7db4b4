import { SECTOR_BYTES } from '../units.js';
import type { BlockTable } from './block-table.js';
import { BAT_UNUSED } from './layout.js';
import type { FindingWords, Report } from './words.js';

/** A structure other than a block, in bytes of the file. */
export interface FileRange {
  readonly name: string;
  readonly offset: number;
  readonly length: number;
}

const TABLE = 'block allocation table';

/** Reports each pair of neighbours that overlap. Bounded: a VHD has fewer than twenty structures. */
export function checkStructures(ranges: readonly FileRange[], report: Report): void {
  const sorted = ranges.filter(({ length }) => length > 0).sort((a, b) => a.offset - b.offset);
  for (const [index, range] of sorted.entries()) {
    const next = sorted[index + 1];
    if (next === undefined || range.offset + range.length <= next.offset) continue;
    report({
      code: 'vhd-structures-overlap',
      severity: 'error',
      structure: next.name,
      offset: next.offset,
      found: `${next.name} at ${next.offset}`,
      expected: `at ${range.offset + range.length} or behind: the ${range.name} is there`,
    });
  }
}

/** What a walk over the BAT in the order of the disk shows, without sorting. */
interface Walk {
  /** Entries in use that are in the file, in the order of the disk. */
  readonly sectors: Uint32Array;
  readonly isAscending: boolean;
  /** A block that is out of order, which block 0 is not when it is the last of all. */
  readonly backward: number | undefined;
  readonly outsideCount: number;
  readonly firstOutside: number | undefined;
  readonly highestSector: number;
}

function walk(table: BlockTable, fileSectors: number): Walk {
  const { entries, strideSectors } = table;
  const sectors = new Uint32Array(table.allocatedCount);
  let count = 0;
  let outsideCount = 0;
  let firstOutside: number | undefined;
  let firstBackward: number | undefined;
  let highestSector = 0;
  // By index: 2^23 entries through an iterator would take seconds.
  for (let block = 0; block < entries.length; block += 1) {
    const sector = entries[block] ?? BAT_UNUSED;
    if (sector === BAT_UNUSED) continue;
    highestSector = Math.max(highestSector, sector);
    if (sector + strideSectors > fileSectors) {
      outsideCount += 1;
      firstOutside ??= block;
      continue;
    }
    const previous = sectors[count - 1];
    // What comes behind block 0 is compared with it below.
    const isBackward = previous !== undefined && sector < previous;
    if (isBackward && (count > 1 || table.isUnused(0))) firstBackward ??= block;
    sectors[count] = sector;
    count += 1;
  }
  const inFile = sectors.subarray(0, count);
  const [first = 0, second = first] = inFile;
  const isAscending = firstBackward === undefined && first <= second;
  const isSealed = first > second && first === inFile.reduce((high, sector) => Math.max(high, sector), 0);
  const backward = firstBackward ?? (isAscending || isSealed ? undefined : 0);
  return { sectors: inFile, isAscending, backward, outsideCount, firstOutside, highestSector };
}

/** The first of the sorted sectors that is not below `sector`. */
function lowerBound(sorted: Uint32Array, sector: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if ((sorted[middle] ?? 0) < sector) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Blocks that lie on a structure: the first place, and how many. */
function findInStructures(
  sorted: Uint32Array,
  ranges: readonly FileRange[],
  stride: number,
): { range: FileRange; sector: number; count: number } | undefined {
  let first: { range: FileRange; sector: number } | undefined;
  let count = 0;
  for (const range of ranges) {
    if (range.length === 0) continue;
    const from = lowerBound(sorted, Math.max(0, Math.floor(range.offset / SECTOR_BYTES) - stride + 1));
    const to = lowerBound(sorted, Math.ceil((range.offset + range.length) / SECTOR_BYTES));
    const sector = sorted[from];
    if (to <= from || sector === undefined) continue;
    count = Math.max(count, to - from);
    first ??= { range, sector };
  }
  return first === undefined ? undefined : { ...first, count };
}

/** What the checks found out on the way. */
export interface TableShape {
  /** The byte behind the last block that the BAT names, also one outside the file; 0 without blocks. */
  readonly dataEnd: number;
  /** Whether anything was reported. */
  readonly isDamaged: boolean;
  /** Whether blocks end behind the end of the file. */
  readonly hasBlocksOutside: boolean;
}

/** What is known of the file that the blocks have to fit into. */
export interface TableSurroundings {
  readonly structures: readonly FileRange[];
  /** Undefined for a stream. */
  readonly fileBytes: number | undefined;
  /**
   * `end`: the footer is missing there, so blocks outside the file mean that the file was cut off. `table`: the file
   * ends within the BAT, so that blocks outside it are no news.
   */
  readonly cutOff: 'no' | 'end' | 'table';
}

type ReportEntry = (block: number, words: Pick<FindingWords, 'code' | 'found' | 'expected'>) => void;

function reportOutside(
  table: BlockTable,
  { firstOutside, outsideCount, highestSector }: Walk,
  { fileBytes, cutOff }: TableSurroundings,
  report: Report,
  reportEntry: ReportEntry,
): void {
  if (firstOutside === undefined || cutOff === 'table' || fileBytes === undefined) return;
  if (cutOff === 'no') {
    reportEntry(firstOutside, {
      code: 'vhd-block-outside',
      found: `block ${firstOutside} at sector ${table.entries[firstOutside]}, ${outsideCount} such`,
      expected: `blocks that end within the ${fileBytes} bytes of the file`,
    });
    return;
  }
  report({
    code: 'vhd-truncated',
    severity: 'error',
    structure: 'file',
    offset: fileBytes,
    found: `the end of the file, ${outsideCount} blocks and the footer not in it`,
    expected: `at least ${(highestSector + table.strideSectors) * SECTOR_BYTES} bytes`,
  });
}

function reportInStructure(
  table: BlockTable,
  sorted: Uint32Array,
  structures: readonly FileRange[],
  reportEntry: ReportEntry,
): boolean {
  const found = findInStructures(sorted, structures, table.strideSectors);
  if (found === undefined) return false;
  const { range, sector, count } = found;
  const block = table.entries.indexOf(sector);
  reportEntry(block, {
    code: 'vhd-block-in-structure',
    found: `block ${block} at sector ${sector}, ${count} such`,
    expected: `none on the ${range.name}, from ${range.offset} to ${range.offset + range.length}`,
  });
  return true;
}

function reportOverlap(table: BlockTable, sorted: Uint32Array, reportEntry: ReportEntry): boolean {
  const overlap = findOverlap(sorted, table.strideSectors);
  if (overlap === undefined) return false;
  const { lower, upper, count } = overlap;
  const one = table.entries.indexOf(lower);
  const other = table.entries.indexOf(upper, lower === upper ? one + 1 : 0);
  reportEntry(Math.max(one, other), {
    code: 'vhd-blocks-overlap',
    found: `blocks ${one} and ${other} at sectors ${lower} and ${upper}, ${count} such`,
    expected: `${table.strideSectors} sectors for each`,
  });
  return true;
}

/**
 * Checks where the blocks are: in the file, on no structure, on no other block, ascending. One finding for each kind of
 * damage, with the first place and a count. O(n log n) at worst; tables that ascend, which are nearly all, are not sorted.
 * Block 0 may be the last of all: this project writes it so (design, "The seal comes last"), and XAPI's importer takes it.
 */
export function checkTable(table: BlockTable, surroundings: TableSurroundings, report: Report): TableShape {
  const { fileBytes, structures } = surroundings;
  const fileSectors = Math.floor((fileBytes ?? Number.MAX_SAFE_INTEGER) / SECTOR_BYTES);
  const walked = walk(table, fileSectors);
  const { sectors, isAscending, backward, highestSector } = walked;
  const entry = (block: number) => ({ structure: TABLE, offset: table.entryOffset(block) });
  const reportEntry: ReportEntry = (block, words) => report({ severity: 'error', ...entry(block), ...words });

  reportOutside(table, walked, surroundings, report, reportEntry);
  if (!isAscending) sectors.sort();
  const isInStructure = reportInStructure(table, sectors, structures, reportEntry);
  const isOverlapping = reportOverlap(table, sectors, reportEntry);
  const hasBlocksOutside = walked.outsideCount > 0;
  const isDamaged = hasBlocksOutside || isInStructure || isOverlapping;
  if (backward !== undefined && !isDamaged) {
    report({
      code: 'vhd-blocks-backward',
      severity: 'warning',
      ...entry(backward),
      found: `block ${backward} at sector ${table.entries[backward]}, out of order`,
      expected: 'blocks that ascend, for those who read the file as a stream; only block 0 may be the last',
    });
  }
  const dataEnd = table.allocatedCount === 0 ? 0 : (highestSector + table.strideSectors) * SECTOR_BYTES;
  return { dataEnd, isDamaged, hasBlocksOutside };
}

function findOverlap(
  sorted: Uint32Array,
  stride: number,
): { lower: number; upper: number; count: number } | undefined {
  let first: { lower: number; upper: number } | undefined;
  let count = 0;
  for (let index = 1; index < sorted.length; index += 1) {
    const lower = sorted[index - 1] ?? 0;
    const upper = sorted[index] ?? 0;
    if (upper - lower >= stride) continue;
    first ??= { lower, upper };
    count += 1;
  }
  return first === undefined ? undefined : { ...first, count };
}
