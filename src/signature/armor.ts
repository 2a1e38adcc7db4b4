import type { Complain } from './complaint.js';
import { printable } from './printable.js';

/** An armoured block, decoded. */
export interface ArmoredBlock {
  /** From the header line: `PUBLIC KEY BLOCK`, `SIGNATURE`. */
  readonly label: string;
  readonly bytes: Uint8Array;
}

const HEADER_LINE = /^-----BEGIN PGP ([A-Z0-9 ,/]+)-----$/;
const ARMOR_HEADER = /^[A-Za-z0-9-]+: /;
const BASE64_LINE = /^[A-Za-z0-9+/]+={0,2}$/;
const CHECKSUM_LINE = /^=([A-Za-z0-9+/]{4})$/;

/** RFC 4880 §6.1. */
const CRC24_START = 0xb704ce;
const CRC24_POLYNOMIAL = 0x864cfb;

const CRC24_TABLE = Uint32Array.from({ length: 256 }, (_, index) => {
  let crc = index << 16;
  for (let bit = 0; bit < 8; bit += 1) {
    crc = (crc & 0x800000) === 0 ? crc << 1 : ((crc << 1) & 0xffffff) ^ CRC24_POLYNOMIAL;
  }
  return crc;
});

/** The checksum of Radix-64, RFC 4880 §6.1. */
export function crc24(bytes: Uint8Array): number {
  let crc = CRC24_START;
  for (const byte of bytes) {
    crc = ((crc << 8) & 0xffffff) ^ (CRC24_TABLE[((crc >> 16) ^ byte) & 0xff] ?? 0);
  }
  return crc;
}

/** Whether a file has an armour header line, at its start or, as in many key files, below an introduction. */
export function isArmored(bytes: Uint8Array): boolean {
  const first = bytes[0] ?? 0;
  // A binary packet has the top bit set (RFC 4880 §4.2). So has UTF-8's byte order mark, which text may begin with.
  if (first >= 0x80 && first !== 0xef) return false;
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).includes('-----BEGIN PGP ');
}

/**
 * Decodes every armoured block of a file, RFC 4880 §6.2. Text outside of blocks is skipped; within a block nothing
 * is forgiven: armour headers, a blank line, base64 of the right length, a checksum that is right if there is one,
 * and the tail line that belongs to the header line.
 *
 * @param complain makes the error for what is wrong; offsets are line numbers within the message
 */
export function dearmor(bytes: Uint8Array, complain: Complain): ArmoredBlock[] {
  const lines = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1').split('\n');
  const blocks: ArmoredBlock[] = [];
  let at = 0;
  while (at < lines.length) {
    const label = HEADER_LINE.exec(withoutTrailingSpace(lines[at]))?.[1];
    at += 1;
    if (label === undefined) continue;
    const block = readBlock(lines, at, label, complain);
    blocks.push({ label, bytes: block.bytes });
    at = block.nextLine;
  }
  return blocks;
}

function withoutTrailingSpace(line: string | undefined): string {
  return (line ?? '').replace(/[ \t\r]+$/, '');
}

function readBlock(
  lines: readonly string[],
  firstLine: number,
  label: string,
  complain: Complain,
): { bytes: Uint8Array; nextLine: number } {
  const fail = (line: number, expected: string) => {
    const text = lines[line];
    return complain(`a damaged armoured ${label} (line ${line + 1})`, {
      found: text === undefined ? 'the end of the file' : printable(withoutTrailingSpace(text), 80),
      expected,
    });
  };
  const tail = `-----END PGP ${label}-----`;
  let at = firstLine;
  while (ARMOR_HEADER.test(lines[at] ?? '')) at += 1;
  if (at >= lines.length || withoutTrailingSpace(lines[at]) !== '') {
    throw fail(at, 'an armour header or the blank line before the data');
  }
  at += 1;

  const data: string[] = [];
  let padded = false;
  while (!padded && BASE64_LINE.test(withoutTrailingSpace(lines[at]))) {
    const line = withoutTrailingSpace(lines[at]);
    padded = line.endsWith('=');
    data.push(line);
    at += 1;
  }
  const base64 = data.join('');
  if (base64.length === 0 || base64.length % 4 !== 0) throw fail(at, 'base64 data in groups of four');
  const bytes = Buffer.from(base64, 'base64');

  const checksum = CHECKSUM_LINE.exec(withoutTrailingSpace(lines[at]))?.[1];
  if (checksum !== undefined) {
    if (Buffer.from(checksum, 'base64').readUIntBE(0, 3) !== crc24(bytes)) {
      throw fail(at, `the checksum of the data (=${crc24Base64(bytes)})`);
    }
    at += 1;
  }
  if (withoutTrailingSpace(lines[at]) !== tail) throw fail(at, tail);
  return { bytes, nextLine: at + 1 };
}

function crc24Base64(bytes: Uint8Array): string {
  const octets = Buffer.alloc(3);
  octets.writeUIntBE(crc24(bytes), 0, 3);
  return octets.toString('base64');
}
