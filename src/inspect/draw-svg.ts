import type { DiskMap, MapCell, MapKind } from './disk-map.js';
import { MAP_NAMES, shortBytes } from './draw-text.js';

/*
 * The picture as SVG 1.1 without scripts, fonts or anything from outside: it opens in every browser, and in a README.
 * Colours are from the Okabe-Ito palette, which colour-blind people can tell apart.
 */

const COLOURS: Readonly<Record<MapKind, string>> = {
  superblock: '#d55e00',
  metadata: '#e69f00',
  payload: '#0072b2',
  other: '#cc79a7',
  free: '#bfe3d0',
  outside: '#999999',
};
const UNALLOCATED = '#ffffff';
const INK = '#222222';
const PALE_INK = '#666666';

const COLUMNS = 64;
const CELL = 14;
const GAP = 2;
const STEP = CELL + GAP;
const LEFT = 92;
const TOP = 84;
const WIDTH = LEFT + COLUMNS * STEP + 24;
const LEGEND_ROW = 22;

/** XML 1.0 §2.2 and §2.4: what may not stand in text is replaced, the rest is escaped. */
function xml(text: string): string {
  return text
    .replaceAll(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, '\ufffd')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}

function isUnallocated(cell: MapCell): boolean {
  return cell.kind === 'free' && cell.allocatedBytes === 0;
}

function cellTitle(cell: MapCell): string {
  const parts = (Object.keys(MAP_NAMES) as MapKind[])
    .filter((kind) => cell.bytes[kind] > 0)
    .map((kind) => `${MAP_NAMES[kind]} ${shortBytes(cell.bytes[kind])}`);
  const allocated = `${shortBytes(cell.allocatedBytes)} allocated`;
  return `${shortBytes(cell.offsetBytes)}: ${[...parts, allocated].join(', ')}`;
}

/** Neighbours that look and read the same are one rectangle with round ends: a thousand titles help nobody. */
function rowShapes(cells: readonly MapCell[], y: number): string[] {
  return cells.map((cell, column) => {
    const fill = isUnallocated(cell) ? UNALLOCATED : COLOURS[cell.kind];
    const stroke = isUnallocated(cell) ? ` stroke="#c8c8c8" stroke-dasharray="2 2"` : '';
    const x = LEFT + column * STEP;
    const box = `x="${x}" y="${y}" width="${CELL}" height="${CELL}" rx="2"`;
    return `<rect ${box} fill="${fill}"${stroke}><title>${xml(cellTitle(cell))}</title></rect>`;
  });
}

function text(x: number, y: number, size: number, fill: string, content: string, anchor = 'start'): string {
  return `<text x="${x}" y="${y}" font-size="${size}" fill="${fill}" text-anchor="${anchor}">${xml(content)}</text>`;
}

function legendShapes(map: DiskMap, top: number): string[] {
  const kinds = (Object.keys(MAP_NAMES) as MapKind[]).filter((kind) => map.totals[kind] > 0);
  const rows: [fill: string, dashed: boolean, name: string, size: string][] = kinds.map((kind) => [
    COLOURS[kind],
    false,
    MAP_NAMES[kind],
    shortBytes(map.totals[kind]),
  ]);
  if (map.cells.some(isUnallocated)) {
    const bytes = map.diskBytes - map.allocatedBytes;
    rows.push([UNALLOCATED, true, 'free and not allocated in the image file', shortBytes(bytes)]);
  }
  return rows.flatMap(([fill, dashed, name, size], index) => {
    const x = LEFT + (index % 2) * 512;
    const y = top + Math.floor(index / 2) * LEGEND_ROW;
    const stroke = dashed ? ` stroke="#c8c8c8" stroke-dasharray="2 2"` : '';
    return [
      `<rect x="${x}" y="${y}" width="${CELL}" height="${CELL}" rx="2" fill="${fill}"${stroke}/>`,
      text(x + 24, y + 12, 14, INK, name),
      text(x + 470, y + 12, 14, PALE_INK, size, 'end'),
    ];
  });
}

/** The words of the picture. They are escaped for SVG. */
export interface SvgWords {
  /** `vdi.vhd` */
  readonly title: string;
  /** One line of facts below it. */
  readonly subtitle: string;
}

/** The disk as a picture with a legend; every cell tells its contents when the mouse rests on it. */
export function drawSvg(map: DiskMap, words: SvgWords): string {
  const shapes: string[] = [];
  const rows = Math.ceil(map.cells.length / COLUMNS);
  for (let row = 0; row < rows; row += 1) {
    const y = TOP + row * STEP;
    const offset = shortBytes(row * COLUMNS * map.cellBytes);
    shapes.push(text(LEFT - 10, y + 11, 12, PALE_INK, offset, 'end'));
    shapes.push(...rowShapes(map.cells.slice(row * COLUMNS, (row + 1) * COLUMNS), y));
  }
  const legendTop = TOP + rows * STEP + 22;
  const legend = legendShapes(map, legendTop);
  const legendRows = Math.ceil(legend.length / 3 / 2);
  const foot = legendTop + legendRows * LEGEND_ROW + 16;
  const scale = `One square is ${shortBytes(map.cellBytes)}. ${shortBytes(map.allocatedBytes)} of ${shortBytes(map.diskBytes)} have a place in the image file.`;
  const height = foot + 24;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" role="img" font-family="system-ui, 'DejaVu Sans', sans-serif">`,
    `<title>${xml(words.title)}</title>`,
    `<desc>${xml(`${words.subtitle}. ${scale}`)}</desc>`,
    `<rect width="100%" height="100%" fill="#ffffff"/>`,
    text(24, 38, 22, INK, words.title),
    text(24, 62, 14, PALE_INK, words.subtitle),
    ...shapes,
    ...legend,
    text(LEFT, foot, 12, PALE_INK, scale),
    '</svg>',
    '',
  ].join('\n');
}
