import { corrupt, type ExtFilesystem } from './filesystem.js';
import { inodeSizeBytes } from './inode.js';
import { readFileBlocks } from './file-blocks.js';
import { directoryEntryHead } from './layout.js';
import { readInode } from './inode.js';

export interface DirectoryEntry {
  readonly inodeNumber: number;
  /** The name's bytes as UTF-8; never printed unescaped. */
  readonly name: string;
  /** 1 regular file, 2 directory, … (ext4 documentation, "Directory Entries"). */
  readonly fileType: number;
}

/** More entries than this in the root of a patch VDI is damage or malice. */
const MAX_DIRECTORY_BYTES = 16 * 1024 * 1024;

function decodeBlock(block: Uint8Array, blockOffset: number): DirectoryEntry[] {
  const entries: DirectoryEntry[] = [];
  let at = 0;
  while (at < block.length) {
    if (at + directoryEntryHead.sizeBytes > block.length) {
      throw corrupt(
        'a directory entry',
        blockOffset + at,
        `${block.length - at} bytes left`,
        'a whole entry',
      );
    }
    const head = directoryEntryHead.decode(block, at);
    const needed = directoryEntryHead.sizeBytes + head.name_len;
    if (head.rec_len < needed || head.rec_len % 4 !== 0 || at + head.rec_len > block.length) {
      const expected = `a multiple of 4 from ${needed} to ${block.length - at}`;
      throw corrupt('a directory entry', blockOffset + at, `rec_len ${head.rec_len}`, expected);
    }
    // Inode 0 marks an unused entry; the checksum at a block's end has that form, too.
    if (head.inode !== 0) {
      const name = block.subarray(at + directoryEntryHead.sizeBytes, at + needed);
      entries.push({
        inodeNumber: head.inode,
        name: new TextDecoder('utf-8', { ignoreBOM: true }).decode(name),
        fileType: head.file_type,
      });
    }
    at += head.rec_len;
  }
  return entries;
}

/**
 * All entries of a folder, read block by block; the index blocks of a hashed folder look like empty entries.
 *
 * @throws PatchVdiError `image` when an entry does not fit its block
 */
export async function readDirectory(
  filesystem: ExtFilesystem,
  inodeNumber: number,
): Promise<DirectoryEntry[]> {
  const raw = await readInode(filesystem, inodeNumber);
  const sizeBytes = inodeSizeBytes(raw);
  if (sizeBytes > MAX_DIRECTORY_BYTES) {
    throw corrupt(`directory ${inodeNumber}`, 0, `${sizeBytes} bytes`, `${MAX_DIRECTORY_BYTES} at most`);
  }
  const { blockBytes } = filesystem.superblock;
  const entries: DirectoryEntry[] = [];
  for (const extent of (await readFileBlocks(filesystem, raw)).extents) {
    for (let index = 0; index < extent.blockCount; index += 1) {
      if ((extent.fileBlock + index) * blockBytes >= sizeBytes || extent.unwritten) break;
      const offset = (extent.fsBlock + index) * blockBytes;
      entries.push(...decodeBlock(new Uint8Array(await filesystem.read(offset, blockBytes)), offset));
    }
  }
  return entries;
}
