import { readBytesOf, type ByteReader } from '../bytes.js';
import { KIB } from '../units.js';
import type { FoundHeader } from './read-header.js';
import { dynamicDiskHeader, parentLocatorEntry } from './layout.js';
import type { ParentLocator } from './vhd-disk.js';
import { printable, printableBytes, type Report } from './words.js';

/** No system has longer paths (Windows: 32 767 characters of two bytes). */
const MAX_LOCATOR_BYTES = 64 * KIB;

const ENTRY_COUNT = fieldLength() / parentLocatorEntry.sizeBytes;

function fieldLength(): number {
  return dynamicDiskHeader.rows.parent_locator_entries[1].bytes;
}

/** An entry of the header, before its data was read. */
export interface LocatorEntry {
  /** 0 to 7. */
  readonly index: number;
  readonly platformCode: string;
  readonly dataOffset: number;
  readonly dataLength: number;
  /** Where the entry stands in the file. */
  readonly entryOffset: number;
}

/** The entries in use whose data can be in the file; of the others a finding. */
export function locatorEntries(
  header: FoundHeader,
  fileBytes: number | undefined,
  report: Report,
): LocatorEntry[] {
  const entries: LocatorEntry[] = [];
  const [entriesAt] = dynamicDiskHeader.rows.parent_locator_entries;
  for (let index = 0; index < ENTRY_COUNT; index += 1) {
    const at = index * parentLocatorEntry.sizeBytes;
    const raw = parentLocatorEntry.decode(header.raw.parent_locator_entries, at);
    if (raw.platform_code === 0) continue;
    const entryOffset = header.offset + entriesAt + at;
    const dataLength = raw.platform_data_length;
    const end = raw.platform_data_offset + BigInt(dataLength);
    const fits = end <= BigInt(fileBytes ?? Number.MAX_SAFE_INTEGER) && dataLength <= MAX_LOCATOR_BYTES;
    if (!fits) {
      report({
        code: 'vhd-parent-locator',
        severity: 'warning',
        structure: `parent locator ${index + 1}`,
        offset: entryOffset,
        found: `${dataLength} bytes at ${raw.platform_data_offset}`,
        expected: `at most ${MAX_LOCATOR_BYTES} bytes within the file`,
      });
      continue;
    }
    const code = Buffer.alloc(4);
    code.writeUInt32BE(raw.platform_code);
    const dataOffset = Number(raw.platform_data_offset);
    entries.push({ index, platformCode: printableBytes(code), dataOffset, dataLength, entryOffset });
  }
  return entries;
}

/** Text up to the first NUL; undefined if there is none, or if it has characters that no path has. */
function asPath(text: string): string | undefined {
  const end = text.indexOf('\0');
  const path = end === -1 ? text : text.slice(0, end);
  // oxlint-disable-next-line no-control-regex -- these are what is looked for
  return path === '' || /[\u0000-\u001f\u007f\ufffd]/.test(path) ? undefined : path;
}

/** "MacX": a file URL as UTF-8, which libvhd does not escape, and which may be relative: `file://./parent.vhd`. */
function pathOfUrl(text: string): string | undefined {
  const match = /^file:\/\/(?:localhost(?=\/))?(.*)$/.exec(text);
  const path = match?.[1];
  if (path === undefined) return undefined;
  try {
    return asPath(decodeURIComponent(path));
  } catch {
    // A percent sign that escapes nothing is one of the name.
    return asPath(path);
  }
}

/** The path of a locator's data; the specification's "Parent Locator" table says which code means what. */
function decodePath(platformCode: string, data: Uint8Array): string | undefined {
  switch (platformCode) {
    case 'W2ru':
    case 'W2ku':
      return asPath(new TextDecoder('utf-16le').decode(data));
    case 'MacX': {
      const path = asPath(new TextDecoder('utf-8').decode(data));
      return path === undefined ? undefined : pathOfUrl(path);
    }
    // Deprecated, of an unnamed character set.
    case 'Wi2r':
    case 'Wi2k':
      return asPath(Buffer.from(data).toString('latin1'));
    default:
      return undefined;
  }
}

/** Reads the data of an entry. */
export async function readLocator(
  reader: ByteReader,
  entry: LocatorEntry,
  report: Report,
): Promise<ParentLocator> {
  const { index, platformCode, dataOffset, dataLength, entryOffset } = entry;
  const data = await readBytesOf(reader)(dataOffset, dataLength);
  const path = decodePath(platformCode, data);
  if (path === undefined && platformCode !== 'Mac ') {
    report({
      code: 'vhd-parent-locator',
      severity: 'warning',
      structure: `parent locator ${index + 1}`,
      offset: entryOffset,
      found: `platform_code "${platformCode}" with "${printableBytes(data)}"`,
      expected: 'a path in W2ru, W2ku or MacX',
    });
  }
  return { platformCode, dataOffset, dataLength, path };
}

/** `parent_unicode_name`, UTF-16 in the byte order of the header; empty without one. */
export function decodeParentName(header: FoundHeader): string {
  const text = Buffer.from(header.raw.parent_unicode_name).swap16().toString('utf16le');
  const end = text.indexOf('\0');
  return end === -1 ? text : text.slice(0, end);
}

/** `C:\a\b` and `\\server\a\b`: absolute, and of no use on this system but for the last name. */
const WINDOWS_ROOT = /^(?:[A-Za-z]:|\\\\)/;

function besideChild(childName: string, path: string): string {
  const folder = childName.slice(0, childName.lastIndexOf('/') + 1);
  return folder + path;
}

function lastName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

/**
 * The paths at which a parent may be, best first and each once: what the relative locators say, then the last name of
 * the absolute ones and of `parent_unicode_name` in the child's folder. Absolute paths themselves are never followed:
 * they are those of another machine, or of an attacker.
 *
 * @param childName the name of the child's reader, whose part up to the last `/` is its folder
 */
export function parentPaths(
  childName: string,
  locators: readonly ParentLocator[],
  unicodeName: string,
): string[] {
  const relative: string[] = [];
  const names: string[] = [];
  const add = (text: string, isWindows: boolean): void => {
    const path = isWindows ? text.replaceAll('\\', '/') : text;
    const name = lastName(path);
    if (!WINDOWS_ROOT.test(text) && !path.startsWith('/')) {
      if (name !== '' && name !== '..' && name !== '.') relative.push(path.replace(/^(?:\.\/+)+/, ''));
    } else if (name !== '' && name !== '..' && name !== '.') names.push(name);
  };
  for (const { platformCode, path } of locators) {
    if (path !== undefined) add(path, platformCode !== 'MacX');
  }
  const ofHeader = asPath(unicodeName);
  if (ofHeader !== undefined) {
    const name = lastName(ofHeader.replaceAll('\\', '/'));
    if (name !== '' && name !== '..' && name !== '.') names.push(name);
  }
  return [...new Set([...relative, ...names].map((path) => besideChild(childName, path)))];
}

/** For messages. */
export function describePaths(paths: readonly string[]): string {
  return paths.length === 0 ? 'no path to it' : paths.map((path) => `"${printable(path)}"`).join(', ');
}
