import { createHash } from 'node:crypto';

/** Hexadecimal digits of a line's checksum. */
const CHECKSUM_DIGITS = 16;

/** What the first line is chained to. */
export const FIRST_LINK = '';

/**
 * A line of the journal is `CHECKSUM JSON`: the first 64 bits of the SHA-256 of the checksum before it and the JSON.
 * So a line that was changed, lost, added or moved is found.
 */
function checksumAfter(link: string, json: string): string {
  return createHash('sha256').update(`${link} ${json}`).digest('hex').slice(0, CHECKSUM_DIGITS);
}

/** The line with its end. */
export function encodeLine(link: string, value: unknown): { readonly text: string; readonly link: string } {
  const json = JSON.stringify(value);
  const next = checksumAfter(link, json);
  return { text: `${next} ${json}\n`, link: next };
}

export type DecodedLine =
  | { readonly value: unknown; readonly link: string }
  | { readonly found: string; readonly expected: string };

/** @param line without its end */
export function decodeLine(link: string, line: string): DecodedLine {
  const found = line.slice(0, CHECKSUM_DIGITS);
  const json = line.slice(CHECKSUM_DIGITS + 1);
  if (!/^[0-9a-f]{16} $/.test(line.slice(0, CHECKSUM_DIGITS + 1))) {
    return { found: JSON.stringify(found), expected: 'a checksum of 16 hexadecimal digits' };
  }
  const expected = checksumAfter(link, json);
  if (found !== expected) return { found: `checksum ${found}`, expected: `checksum ${expected}` };
  try {
    return { value: JSON.parse(json) as unknown, link: expected };
  } catch {
    return { found: 'a line that is no JSON', expected: 'JSON' };
  }
}
