import { corrupt, type ExtFilesystem } from '../filesystem.js';
import { readInode } from '../inode.js';
import { readFileBlocks } from '../file-blocks.js';
import { FILE_TYPE_REGULAR, directoryEntryHead } from '../layout.js';
import { roundUp } from '../../units.js';
import type { BytePatch } from './patch.js';

/** Bytes of an entry with a name of that length ("Linear Directories": a multiple of 4). */
function entryBytes(nameLength: number): number {
  return roundUp(directoryEntryHead.sizeBytes + nameLength, 4);
}

/** Splits the last entry of a block of a folder. @returns false when there is no room */
function addToBlock(block: Uint8Array, inodeNumber: number, name: Uint8Array): boolean {
  let at = 0;
  let head = directoryEntryHead.decode(block, at);
  while (head.rec_len >= directoryEntryHead.sizeBytes && at + head.rec_len < block.length) {
    at += head.rec_len;
    head = directoryEntryHead.decode(block, at);
  }
  const used = head.inode === 0 ? 0 : entryBytes(head.name_len);
  const room = head.rec_len - used;
  if (at + head.rec_len !== block.length || room < entryBytes(name.length)) return false;
  if (used > 0) directoryEntryHead.set(block.subarray(at), 'rec_len', used);
  const entry = directoryEntryHead.encode({
    inode: inodeNumber,
    rec_len: room,
    name_len: name.length,
    file_type: FILE_TYPE_REGULAR,
  });
  block.set(entry, at + used);
  block.set(name, at + used + entry.length);
  return true;
}

/** Enters a file into the first block of a folder: a fresh root has nothing but `.`, `..` and `lost+found`. */
export async function addDirectoryEntry(
  filesystem: ExtFilesystem,
  folderInodeNumber: number,
  inodeNumber: number,
  name: string,
): Promise<BytePatch> {
  const { superblock, read } = filesystem;
  const { extents } = await readFileBlocks(filesystem, await readInode(filesystem, folderInodeNumber));
  const offset = (extents[0]?.fsBlock ?? 0) * superblock.blockBytes;
  const block = new Uint8Array(await read(offset, superblock.blockBytes));
  if (addToBlock(block, inodeNumber, new TextEncoder().encode(name))) return { offset, bytes: block };
  throw corrupt(`directory ${folderInodeNumber}`, offset, 'no room at its end', `room for "${name}"`);
}
