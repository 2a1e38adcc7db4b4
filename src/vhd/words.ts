import type { FindingCode } from '../finding-codes.js';
import { PatchVdiError } from '../errors.js';
import type { Finding } from '../findings.js';

/** Longer text from an image is cut: messages stay lines. */
const MAX_CHARACTERS = 64;

/** Text from an image as printable ASCII, cut at 64 characters. */
export function printable(text: string): string {
  let out = '';
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0;
    const plain = code >= 0x20 && code < 0x7f && character !== '\\';
    const hex = code.toString(16);
    const word = plain ? character : code < 0x100 ? `\\x${hex.padStart(2, '0')}` : `\\u{${hex}}`;
    if (out.length + word.length > MAX_CHARACTERS) return `${out}...`;
    out += word;
  }
  return out;
}

/** Bytes from an image, one character each, as {@link printable}. */
export function printableBytes(bytes: Uint8Array): string {
  return printable(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1'));
}

export function hex32(value: number): string {
  return `0x${value.toString(16).padStart(8, '0')}`;
}

/** A unique id in the usual five groups. */
export function describeId(id: Uint8Array): string {
  const hex = Buffer.from(id.buffer, id.byteOffset, id.byteLength).toString('hex');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/** A finding about the file, which all of a VHD's are. */
export interface FindingWords {
  readonly code: FindingCode;
  readonly severity: Finding['severity'];
  readonly structure: string;
  readonly offset: number | undefined;
  readonly found: string;
  readonly expected: string;
}

/** Adds what all findings of one file share. */
export type Report = (words: FindingWords) => void;

/** What cannot be read past. */
export function vhdError(
  path: string,
  structure: string,
  details: {
    readonly offset?: number | undefined;
    readonly found: string;
    readonly expected: string;
    readonly cause?: unknown;
  },
): PatchVdiError {
  const { offset, found, expected, cause } = details;
  return new PatchVdiError('image', `the ${structure} of this VHD cannot be read past`, {
    context: {
      operation: `read the ${structure}`,
      path,
      ...(offset === undefined ? {} : { offset }),
      found,
      expected,
    },
    ...(cause === undefined ? {} : { cause }),
  });
}
