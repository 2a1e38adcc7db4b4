import type { StatusLine } from '../tools/gpgv.js';
import type { Complain } from './complaint.js';
import { printable } from './printable.js';

/** What gpgv says about the clear text that it writes (GnuPG, doc/DETAILS); never said when it writes none. */
export function isPlaintextLine(line: StatusLine): boolean {
  return line.keyword === 'other' && (line.name === 'PLAINTEXT' || line.name === 'PLAINTEXT_LENGTH');
}

/** Format in hex (62 is 'b', binary), time, name. Name and time are unsigned: nobody looks at them. */
const BINARY_PLAINTEXT = /^62 \d{1,10} /;

/**
 * gpgv must speak of one clear text, in binary format, before any signature, and of its length as we counted it. It
 * tells no length for a message that tells none (partial lengths).
 *
 * @param clearTextBytes by our own count
 */
export function requirePlaintext(
  lines: readonly StatusLine[],
  clearTextBytes: number,
  complain: Complain,
): void {
  const [first, second] = lines;
  const refuse = (found: string, expected: string) =>
    complain('gpgv reports the clear text in an unexpected way', {
      found: printable(found, 64),
      expected,
    });
  const words = (line: StatusLine | undefined) =>
    line?.keyword === 'other' ? `${line.name} ${line.text}`.trim() : (line?.keyword ?? 'no line');
  if (first?.keyword !== 'other' || first.name !== 'PLAINTEXT' || !BINARY_PLAINTEXT.test(first.text)) {
    throw refuse(`${words(first)} as the first line`, 'PLAINTEXT with format 62 (binary)');
  }
  const hasLength = second?.keyword === 'other' && second.name === 'PLAINTEXT_LENGTH';
  if (hasLength && second.text !== String(clearTextBytes)) {
    throw refuse(words(second), `PLAINTEXT_LENGTH ${clearTextBytes}`);
  }
  const stray = lines.slice(hasLength ? 2 : 1).find(isPlaintextLine);
  if (stray !== undefined) throw refuse(`${words(stray)} out of place`, 'one clear text');
}
