import { visible, wrapWords } from './text.js';

/** One thing in a list: a cell for each column, and lines below them. */
export interface ListEntry {
  readonly cells: readonly string[];
  readonly details?: readonly string[];
}

const GAP = 2;
const INDENT = 4;
/** A uuid is never cut; with other columns so wide, 80 columns hold a row. */
const MAX_UUID_CHARACTERS = 36;
const MAX_CELL_CHARACTERS = 16;

/** Escaped, so that nothing from a server reaches the terminal as a control sequence, and cut. */
function fit(text: string, width: number): string {
  const shown = visible(text, width);
  return shown.length <= width ? shown : `${shown.slice(0, Math.max(0, width - 1))}…`;
}

/**
 * A table whose last column takes what is left of the line. A detail goes below its row, wrapped; what is longer than
 * a line there is cut.
 *
 * @param columns of the terminal
 */
export function listing(heads: readonly string[], entries: readonly ListEntry[], columns: number): string[] {
  const last = heads.length - 1;
  const widths = heads.map((head, index) => {
    const cells = entries.map(({ cells: row }) => visible(row[index] ?? '').length);
    const most = head === 'UUID' ? MAX_UUID_CHARACTERS : MAX_CELL_CHARACTERS;
    return Math.min(
      most,
      cells.reduce((widest, width) => Math.max(widest, width), head.length),
    );
  });
  const before = widths.slice(0, last).reduce((sum, width) => sum + width + GAP, 0);
  widths[last] = Math.max(8, columns - before);
  const row = (cells: readonly string[]): string =>
    cells
      .map((cell, index) => fit(cell, widths[index] ?? 0).padEnd(index === last ? 0 : (widths[index] ?? 0)))
      .join(' '.repeat(GAP))
      .trimEnd();
  const detailLines = (detail: string): string[] =>
    wrapWords(visible(detail), columns - INDENT).map(
      (line) => ' '.repeat(INDENT) + fit(line, columns - INDENT),
    );
  return [
    row(heads),
    ...entries.flatMap(({ cells, details = [] }) => [row(cells), ...details.flatMap(detailLines)]),
  ];
}
