import { open } from 'node:fs/promises';
import { PatchVdiError } from '../errors.js';
import { MIB } from '../units.js';
import { FIRST_LINK, decodeLine } from './journal-line.js';

/** More than any change needs: a longer line is never written, and is damage. */
export const MAX_LINE_BYTES = 16 * MIB;
const READ_BYTES = MIB;
const NEWLINE = 0x0a;

/** The end of a journal that was never stored as a whole. */
export interface TornEnd {
  readonly path: string;
  /** 1 for the first line. */
  readonly line: number;
  /** Where the file was cut. */
  readonly offset: number;
  /** Bytes that were cut off. */
  readonly bytes: number;
}

export interface ReadJournal {
  /** Bytes of the lines that are whole. */
  readonly bytes: number;
  readonly lines: number;
  /** Checksum of the last line. */
  readonly link: string;
  readonly torn: TornEnd | undefined;
}

export function damagedJournal(
  path: string,
  place: { readonly line: number; readonly offset: number },
  found: string,
  expected: string,
): PatchVdiError {
  return new PatchVdiError('image', `the state of the pool is damaged in line ${place.line}`, {
    context: { operation: 'read the state of the pool', path, offset: place.offset, found, expected },
    hint: 'restore the state folder from a backup; the disks of the VDIs are still in their folders',
  });
}

/** The lines of a file with the place where each starts; the last one may lack its end. */
async function* linesOf(path: string): AsyncGenerator<{ offset: number; bytes: Buffer; ended: boolean }> {
  const file = await open(path, 'r');
  try {
    const chunk = Buffer.allocUnsafe(READ_BYTES);
    let rest: Buffer = Buffer.alloc(0);
    let offset = 0;
    for (;;) {
      const { bytesRead } = await file.read(chunk, 0, chunk.length);
      if (bytesRead === 0) break;
      let bytes = Buffer.concat([rest, chunk.subarray(0, bytesRead)]);
      for (let end = bytes.indexOf(NEWLINE); end !== -1; end = bytes.indexOf(NEWLINE)) {
        yield { offset, bytes: bytes.subarray(0, end), ended: true };
        offset += end + 1;
        bytes = bytes.subarray(end + 1);
      }
      if (bytes.length > MAX_LINE_BYTES) break;
      rest = bytes;
    }
    if (rest.length > 0) yield { offset, bytes: rest, ended: false };
  } finally {
    await file.close();
  }
}

/**
 * Reads a journal line by line. Only its last line can be one that was never acknowledged: it has no end, or (after a
 * power failure, when its pages were stored in another order) holds NULs, which no JSON has. Such an end is to be cut
 * off; anything else that is wrong is damage.
 *
 * @param accept takes the value of a line; returns what is wrong with it
 * @throws PatchVdiError `image` that names the file, the line, its offset, what was found and what was expected
 */
export async function readJournal(
  path: string,
  accept: (value: unknown, line: number) => string | undefined,
): Promise<ReadJournal> {
  let link = FIRST_LINK;
  let lines = 0;
  let good = 0;
  let bad: { offset: number; bytes: number; mayBeTorn: boolean; found: string; expected: string } | undefined;
  for await (const { offset, bytes, ended } of linesOf(path)) {
    const place = { line: lines + 1, offset };
    if (bad !== undefined)
      throw damagedJournal(path, { ...place, offset: bad.offset }, bad.found, bad.expected);
    const decoded = decodeLine(link, bytes.toString('utf8'));
    if (!ended || 'found' in decoded) {
      const wrong = 'found' in decoded ? decoded : { found: 'a line without its end', expected: 'a newline' };
      // Judged when it is known whether more follows.
      const { length } = bytes;
      bad = { offset, bytes: length + (ended ? 1 : 0), mayBeTorn: !ended || bytes.includes(0), ...wrong };
      continue;
    }
    const fault = accept(decoded.value, place.line);
    if (fault !== undefined) throw damagedJournal(path, place, fault, 'a change of the state');
    link = decoded.link;
    lines += 1;
    good = offset + bytes.length + 1;
  }
  if (bad === undefined) return { bytes: good, lines, link, torn: undefined };
  const { offset, bytes, mayBeTorn, found, expected } = bad;
  if (!mayBeTorn) throw damagedJournal(path, { line: lines + 1, offset }, found, expected);
  return { bytes: good, lines, link, torn: { path, line: lines + 1, offset, bytes } };
}
