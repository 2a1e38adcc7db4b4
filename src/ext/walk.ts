import type { FindingCode } from '../finding-codes.js';
import { isPatchVdiError } from '../errors.js';
import { MIB } from '../units.js';
import { printableBytes } from './printable-bytes.js';
import { directoryEntries, type DirectoryEntry } from './directory.js';
import type { ExtFilesystem } from './filesystem.js';
import { FindingCap } from './finding-cap.js';
import { describeInode, type FileType, type InodeFacts } from './inode-facts.js';
import { inodeOffset, readInode, reportDeleted, type RawInode } from './inode.js';
import { INODE_FLAG_ENCRYPT } from './file-layout.js';
import { ROOT_INODE_NUMBER } from './layout.js';

/** A file or folder of a listing. */
export interface WalkedEntry {
  /** From the root, without a slash in front; the names as UTF-8, unescaped. */
  readonly path: string;
  readonly entry: DirectoryEntry;
  readonly facts: InodeFacts;
}

export interface WalkOptions {
  /** The listing ends with the warning `listing-cut` after so many. */
  readonly maxEntries?: number;
  /** Of the deepest entries that are told, 1 for those in the root; folders there are not entered (`listing-depth`). */
  readonly maxDepth?: number;
}

const DEFAULT_MAX_ENTRIES = 100_000;
const DEFAULT_MAX_DEPTH = 64;
/** Blocks of folders that are read beyond one for each entry. */
const MAX_MORE_BLOCKS = 65_536;
/** Of all paths together: a hundred thousand names, each below 64 folders with names of 255 bytes, would fill gigabytes. */
const MAX_PATH_CHARACTERS = 16 * MIB;

interface OpenFolder {
  readonly inodeNumber: number;
  /** With a slash at its end; empty for the root. */
  readonly prefix: string;
  readonly entries: AsyncGenerator<DirectoryEntry>;
}

/** Runs a step; what cannot be read is reported under that code, and the listing goes on without it. */
async function readPast<T>(
  filesystem: ExtFilesystem,
  code: FindingCode,
  structure: string,
  step: () => Promise<T>,
): Promise<T | undefined> {
  try {
    return await step();
  } catch (error) {
    if (!isPatchVdiError(error) || error.kind !== 'image') throw error;
    const { offset, found = error.message, expected = 'something that can be read' } = error.context;
    filesystem.report({ code, severity: 'error', structure, space: 'disk', offset, found, expected });
    return undefined;
  }
}

/** Whether a folder is to be entered; reports why not. */
function mayEnter(
  { report }: ExtFilesystem,
  facts: InodeFacts,
  offset: number,
  met: Set<number>,
  depth: number,
  maxDepth: number,
): boolean {
  const { inodeNumber } = facts;
  const tell = (code: FindingCode, severity: 'error' | 'warning', found: string, expected: string): false => {
    const structure = `directory ${inodeNumber}`;
    report({ code, severity, structure, space: 'disk', offset, found, expected });
    return false;
  };
  if (met.has(inodeNumber)) {
    return tell('directory-cycle', 'error', 'a folder with two names', 'one name for each folder');
  }
  met.add(inodeNumber);
  if ((facts.flags & INODE_FLAG_ENCRYPT) !== 0) {
    return tell('directory-encrypted', 'warning', 'an encrypted folder', 'one that can be read');
  }
  if (depth >= maxDepth) {
    return tell('listing-depth', 'warning', `a folder at depth ${depth}`, `depths below ${maxDepth}`);
  }
  return true;
}

/**
 * Everything below the root, folder by folder, without `.` and `..`. What cannot be read is reported and passed over.
 * In memory is one block of each folder on the way, and a number for each folder that was met. It reads no more blocks
 * of folders than the file system has, one for each entry and 65,536, and those of one folder: each of thousands of
 * folders could claim the same.
 *
 * Reports `directory-cycle` for a folder that is met again, which is not entered; `directory-blocks` when folders share
 * so many blocks that the listing ends; `directory-unreadable` and `inode-unreadable`; the warnings
 * `directory-encrypted`, `directory-entry-type`, `deleted-inode`, `listing-cut` and `listing-depth`; and what
 * `directoryEntries` and `readInode` report. Of each code the first 20, then how many more.
 */
export async function* walk(
  filesystem: ExtFilesystem,
  options: WalkOptions = {},
): AsyncGenerator<WalkedEntry> {
  const cap = new FindingCap(filesystem.report);
  yield* walkAll({ ...filesystem, report: (finding) => cap.report(finding) }, options);
  cap.finish();
}

async function* walkAll(
  filesystem: ExtFilesystem,
  { maxEntries = DEFAULT_MAX_ENTRIES, maxDepth = DEFAULT_MAX_DEPTH }: WalkOptions,
): AsyncGenerator<WalkedEntry> {
  const met = new Set([ROOT_INODE_NUMBER]);
  const open = (inodeNumber: number, prefix: string, entries: AsyncGenerator<DirectoryEntry>): OpenFolder => {
    return { inodeNumber, prefix, entries };
  };
  const maxBlocks = Math.min(filesystem.superblock.blockCount, maxEntries + MAX_MORE_BLOCKS);
  let blocks = 0;
  const entriesOf = (inodeNumber: number, raw?: RawInode) =>
    directoryEntries(filesystem, inodeNumber, raw, () => void (blocks += 1));
  const path = [open(ROOT_INODE_NUMBER, '', entriesOf(ROOT_INODE_NUMBER))];
  let count = 0;
  let characters = 0;
  for (let folder = path.at(-1); folder !== undefined; folder = path.at(-1)) {
    const { entries, prefix } = folder;
    const structure = `directory ${folder.inodeNumber}`;
    const step = await readPast(filesystem, 'directory-unreadable', structure, () => entries.next());
    if (blocks > maxBlocks) {
      reportBlocks(filesystem, maxBlocks);
      return;
    }
    if (step === undefined || step.done === true) {
      path.pop();
      continue;
    }
    const entry = step.value;
    const { inodeNumber, name } = entry;
    if (name === '.' || name === '..') continue;
    characters += prefix.length + name.length;
    if (count === maxEntries || characters > MAX_PATH_CHARACTERS) {
      reportCut(filesystem, maxEntries);
      return;
    }
    count += 1;
    const inode = `inode ${inodeNumber}`;
    const raw = await readPast(filesystem, 'inode-unreadable', inode, () =>
      readInode(filesystem, inodeNumber),
    );
    if (raw === undefined) continue;
    await reportDeleted(filesystem, inodeNumber, raw);
    const facts = describeInode(filesystem, inodeNumber, raw);
    reportType(filesystem, entry, facts);
    yield { path: `${prefix}${name}`, entry, facts };
    if (facts.type !== 'directory') continue;
    const offset = inodeOffset(filesystem, inodeNumber);
    if (!mayEnter(filesystem, facts, offset, met, path.length, maxDepth)) continue;
    path.push(open(inodeNumber, `${prefix}${name}/`, entriesOf(inodeNumber, raw)));
  }
}

/** `file_type` of directory entries ("Directory Entries"), by their numbers. */
const ENTRY_TYPES: ReadonlyArray<FileType | undefined> = [
  undefined,
  'regular',
  'directory',
  'character device',
  'block device',
  'fifo',
  'socket',
  'symlink',
];

/** The type in an entry is there to spare a look into the inode; the inode decides. */
function reportType(
  filesystem: ExtFilesystem,
  entry: DirectoryEntry,
  { type, inodeNumber }: InodeFacts,
): void {
  const { fileType } = entry;
  if (fileType === 0 || type === 'unknown' || ENTRY_TYPES[fileType] === type) return;
  filesystem.report({
    code: 'directory-entry-type',
    severity: 'warning',
    structure: `directory entry ${printableBytes(entry.nameBytes)}`,
    space: 'disk',
    offset: inodeOffset(filesystem, inodeNumber),
    found: `file_type ${fileType}`,
    expected: `that of a ${type}`,
  });
}

function reportCut({ report }: ExtFilesystem, maxEntries: number): void {
  report({
    code: 'listing-cut',
    severity: 'warning',
    structure: 'listing',
    space: 'disk',
    offset: undefined,
    found: `more than ${maxEntries} files, or paths of more than ${MAX_PATH_CHARACTERS} characters in all`,
    expected: 'less',
  });
}

function reportBlocks({ report }: ExtFilesystem, maxBlocks: number): void {
  report({
    code: 'directory-blocks',
    severity: 'error',
    structure: 'listing',
    space: 'disk',
    offset: undefined,
    found: `folders of more than ${maxBlocks} blocks in all`,
    expected: 'less: each block in one folder',
  });
}
