import { GIB, KIB, MIB, TIB } from '../units.js';
import type { DiskMap, MapCell, MapKind } from './disk-map.js';

/** What stands for a cell. ASCII, so that it comes through every terminal, log and mail. */
const MAP_LETTERS: Readonly<Record<MapKind, string>> = {
  superblock: 'S',
  metadata: 'm',
  payload: '#',
  other: 'o',
  free: '.',
  outside: 'x',
};

/** Free, and without a place in the image file. */
const UNALLOCATED_LETTER = ' ';

export const MAP_NAMES: Readonly<Record<MapKind, string>> = {
  superblock: 'superblock and backups',
  metadata: 'metadata',
  payload: 'payload',
  other: 'journal, folders, other files',
  free: 'free (scratch space)',
  outside: 'outside of the file system',
};

/** Puts colour around one letter, or returns it as it is. */
export type Paint = (kind: MapKind, letters: string) => string;

function letterOf(cell: MapCell): string {
  return cell.kind === 'free' && cell.allocatedBytes === 0 ? UNALLOCATED_LETTER : MAP_LETTERS[cell.kind];
}

/** A row of cells; equal neighbours are painted in one go. */
function paintRow(cells: readonly MapCell[], paint: Paint): string {
  let row = '';
  for (let at = 0; at < cells.length;) {
    const first = cells[at];
    if (first === undefined) break;
    let end = at + 1;
    while (cells[end]?.kind === first.kind) end += 1;
    row += paint(first.kind, cells.slice(at, end).map(letterOf).join(''));
    at = end;
  }
  return row;
}

/**
 * The disk as rows of letters with the offset in front, and a legend with the sums.
 *
 * @param columns the width that it must fit in
 */
export function drawText(map: DiskMap, columns: number, paint: Paint): string[] {
  const rowOffsets = (perRow: number): string[] => {
    const offsets: string[] = [];
    for (let at = 0; at < map.cells.length; at += perRow) offsets.push(shortBytes(at * map.cellBytes));
    return offsets;
  };
  // A row is a power of two of cells: its offset is a round number then.
  let perRow = 16;
  while (perRow * 2 <= columns - 14) perRow *= 2;
  const offsets = rowOffsets(perRow);
  const width = Math.max(...offsets.map((text) => text.length));
  const lines = offsets.map((offset, row) => {
    const cells = map.cells.slice(row * perRow, (row + 1) * perRow);
    return `  ${offset.padStart(width)} |${paintRow(cells, paint)}|`;
  });
  return [...lines, '', ...legend(map, paint)];
}

/** `4 MiB`, `18.25 GiB`: rounded, without the bytes, for margins and legends. */
export function shortBytes(bytes: number): string {
  const [unit, factor] = UNITS.find(([, each]) => bytes >= each) ?? ['bytes', 1];
  return `${Number((bytes / factor).toFixed(2))} ${unit}`;
}

const UNITS = [
  ['TiB', TIB],
  ['GiB', GIB],
  ['MiB', MIB],
  ['KiB', KIB],
] as const;

function legend(map: DiskMap, paint: Paint): string[] {
  const kinds = (Object.keys(MAP_LETTERS) as MapKind[]).filter((kind) => map.totals[kind] > 0);
  const unallocated = map.cells.some((cell) => letterOf(cell) === UNALLOCATED_LETTER);
  const rows = kinds.map(
    (kind) => [MAP_LETTERS[kind], MAP_NAMES[kind], shortBytes(map.totals[kind]), kind] as const,
  );
  const nameWidth = Math.max(...rows.map(([, name]) => name.length));
  return [
    ...rows.map(
      ([letter, name, size, kind]) => `  ${paint(kind, letter)}  ${name.padEnd(nameWidth)}  ${size}`,
    ),
    ...(unallocated ? [`  ' ' free and not allocated in the image file`] : []),
    `  one letter is ${shortBytes(map.cellBytes)}; ${shortBytes(map.allocatedBytes)} of ${shortBytes(map.diskBytes)} have a place in the image file`,
  ];
}
