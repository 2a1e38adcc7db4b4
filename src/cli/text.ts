import { printable } from '../signature/printable.js';

/** The width that everything must fit in when nothing better is known. */
const DEFAULT_COLUMNS = 80;

export function columnsOf(stream: NodeJS.WriteStream): number {
  return stream.isTTY && stream.columns > 20 ? stream.columns : DEFAULT_COLUMNS;
}

/**
 * Text as a terminal may show it, one line. Unlike `printable`, which it uses, it leaves backslashes alone: what comes
 * from keys and programs was escaped where it came in, and would be escaped twice.
 */
export function visible(text: string, maximumCharacters = 2000): string {
  return printable(text, maximumCharacters).replaceAll('\\\\', '\\');
}

/** The same for a text of several lines, wrapped. */
export function visibleLines(text: string, columns: number): string {
  return text
    .split('\n')
    .flatMap((line) => wrapWords(visible(line), columns))
    .join('\n');
}

/** JSON that is safe on a terminal, too: `JSON.stringify` leaves C1 controls and text direction as they are. */
export function jsonText(value: object): string {
  return JSON.stringify(value, undefined, 2).replaceAll(UNSAFE_CHARACTERS, jsonEscapes);
}

/** What JSON leaves as it is and a terminal does not. */
export const UNSAFE_CHARACTERS = /[\p{Cf}\p{Zl}\p{Zp}\u007f-\u009f]/gu;

/** One of them as JSON writes it. */
export function jsonEscapes(character: string): string {
  return character.replaceAll(/[^]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** Breaks a text into lines of at most `width` characters, between words; a longer word stands alone. */
export function wrapWords(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line];
}

/**
 * `name  value` lines with the values in one column. Values are escaped, so that nothing from a file, a key or a
 * program reaches the terminal as a control sequence, and wrapped.
 */
export function fieldLines(
  fields: readonly (readonly [string, string | undefined])[],
  columns: number,
): string[] {
  const shown = fields.filter(
    (field): field is readonly [string, string] => field[1] !== undefined && field[1] !== '',
  );
  const nameWidth = Math.max(0, ...shown.map(([name]) => name.length));
  return shown.flatMap(([name, value]) => {
    const paragraphs = value.split('\n').map((line) => visible(line));
    const lines = paragraphs.flatMap((paragraph) => wrapWords(paragraph, columns - nameWidth - 4));
    return lines.map((line, index) => `  ${(index === 0 ? name : '').padEnd(nameWidth)}  ${line}`);
  });
}
