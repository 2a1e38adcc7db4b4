import { PatchVdiError } from '../errors.js';
import { KIB } from '../units.js';
import { directoryEntries, type DirectoryEntry } from './directory.js';
import { readFile } from './file-pieces.js';
import type { ExtFilesystem } from './filesystem.js';
import { fileTypeOf } from './inode-facts.js';
import { inodeOffset, readInode, reportDeleted, type RawInode } from './inode.js';
import { INODE_FLAG_CASEFOLD, INODE_FLAG_ENCRYPT } from './file-layout.js';
import { ROOT_INODE_NUMBER } from './layout.js';
import { printableBytes } from './printable-bytes.js';

/** PATH_MAX of Linux. */
const MAX_TARGET_BYTES = 4 * KIB;

/** @throws PatchVdiError `usage` for a path that is not one from the root downwards */
function partsOf(path: string): string[] {
  const relative = path.startsWith('/') ? path.slice(1) : path;
  if (relative === '') return [];
  const parts = relative.split('/');
  const odd = parts.find((part) => part === '' || part === '.' || part === '..' || part.includes('\0'));
  if (odd === undefined) return parts;
  throw new PatchVdiError('usage', 'this is not a path within an image', {
    context: {
      operation: 'look up a path',
      found: odd === '' ? 'an empty name' : `the name ${printableBytes(Buffer.from(odd))}`,
      expected: 'names from the root downwards, with one slash between them',
    },
  });
}

/**
 * Where a symbolic link points, for people: `a link to /a/b`.
 *
 * @throws PatchVdiError `image` when that cannot be read
 */
export async function describeLink(
  filesystem: ExtFilesystem,
  inodeNumber: number,
  raw: RawInode,
): Promise<string> {
  if ((raw.i_flags & INODE_FLAG_ENCRYPT) !== 0) return 'an encrypted link';
  const target = await readFile(filesystem, inodeNumber, raw, { maxBytes: MAX_TARGET_BYTES });
  return `a link to ${printableBytes(target)}`;
}

/** @throws PatchVdiError `image`, always */
async function refuseLink(filesystem: ExtFilesystem, inodeNumber: number, raw: RawInode): Promise<never> {
  const found = await describeLink(filesystem, inodeNumber, raw);
  throw new PatchVdiError('image', 'the path leads over a symbolic link, which is not followed', {
    context: {
      operation: 'look up a path',
      offset: inodeOffset(filesystem, inodeNumber),
      found,
      expected: 'a file or folder',
    },
    hint: 'give the path that the link points to',
  });
}

/** About what a kernel makes of a name with `casefold`: canonically decomposed, in lower case, nothing invisible. */
function foldedName(name: string): string {
  return name
    .normalize('NFD')
    .replaceAll(/\p{Default_Ignorable_Code_Point}/gu, '')
    .toLowerCase();
}

/**
 * The whole folder is looked through. Of two entries of one name the first counts here; a kernel with an index takes the
 * one whose hash leads to it, and with `casefold` any that is the same in lower case: it may run another file.
 */
async function findEntry(
  filesystem: ExtFilesystem,
  folder: number,
  raw: RawInode,
  name: string,
): Promise<DirectoryEntry | undefined> {
  const bytes = Buffer.from(name);
  const folded = (raw.i_flags & INODE_FLAG_CASEFOLD) === 0 ? undefined : foldedName(name);
  let found: DirectoryEntry | undefined;
  let rival: DirectoryEntry | undefined;
  for await (const entry of directoryEntries(filesystem, folder, raw)) {
    const isSame = bytes.equals(entry.nameBytes);
    if (isSame && found === undefined) found = entry;
    else if (isSame || (folded !== undefined && foldedName(entry.name) === folded)) rival ??= entry;
  }
  if (found !== undefined && rival !== undefined) reportRival(filesystem, folder, found, rival);
  return found;
}

function reportRival(
  filesystem: ExtFilesystem,
  folder: number,
  entry: DirectoryEntry,
  rival: DirectoryEntry,
): void {
  const name = printableBytes(entry.nameBytes);
  filesystem.report({
    code: 'directory-entry-twice',
    severity: 'error',
    structure: `directory ${folder}`,
    space: 'disk',
    offset: inodeOffset(filesystem, folder),
    found: `${name} as inode ${entry.inodeNumber}, ${printableBytes(rival.nameBytes)} as inode ${rival.inodeNumber}`,
    expected: 'each name once: a kernel may take the other one',
  });
}

/**
 * The inode of a path from the root, by the exact bytes of its names (also in folders with `casefold`). An empty path, or
 * `/`, is the root.
 *
 * Reports `directory-entry-twice`, `deleted-inode` (a warning), and what `directoryEntries` and `readInode` report.
 *
 * @param path in UTF-8, with `/` between the names, with or without one in front
 * @param options `mayEndInLink`: a symbolic link at the end is what was looked for; it is not followed either
 * @returns undefined when there is no such name, or a name within the path is no folder
 * @throws PatchVdiError `usage` for `.`, `..` and empty names; `image` for a symbolic link, which says where it points,
 *   and for what cannot be read
 */
export async function lookUp(
  filesystem: ExtFilesystem,
  path: string,
  { mayEndInLink = false } = {},
): Promise<number | undefined> {
  let inodeNumber = ROOT_INODE_NUMBER;
  const parts = partsOf(path);
  let raw = await readInode(filesystem, inodeNumber);
  for (const [index, part] of parts.entries()) {
    if (fileTypeOf(raw) !== 'directory') return undefined;
    const entry = await findEntry(filesystem, inodeNumber, raw, part);
    if (entry === undefined) return undefined;
    ({ inodeNumber } = entry);
    raw = await readInode(filesystem, inodeNumber);
    await reportDeleted(filesystem, inodeNumber, raw);
    const isTheEnd = index === parts.length - 1;
    if (fileTypeOf(raw) === 'symlink' && !(isTheEnd && mayEndInLink))
      await refuseLink(filesystem, inodeNumber, raw);
  }
  return inodeNumber;
}
export { walk, type WalkOptions, type WalkedEntry } from './walk.js';
