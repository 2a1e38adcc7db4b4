import type { ByteReader } from '../bytes.js';
import { fieldBytes } from '../struct.js';
import { SECTOR_BYTES } from '../units.js';
import { footerChecksumHolds, hasFooterCookie, kindOf, type RawFooter } from './footer-facts.js';
import { FOOTER_COOKIE, SHORT_FOOTER_BYTES, hardDiskFooter } from './layout.js';
import { checksumOf } from './structures.js';
import type { VhdKind } from './vhd-disk.js';
import { hex32, printableBytes, vhdError, type FindingWords, type Report } from './words.js';

const FOOTER_BYTES = hardDiskFooter.sizeBytes;

/** One of the two places of a footer, as it was read. */
interface Candidate {
  readonly structure: 'footer' | 'footer copy';
  /** 512 bytes; of a short footer the last is zero. */
  readonly bytes: Uint8Array;
  readonly offset: number;
  readonly hasCookie: boolean;
  readonly checksumHolds: boolean;
  readonly kind: VhdKind | undefined;
}

export interface FoundFooter {
  readonly kind: VhdKind;
  readonly raw: RawFooter;
  /** Where the fields of `raw` stand, for findings. */
  readonly offset: number;
  /** Which of the two it is, for findings. */
  readonly structure: string;
  /** Where the footer at the end starts, damaged or not; undefined when none was looked for or found. */
  readonly endOffset: number | undefined;
  /** To be reported unless the file turns out to be cut off, which is the cause then. */
  readonly missingAtEnd: FindingWords | undefined;
}

/** The end is out of reach of a stream, and of a reader that does not know its size. */
function canReadEnd(reader: ByteReader): reader is ByteReader & { readonly sizeBytes: number } {
  return reader.sizeBytes !== undefined && !reader.forwardOnly;
}

async function readFront(reader: ByteReader): Promise<Uint8Array | undefined> {
  if (reader.sizeBytes !== undefined && reader.sizeBytes < FOOTER_BYTES) return undefined;
  const bytes = new Uint8Array(FOOTER_BYTES);
  await reader.readInto(bytes, 0);
  return bytes;
}

/**
 * The last 512 bytes, or the last 511 if a footer starts there: Virtual PC before 2004 wrote such files, whose length
 * is 511 more than whole sectors.
 */
async function readEnd(
  reader: ByteReader & { readonly sizeBytes: number },
): Promise<{ bytes: Uint8Array; offset: number } | undefined> {
  const { sizeBytes } = reader;
  const isShort = sizeBytes % SECTOR_BYTES === SHORT_FOOTER_BYTES;
  const length = isShort ? SHORT_FOOTER_BYTES : FOOTER_BYTES;
  if (sizeBytes < length) return undefined;
  const bytes = new Uint8Array(FOOTER_BYTES);
  await reader.readInto(bytes.subarray(0, length), sizeBytes - length);
  if (!isShort || hasFooterCookie(bytes) || sizeBytes < FOOTER_BYTES)
    return { bytes, offset: sizeBytes - length };
  await reader.readInto(bytes, sizeBytes - FOOTER_BYTES);
  return { bytes, offset: sizeBytes - FOOTER_BYTES };
}

function candidate(structure: Candidate['structure'], bytes: Uint8Array, offset: number): Candidate {
  const hasCookie = hasFooterCookie(bytes);
  return {
    structure,
    bytes,
    offset,
    hasCookie,
    checksumHolds: hasCookie && footerChecksumHolds(bytes),
    kind: hasCookie ? kindOf(hardDiskFooter.decode(bytes).disk_type) : undefined,
  };
}

/** 0: no footer that can be used; 1: a damaged one; 2: a good one. */
function grade(one: Candidate | undefined): number {
  if (one?.kind === undefined) return 0;
  return one.checksumHolds ? 2 : 1;
}

function describe(one: Candidate | undefined): string {
  if (one === undefined) return 'no room for it';
  if (!one.hasCookie) return `"${printableBytes(one.bytes.subarray(0, FOOTER_COOKIE.length))}"`;
  return `disk_type ${hardDiskFooter.decode(one.bytes).disk_type}`;
}

function missing(one: Candidate): FindingWords {
  const isEnd = one.structure === 'footer';
  return {
    code: isEnd ? 'vhd-footer-missing' : 'vhd-footer-copy-missing',
    severity: 'error',
    structure: one.structure,
    offset: one.offset,
    found: `cookie "${printableBytes(one.bytes.subarray(0, FOOTER_COOKIE.length))}"`,
    expected: `"${FOOTER_COOKIE}", ${isEnd ? 'as in the copy at the start' : 'as in the footer at the end'}`,
  };
}

function reportChecksum(one: Candidate, report: Report): void {
  const isEnd = one.structure === 'footer';
  const [checksumAt] = hardDiskFooter.rows.checksum;
  report({
    code: isEnd ? 'vhd-footer-checksum' : 'vhd-footer-copy-checksum',
    severity: 'error',
    structure: one.structure,
    offset: one.offset + checksumAt,
    found: `checksum ${hex32(hardDiskFooter.decode(one.bytes).checksum)}`,
    expected: hex32(checksumOf(one.bytes, checksumAt)),
  });
}

function fieldText(bytes: Uint8Array, name: keyof RawFooter): string {
  const value = hardDiskFooter.decode(bytes)[name];
  if (typeof value !== 'object') return `0x${value.toString(16)}`;
  const shown = value.subarray(0, 16);
  return `${Buffer.from(shown).toString('hex')}${shown.length < value.length ? '...' : ''}`;
}

/** A short footer has no last byte to compare, and nobody gives that byte a meaning. */
function sameFooter(end: Candidate, front: Candidate): boolean {
  return Buffer.from(end.bytes.subarray(0, SHORT_FOOTER_BYTES)).equals(
    front.bytes.subarray(0, SHORT_FOOTER_BYTES),
  );
}

/** Both are good: names the first field in which they differ. The checksums then differ too, by the same cause. */
function reportDifference(end: Candidate, front: Candidate, report: Report): void {
  for (const [name, [at, type]] of Object.entries(hardDiskFooter.rows)) {
    const length = fieldBytes(type);
    const [ofEnd, ofFront] = [end, front].map(({ bytes }) => Buffer.from(bytes.subarray(at, at + length)));
    if (name === 'checksum' || ofEnd === undefined || ofFront === undefined || ofEnd.equals(ofFront))
      continue;
    const field = name as keyof RawFooter;
    report({
      code: 'vhd-footers-disagree',
      severity: 'error',
      structure: 'footer copy',
      offset: at,
      found: `${name} ${fieldText(front.bytes, field)}`,
      expected: `${fieldText(end.bytes, field)}, as in the footer at the end`,
    });
    return;
  }
}

/** The two together: the one to believe is `used`. */
function reportFooters(
  end: Candidate | undefined,
  front: Candidate | undefined,
  used: Candidate,
  report: Report,
): void {
  if (end?.hasCookie === true && !end.checksumHolds) reportChecksum(end, report);
  // What stands at the start of a fixed disk is the disk's own affair, unless it is a footer in full.
  const copyExpected = used.kind !== 'fixed' || (used === end && grade(front) === 2);
  if (front === undefined || !copyExpected) return;
  if (!front.hasCookie) report(missing(front));
  else if (end !== undefined && sameFooter(end, front)) return;
  else if (!front.checksumHolds) reportChecksum(front, report);
  else if (end?.checksumHolds === true) reportDifference(end, front, report);
}

/**
 * Finds the footer at the end (512 bytes, or 511 of old) and its copy at the start, reports what is wrong with them,
 * and chooses: the better one, and of two good ones that differ the one at the end, because the specification calls the
 * other the copy, and libvhd does so too (qemu and streaming importers read the copy, so it is an error to them).
 * Of a stream only the copy is read.
 *
 * @throws PatchVdiError `image` when neither can be used
 */
export async function findFooter(reader: ByteReader, report: Report): Promise<FoundFooter> {
  const frontBytes = await readFront(reader);
  const front = frontBytes === undefined ? undefined : candidate('footer copy', frontBytes, 0);
  const atEnd = canReadEnd(reader) ? await readEnd(reader) : undefined;
  const end = atEnd === undefined ? undefined : candidate('footer', atEnd.bytes, atEnd.offset);
  const used = grade(end) >= grade(front) ? end : front;
  if (used?.kind === undefined) throw noFooter(reader, end, front);
  if (used === front && used.kind === 'fixed') throw fixedAtFront(reader, end);
  reportFooters(end, front, used, report);
  return {
    kind: used.kind,
    raw: hardDiskFooter.decode(used.bytes),
    offset: used.offset,
    structure: used.structure,
    endOffset: end?.hasCookie === true ? end.offset : undefined,
    missingAtEnd: end === undefined || end.hasCookie ? undefined : missing(end),
  };
}

function noFooter(reader: ByteReader, end: Candidate | undefined, front: Candidate | undefined) {
  const known = 'a footer with disk_type 2, 3 or 4';
  return canReadEnd(reader)
    ? vhdError(reader.name, 'footer', {
        offset: end?.offset,
        found: `${describe(end)} at the end, ${describe(front)} at the start`,
        expected: known,
      })
    : vhdError(reader.name, 'footer copy', {
        offset: 0,
        found: `${describe(front)} at the start, which is all that can be read of a stream`,
        expected: known,
      });
}

/** The footer of a fixed disk stands at the end, and its data where the copy would be. */
function fixedAtFront(reader: ByteReader, end: Candidate | undefined) {
  return vhdError(reader.name, 'footer', {
    offset: end?.offset,
    found: `disk_type 2 (fixed) at the start, ${end === undefined ? 'and no end in reach' : `${describe(end)} at the end`}`,
    expected: 'the footer of a fixed disk at the end',
  });
}

/**
 * Whether this is a VHD: a cheap test, of at most two sectors (three of an odd length). It looks for a footer at the
 * end, 512 bytes or the 511 of old Virtual PC, or its copy at the start; of a stream only at the start, so that a
 * fixed VHD on a stream is taken for the raw disk that it starts with.
 *
 * @throws PatchVdiError `image` when the bytes cannot be read
 */
export async function looksLikeVhd(reader: ByteReader): Promise<boolean> {
  if (canReadEnd(reader)) {
    const end = await readEnd(reader);
    if (end !== undefined && hasFooterCookie(end.bytes)) return true;
  }
  const front = await readFront(reader);
  return front !== undefined && hasFooterCookie(front);
}
