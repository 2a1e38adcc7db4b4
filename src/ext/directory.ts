import { MIB } from '../units.js';
import { areaEntries, type DirectoryEntry, type EntryFault } from './directory-block.js';
import { directoryChecksum } from './directory-checksum.js';
import { fileExtents, type Extent } from './file-extents.js';
import { corrupt, type ExtFilesystem } from './filesystem.js';
import { FindingCap } from './finding-cap.js';
import { inodeChecksumSeed } from './inode-checksum.js';
import { describeInode, fileTypeOf } from './inode-facts.js';
import { inodeIsIntact, inodeOffset, readInode, type RawInode } from './inode.js';
import { readInlineData, reportInlineSize } from './inline-data.js';
import {
  FILE_TYPE_DIRECTORY,
  INODE_FLAG_ENCRYPT,
  INODE_FLAG_INDEX,
  inlineDirectoryHead,
} from './file-layout.js';

export type { DirectoryEntry } from './directory-block.js';

/** More entries than this in the root of a patch VDI is damage or malice. */
const MAX_COLLECTED_BYTES = 16 * MIB;
/** More than a million names; larger ones are damage or malice, and would be read for hours. */
const MAX_FOLDER_BYTES = 64 * MIB;

/** A folder while its entries are told. */
interface Folder {
  readonly filesystem: ExtFilesystem;
  readonly inodeNumber: number;
  readonly raw: RawInode;
  readonly sizeBytes: number;
  readonly tell: (fault: FolderFault) => void;
}

type FolderFault = Omit<EntryFault, 'code'> & {
  readonly code: EntryFault['code'] | 'directory-checksum' | 'directory-hole' | 'directory-size';
};

const hex = (value: number): string => `0x${value.toString(16)}`;

/** @returns false when the block is not what was written: whatever else is wrong in it has that reason */
async function blockIsIntact(
  folder: Folder,
  block: Uint8Array,
  fileBlock: number,
  offset: number,
): Promise<boolean> {
  const { filesystem, inodeNumber, raw } = folder;
  const seed = inodeChecksumSeed(filesystem.superblock, inodeNumber, raw.i_generation);
  if (seed === undefined) return true;
  const hashed = (raw.i_flags & INODE_FLAG_INDEX) !== 0;
  const { at, stored, computed } = directoryChecksum(seed, block, fileBlock, hashed);
  if (stored !== undefined && stored === computed) return true;
  const found = stored === undefined ? 'no checksum' : `checksum ${hex(stored)}`;
  // The reason was told then.
  if (!(await inodeIsIntact(filesystem, inodeNumber))) return false;
  const expected = computed === undefined ? 'a checksum' : hex(computed);
  folder.tell({ code: 'directory-checksum', offset: offset + at, found, expected });
  return false;
}

function reportHole(folder: Folder, fileBlock: number, endBlock: number): void {
  const { filesystem, inodeNumber } = folder;
  const offset = inodeOffset(filesystem, inodeNumber);
  const found = `no blocks from file block ${fileBlock} to ${endBlock - 1}`;
  folder.tell({ code: 'directory-hole', offset, found, expected: 'a folder without holes' });
}

/** Kernels before 5.19 go wherever the index of a folder leads, also behind its end. */
function reportBehindEnd(folder: Folder, { fileBlock, blockCount }: Extent): void {
  const { filesystem, inodeNumber, sizeBytes } = folder;
  const offset = inodeOffset(filesystem, inodeNumber);
  const end = (fileBlock + blockCount) * filesystem.superblock.blockBytes;
  folder.tell({
    code: 'directory-size',
    offset,
    found: `${sizeBytes} bytes`,
    expected: `${end}, all its blocks`,
  });
}

async function* blockEntries(folder: Folder, onBlock: () => void): AsyncGenerator<DirectoryEntry> {
  const { filesystem, inodeNumber, raw, sizeBytes } = folder;
  const { superblock, read } = filesystem;
  const { blockBytes } = superblock;
  if (sizeBytes % blockBytes !== 0) {
    const offset = inodeOffset(filesystem, inodeNumber);
    const found = `${sizeBytes} bytes`;
    folder.tell({ code: 'directory-size', offset, found, expected: `a multiple of ${blockBytes}` });
  }
  const endBlock = Math.ceil(sizeBytes / blockBytes);
  let next = 0;
  for await (const extent of fileExtents(filesystem, inodeNumber, raw)) {
    if (extent.fileBlock + extent.blockCount > endBlock) reportBehindEnd(folder, extent);
    if (extent.unwritten || extent.fileBlock >= endBlock) continue;
    if (extent.fileBlock > next) reportHole(folder, next, extent.fileBlock);
    next = Math.min(extent.fileBlock + extent.blockCount, endBlock);
    for (let fileBlock = extent.fileBlock; fileBlock < next; fileBlock += 1) {
      const offset = (extent.fsBlock + fileBlock - extent.fileBlock) * blockBytes;
      onBlock();
      const block = new Uint8Array(await read(offset, blockBytes));
      const intact = await blockIsIntact(folder, block, fileBlock, offset);
      yield* areaEntries(superblock, block, offset, intact ? folder.tell : () => undefined);
    }
  }
  if (next < endBlock) reportHole(folder, next, endBlock);
}

/** A folder in its inode: the parent's number instead of `.` and `..`, then entries, and more in the attribute. */
async function* inlineEntries(folder: Folder): AsyncGenerator<DirectoryEntry> {
  const { filesystem, inodeNumber, sizeBytes } = folder;
  const data = await readInlineData(filesystem, inodeNumber);
  if (data.valueOffset > data.blockOffset) reportInlineSize(filesystem, inodeNumber, sizeBytes, data);
  const { parent } = inlineDirectoryHead.decode(data.bytes);
  const implied = (name: string, number: number): DirectoryEntry => {
    return { inodeNumber: number, name, nameBytes: Buffer.from(name), fileType: FILE_TYPE_DIRECTORY };
  };
  yield implied('.', inodeNumber);
  yield implied('..', parent);
  const { sizeBytes: headBytes } = inlineDirectoryHead;
  const inBlock = data.bytes.subarray(headBytes, data.blockBytes);
  yield* areaEntries(filesystem.superblock, inBlock, data.blockOffset + headBytes, folder.tell);
  const inValue = data.bytes.subarray(data.blockBytes);
  yield* areaEntries(filesystem.superblock, inValue, data.valueOffset, folder.tell);
}

/**
 * The entries of a folder, `.` and `..` too, in the order in which they stand, one block in memory at a time. The index
 * of a hashed folder is passed over: its blocks look like empty entries.
 *
 * Reports `directory-checksum`, `directory-entry`, `directory-entry-inode`, `directory-entry-name`, `directory-hole`,
 * `directory-size`, and what `fileExtents` and `readInlineData` report.
 *
 * @param raw the inode, when it was read before
 * @param onBlock is told of each block of entries that is read
 * @throws PatchVdiError `image` when it is no folder, is encrypted or larger than 64 MiB, or its map is damaged
 */
export async function* directoryEntries(
  filesystem: ExtFilesystem,
  inodeNumber: number,
  raw?: RawInode,
  onBlock: () => void = () => undefined,
): AsyncGenerator<DirectoryEntry> {
  const inode = raw ?? (await readInode(filesystem, inodeNumber));
  const refuse = (found: string, expected: string): never => {
    throw corrupt(`directory ${inodeNumber}`, inodeOffset(filesystem, inodeNumber), found, expected);
  };
  const type = fileTypeOf(inode);
  if (type !== 'directory') refuse(`a file of type ${type}`, 'a directory');
  if ((inode.i_flags & INODE_FLAG_ENCRYPT) !== 0)
    refuse('an encrypted directory', 'one that is not encrypted');
  const { sizeBytes, storage } = describeInode(filesystem, inodeNumber, inode);
  if (sizeBytes > MAX_FOLDER_BYTES) refuse(`${sizeBytes} bytes`, `at most ${MAX_FOLDER_BYTES}`);
  // A folder with nothing but damage is not reported block by block.
  const cap = new FindingCap(filesystem.report);
  const tell = (fault: FolderFault): void =>
    cap.report({ ...fault, severity: 'error', structure: `directory ${inodeNumber}`, space: 'disk' });
  const folder: Folder = { filesystem, inodeNumber, raw: inode, sizeBytes, tell };
  yield* storage === 'inline' ? inlineEntries(folder) : blockEntries(folder, onBlock);
  cap.finish();
}

/**
 * All entries of a small folder in memory.
 *
 * @throws PatchVdiError `image` for one of more than 16 MiB, and as {@link directoryEntries}
 */
export async function readDirectory(
  filesystem: ExtFilesystem,
  inodeNumber: number,
): Promise<DirectoryEntry[]> {
  const raw = await readInode(filesystem, inodeNumber);
  const { sizeBytes } = describeInode(filesystem, inodeNumber, raw);
  if (sizeBytes > MAX_COLLECTED_BYTES) {
    const offset = inodeOffset(filesystem, inodeNumber);
    const expected = `${MAX_COLLECTED_BYTES} at most`;
    throw corrupt(`directory ${inodeNumber}`, offset, `${sizeBytes} bytes`, expected);
  }
  const entries: DirectoryEntry[] = [];
  for await (const entry of directoryEntries(filesystem, inodeNumber, raw)) entries.push(entry);
  return entries;
}
