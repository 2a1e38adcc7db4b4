// Sections of data -> Markdown, in tables that read well as text too.

/** A column's name begins with `>` when its cells are numbers, which stand to the right. */
const alignment = (column) => (column.startsWith('>') ? 'right' : 'left');
const nameOf = (column) => column.replace(/^>/, '');
const escaped = (cell) => String(cell).replaceAll('|', String.raw`\|`);

/** @param columns see `alignment` */
export function table(columns, rows) {
  const cells = [
    columns.map(nameOf),
    ...rows.map((row) => columns.map((_, index) => escaped(row[index] ?? ''))),
  ];
  const widths = columns.map((_, index) => Math.max(3, ...cells.map((row) => row[index].length)));
  const line = (row) => {
    const padded = row.map((cell, index) =>
      alignment(columns[index]) === 'right' ? cell.padStart(widths[index]) : cell.padEnd(widths[index]),
    );
    return `| ${padded.join(' | ')} |`;
  };
  const rule = widths.map((width, index) =>
    alignment(columns[index]) === 'right' ? `${'-'.repeat(width - 1)}:` : '-'.repeat(width),
  );
  return [line(cells[0]), `| ${rule.join(' | ')} |`, ...cells.slice(1).map(line)].join('\n');
}

/** Words broken into lines of at most that many characters. */
export function wrapped(text, columns = 110) {
  const lines = [''];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last !== '' && last.length + 1 + word.length > columns) lines.push(word);
    else lines[lines.length - 1] = last === '' ? word : `${last} ${word}`;
  }
  return lines.join('\n');
}

/** A list; what does not fit on a line goes on under its words. */
export const list = (items) =>
  items.map((item) => `- ${wrapped(item, 108).replaceAll('\n', '\n  ')}`).join('\n');

/**
 * @param section title, text (paragraphs before the table), columns, rows, notes (a list after it); all but the title
 * may be missing
 */
export function sectionText({ title, text = [], columns, rows = [], notes = [] }, level = 3) {
  const parts = [`${'#'.repeat(level)} ${title}`, ...text.map((paragraph) => wrapped(paragraph))];
  if (columns !== undefined) parts.push(table(columns, rows));
  if (notes.length > 0) parts.push(list(notes));
  return parts.join('\n\n');
}
