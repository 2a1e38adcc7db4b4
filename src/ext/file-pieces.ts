import { MIB } from '../units.js';
import { invariant } from '../errors.js';
import { fileExtents } from './file-extents.js';
import { corrupt, type ExtFilesystem } from './filesystem.js';
import { describeInode, type InodeFacts } from './inode-facts.js';
import { fileSizeBytes, inodeOffset, largestFileBytes, type RawInode } from './inode.js';
import { readInlineData, reportInlineSize } from './inline-data.js';
import { INODE_FLAG_ENCRYPT } from './file-layout.js';

/** A piece of a file's content. The pieces of a file cover it without gap or overlap, in order. */
export interface FilePiece {
  /** Within the file, in bytes. */
  readonly fileOffset: number;
  /** In bytes; not 0. */
  readonly length: number;
  /** On the disk, in bytes; undefined: zeros (a hole, never written, behind the last block), unless `inline` is there. */
  readonly diskOffset: number | undefined;
  /** The content itself, which stands in the inode; `length` bytes, the caller's. */
  readonly inline?: Uint8Array;
}

const HAS_CONTENT = new Set(['regular', 'directory', 'symlink', 'unknown']);

function requireReadable(filesystem: ExtFilesystem, facts: InodeFacts, raw: RawInode): void {
  const structure = `inode ${facts.inodeNumber}`;
  const refuse = (found: string, expected: string): never => {
    throw corrupt(structure, inodeOffset(filesystem, facts.inodeNumber), found, expected);
  };
  const { superblock } = filesystem;
  if (fileSizeBytes(superblock, raw) > largestFileBytes(superblock)) {
    refuse(
      `i_size 0x${raw.i_size_high.toString(16)} 0x${raw.i_size_lo.toString(16)}`,
      `at most ${largestFileBytes(superblock)} bytes`,
    );
  }
  if ((facts.flags & INODE_FLAG_ENCRYPT) !== 0) refuse('an encrypted file', 'one that is not encrypted');
  if (!HAS_CONTENT.has(facts.type)) refuse(`a ${facts.type} of ${facts.sizeBytes} bytes`, 'no content');
  if (facts.storage === 'fast symlink' && facts.sizeBytes >= raw.i_block.length) {
    refuse(`a symbolic link of ${facts.sizeBytes} bytes without blocks`, `below ${raw.i_block.length}`);
  }
}

/** Content that stands in the inode, as one piece. */
async function inlineContent(
  filesystem: ExtFilesystem,
  facts: InodeFacts,
  raw: RawInode,
): Promise<Uint8Array> {
  const { sizeBytes } = facts;
  if (facts.storage === 'fast symlink') return new Uint8Array(raw.i_block.subarray(0, sizeBytes));
  const data = await readInlineData(filesystem, facts.inodeNumber);
  // An attribute that is missing is the reason for what is missing.
  if (data.valueOffset > data.blockOffset) reportInlineSize(filesystem, facts.inodeNumber, sizeBytes, data);
  return data.bytes.subarray(0, sizeBytes);
}

async function* blockPieces(
  filesystem: ExtFilesystem,
  { inodeNumber, sizeBytes }: InodeFacts,
  raw: RawInode,
): AsyncGenerator<FilePiece> {
  const { blockBytes } = filesystem.superblock;
  // Zeros up to here have been met but not been told yet.
  let told = 0;
  for await (const { fileBlock, fsBlock, blockCount, unwritten } of fileExtents(
    filesystem,
    inodeNumber,
    raw,
  )) {
    const start = fileBlock * blockBytes;
    // The rest of the map is walked all the same: its checksums count.
    if (unwritten || start >= sizeBytes) continue;
    if (start > told) yield { fileOffset: told, length: start - told, diskOffset: undefined };
    const length = Math.min(blockCount * blockBytes, sizeBytes - start);
    yield { fileOffset: start, length, diskOffset: fsBlock * blockBytes };
    told = start + length;
  }
  if (told < sizeBytes) yield { fileOffset: told, length: sizeBytes - told, diskOffset: undefined };
}

/**
 * Where each byte of a file is, from 0 to its size, merged. Holes, unwritten extents and what lies behind the last block
 * are zeros; what the blocks hold behind the file's end is not told. Memory does not grow with the file.
 *
 * Reports what `fileExtents` reports, `inline-data-missing` and `inline-data-size`.
 *
 * @throws PatchVdiError `image` for a damaged map or size, an encrypted file, or one that has no content (devices)
 */
export async function* filePieces(
  filesystem: ExtFilesystem,
  inodeNumber: number,
  raw: RawInode,
): AsyncGenerator<FilePiece> {
  const facts = describeInode(filesystem, inodeNumber, raw);
  const { sizeBytes, storage, type } = facts;
  if (sizeBytes === 0 && !HAS_CONTENT.has(type)) return;
  requireReadable(filesystem, facts, raw);
  if (storage === 'extents' || storage === 'block map') {
    yield* blockPieces(filesystem, facts, raw);
    return;
  }
  const inline = await inlineContent(filesystem, facts, raw);
  const { length } = inline;
  if (length > 0) yield { fileOffset: 0, length, diskOffset: undefined, inline };
  if (length < sizeBytes) yield { fileOffset: length, length: sizeBytes - length, diskOffset: undefined };
}

const READ_BYTES = MIB;
const MAX_READ_FILE_BYTES = 64 * MIB;

export interface ReadFileOptions {
  /** A longer file is refused; 64 MiB at most. */
  readonly maxBytes: number;
}

/**
 * A whole file in memory, for small ones: the target of a symbolic link.
 *
 * @returns the caller's buffer
 * @throws PatchVdiError `image` for a file that is longer than `maxBytes`, or for what {@link filePieces} refuses
 */
export async function readFile(
  filesystem: ExtFilesystem,
  inodeNumber: number,
  raw: RawInode,
  { maxBytes }: ReadFileOptions,
): Promise<Uint8Array> {
  invariant(maxBytes <= MAX_READ_FILE_BYTES, 'whole files are read only when they are small');
  const { sizeBytes } = describeInode(filesystem, inodeNumber, raw);
  if (sizeBytes > maxBytes) {
    const offset = inodeOffset(filesystem, inodeNumber);
    throw corrupt(`inode ${inodeNumber}`, offset, `a file of ${sizeBytes} bytes`, `${maxBytes} at most`);
  }
  const content = new Uint8Array(sizeBytes);
  for await (const piece of filePieces(filesystem, inodeNumber, raw)) {
    const { fileOffset, length, diskOffset, inline } = piece;
    if (inline !== undefined) content.set(inline, fileOffset);
    if (diskOffset === undefined) continue;
    for (let done = 0; done < length; done += READ_BYTES) {
      const part = await filesystem.read(diskOffset + done, Math.min(READ_BYTES, length - done));
      content.set(part, fileOffset + done);
    }
  }
  return content;
}
