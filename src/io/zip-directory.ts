import { read } from 'node:fs';
import { RandomAccessReader, fromRandomAccessReaderPromise, type Entry, type ZipFile } from 'yauzl';
import { PatchVdiError, isPatchVdiError, type ErrorContext } from '../errors.js';
import { printable } from '../signature/printable.js';
import { describeBytes } from '../units.js';

/** A hotfix has a handful of members; the whole list is held in memory. */
const MAX_MEMBERS = 10_000;
const NAMES_IN_MESSAGES = 20;
const UPLOAD_ENDING = /\.xsupdate$/i;
const LOCAL_HEADER_BYTES = 30;

/** What deflate can do at best (zlib, "Technical Details"): more is no compression but a lie. */
const MAX_DEFLATE_RATIO = 1032;
/** PKWARE APPNOTE 4.4.5. */
const METHOD = { stored: 0, deflated: 8 } as const;
/** APPNOTE 4.4.4: sizes and checksum follow the data, and are zero in the local header. */
const FLAG_DATA_DESCRIPTOR = 0x08;
const UNKNOWN_32 = 0xffffffff;

/** Where a member lies in the archive and what it must become. */
export interface ZipMember {
  /** As it may be printed. */
  readonly name: string;
  readonly dataStart: number;
  readonly compressedBytes: number;
  readonly bytes: number;
  readonly crc32: number;
  readonly deflated: boolean;
}

interface Archive {
  readonly name: string;
  readonly fd: number;
  readonly lengthBytes: number;
}

/** Reads the file where it is asked to, and leaves its descriptor to the owner. */
class ArchiveReader extends RandomAccessReader {
  readonly #fd: number;

  constructor(fd: number) {
    super();
    this.#fd = fd;
  }

  override read(
    buffer: Buffer,
    offset: number,
    length: number,
    position: number,
    callback: (error: Error | null, bytesRead?: number) => void,
  ): void {
    if (Number.isSafeInteger(position)) read(this.#fd, buffer, offset, length, position, callback);
    else callback(new Error('a position beyond the end of every file'));
  }
}

function odd(archive: Archive, message: string, context: ErrorContext, hint?: string): PatchVdiError {
  return new PatchVdiError('upload', message, {
    context: { operation: 'read the ZIP archive', path: archive.name, ...context },
    hint: hint ?? 'download it again; or give --no-unzip if the archive itself is the upload',
    leftBehind: 'nothing was touched',
  });
}

function listNames(entries: readonly Entry[]): string {
  const names = entries.slice(0, NAMES_IN_MESSAGES).map(({ fileName }) => printable(fileName, 100));
  const more = entries.length - names.length;
  return more > 0 ? `${names.join(', ')} and ${more} more` : names.join(', ');
}

async function readEntries(archive: Archive, zip: ZipFile): Promise<Entry[]> {
  const entries: Entry[] = [];
  if (zip.entryCount > MAX_MEMBERS) {
    throw odd(archive, 'the ZIP archive has too many members', {
      found: `${zip.entryCount} members`,
      expected: `${MAX_MEMBERS} at most`,
    });
  }
  for await (const entry of zip.eachEntry()) entries.push(entry);
  return entries;
}

/** Two members of one name, or on the same bytes: programs would disagree about what is in the archive. */
function refuseAmbiguity(archive: Archive, entries: readonly Entry[]): void {
  const seen = new Set<string>();
  for (const { fileName } of entries) {
    if (seen.has(fileName)) {
      const found = `${printable(fileName, 100)} twice`;
      throw odd(archive, 'the ZIP archive has two members of one name', {
        found,
        expected: 'each name once',
      });
    }
    seen.add(fileName);
  }
  let end = 0;
  const byPlace = entries.toSorted((a, b) => a.relativeOffsetOfLocalHeader - b.relativeOffsetOfLocalHeader);
  for (const entry of byPlace) {
    const start = entry.relativeOffsetOfLocalHeader;
    const leastEnd = start + LOCAL_HEADER_BYTES + entry.fileNameLength + entry.compressedSize;
    if (start < end || leastEnd > archive.lengthBytes) {
      throw odd(archive, 'members of the ZIP archive overlap or lie outside of it', {
        offset: start,
        found: `${printable(entry.fileName, 100)} at ${start} to ${leastEnd}`,
        expected: `a place between ${end} and ${archive.lengthBytes}`,
      });
    }
    end = leastEnd;
  }
}

function choose(archive: Archive, entries: readonly Entry[], wanted: string | undefined): Entry {
  const files = entries.filter(({ fileName }) => !fileName.endsWith('/'));
  const candidates = files.filter(({ fileName }) =>
    wanted === undefined ? UPLOAD_ENDING.test(fileName) : fileName === wanted,
  );
  const [only] = candidates;
  if (only !== undefined && candidates.length === 1) return only;
  if (wanted !== undefined) {
    throw odd(
      archive,
      'the ZIP archive has no such member',
      { found: `members: ${listNames(files) || 'none'}`, expected: `a file named ${printable(wanted, 100)}` },
      'give one of these names with --member',
    );
  }
  const several = candidates.length > 1;
  const names = listNames(several ? candidates : files);
  throw odd(
    archive,
    several ? 'the ZIP archive has several uploads' : 'the ZIP archive has no upload',
    {
      found: several ? names : `no name that ends in .xsupdate; members: ${names || 'none'}`,
      expected: 'one member that ends in .xsupdate',
    },
    'choose one with --member NAME; or give --no-unzip if the archive itself is the upload',
  );
}

function requireReadable(archive: Archive, entry: Entry): void {
  const name = printable(entry.fileName, 100);
  if (entry.isEncrypted()) {
    throw odd(archive, 'the member is encrypted', { found: name, expected: 'a plain one' }, 'unzip it first');
  }
  const { compressionMethod: method, compressedSize, uncompressedSize } = entry;
  if (method !== METHOD.stored && method !== METHOD.deflated) {
    throw odd(
      archive,
      'the member is compressed in an unknown way',
      { found: `${name}: method ${method}`, expected: 'stored (0) or deflated (8)' },
      'unzip it first',
    );
  }
  if (uncompressedSize > compressedSize * MAX_DEFLATE_RATIO) {
    throw odd(archive, 'the member is larger than its data can become', {
      found: `${name}: ${describeBytes(uncompressedSize)} of ${describeBytes(compressedSize)}`,
      expected: `${MAX_DEFLATE_RATIO} times its data at most`,
    });
  }
}

/** The local header, in front of the data, tells the same as the central directory or leaves it open. */
async function locate(archive: Archive, zip: ZipFile, entry: Entry): Promise<ZipMember> {
  const local = await zip.readLocalFileHeaderPromise(entry);
  const later = (entry.generalPurposeBitFlag & FLAG_DATA_DESCRIPTOR) !== 0;
  const differs = (here: number, there: number): boolean =>
    here !== there && !(later && here === 0) && here !== UNKNOWN_32;
  const differences = [
    Buffer.compare(local.fileName, entry.fileNameRaw) === 0 ? undefined : 'name',
    local.compressionMethod === entry.compressionMethod ? undefined : 'compression method',
    // Bits other than these two are about how it was compressed.
    ((local.generalPurposeBitFlag ^ entry.generalPurposeBitFlag) & (FLAG_DATA_DESCRIPTOR | 1)) === 0
      ? undefined
      : 'flags',
    (later && local.crc32 === 0) || local.crc32 === entry.crc32 ? undefined : 'checksum',
    differs(local.compressedSize, entry.compressedSize) ? 'compressed size' : undefined,
    differs(local.uncompressedSize, entry.uncompressedSize) ? 'size' : undefined,
  ].filter((what) => what !== undefined);
  const name = printable(entry.fileName, 100);
  if (differences.length > 0) {
    throw odd(archive, 'the two headers of the member contradict each other', {
      offset: entry.relativeOffsetOfLocalHeader,
      found: `${name}: another ${differences.join(', ')} in front of the data than in the directory`,
      expected: 'the same twice',
    });
  }
  const end = local.fileDataStart + entry.compressedSize;
  if (end > archive.lengthBytes) {
    throw odd(archive, 'the member lies outside of the archive', {
      found: `${name} ends at ${end}`,
      expected: `at ${archive.lengthBytes} at most`,
    });
  }
  return {
    name,
    dataStart: local.fileDataStart,
    compressedBytes: entry.compressedSize,
    bytes: entry.uncompressedSize,
    crc32: entry.crc32,
    deflated: entry.compressionMethod === METHOD.deflated,
  };
}

/**
 * Finds the member that is the upload: the one that ends in `.xsupdate`, or the one that was asked for.
 *
 * @param fd of a regular file that starts with the archive; stays the caller's, its position too
 * @throws PatchVdiError `upload` for anything odd about the archive
 */
export async function findUpload(
  name: string,
  fd: number,
  lengthBytes: number,
  wanted: string | undefined,
): Promise<ZipMember> {
  const archive: Archive = { name, fd, lengthBytes };
  try {
    const reader = new ArchiveReader(fd);
    const zip = await fromRandomAccessReaderPromise(reader, lengthBytes, { autoClose: false });
    const entries = await readEntries(archive, zip);
    refuseAmbiguity(archive, entries);
    const entry = choose(archive, entries, wanted);
    requireReadable(archive, entry);
    return await locate(archive, zip, entry);
  } catch (cause) {
    if (isPatchVdiError(cause)) throw cause;
    const found = cause instanceof Error ? printable(cause.message, 300) : String(cause);
    throw odd(archive, 'the ZIP archive is damaged', { found, expected: 'an intact archive' });
  }
}
