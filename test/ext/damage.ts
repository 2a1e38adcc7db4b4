/* A good image, one thing in it changed with its checksum put right, and all that our reader then has to say. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PatchVdiError, isPatchVdiError } from '../../src/errors.js';
import { crc32c } from '../../src/ext/crc32c.js';
import { DIRECTORY_TAIL_FILE_TYPE, directoryEntryTail, extentTail } from '../../src/ext/file-layout.js';
import { fileExtents } from '../../src/ext/file-extents.js';
import { openExt, type ExtFilesystem } from '../../src/ext/filesystem.js';
import { filePieces } from '../../src/ext/file-pieces.js';
import { inodeChecksum, inodeChecksumSeed } from '../../src/ext/inode-checksum.js';
import { inodeOffset, readInode, readInodeBytes } from '../../src/ext/inode.js';
import { extentHeader, extentLeaf, inode, type inode as InodeTable } from '../../src/ext/layout.js';
import { lookUp, walk } from '../../src/ext/paths.js';
import { viewOf, type StructValues } from '../../src/struct.js';
import { KIB, MIB } from '../../src/units.js';
import { change } from '../oracles/debugfs.js';
import { formatSample } from '../oracles/sample-image.js';

/** An image in memory. */
export class Disk {
  readonly bytes: Buffer;
  reads = 0;
  /** A reader that wants more is caught in a loop. */
  maxReads = Infinity;

  constructor(bytes: Buffer) {
    this.bytes = Buffer.from(bytes);
  }

  async open(report: ExtFilesystem['report'] = () => undefined): Promise<ExtFilesystem> {
    const read = (offset: number, length: number): Promise<Uint8Array> => {
      this.reads += 1;
      if (this.reads > this.maxReads) throw new Error('the reader does not come to an end');
      const found = this.bytes.subarray(offset, offset + length);
      if (found.length === length) return Promise.resolve(found);
      return Promise.reject(new PatchVdiError('image', 'the image ends too early', { context: { offset } }));
    };
    return await openExt(read, { report });
  }

  /** Changes fields of an inode. */
  async setInode(
    path: string,
    values: Partial<StructValues<(typeof InodeTable)['rows']>>,
    fixChecksum = true,
  ): Promise<void> {
    const filesystem = await this.open();
    const inodeNumber = (await lookUp(filesystem, path)) ?? 0;
    const offset = inodeOffset(filesystem, inodeNumber);
    for (const [name, value] of Object.entries(values)) {
      inode.set(this.bytes.subarray(offset), name as keyof typeof values, value);
    }
    if (fixChecksum) await this.fixInode(inodeNumber);
  }

  async fixInode(inodeNumber: number): Promise<void> {
    const filesystem = await this.open();
    const { offset, bytes } = await readInodeBytes(filesystem, inodeNumber);
    const checksum = inodeChecksum(filesystem.superblock, inodeNumber, bytes);
    if (checksum === undefined) return;
    const field = this.bytes.subarray(offset);
    inode.set(field, 'l_i_checksum_lo', checksum.computed % 2 ** 16);
    inode.set(field, 'i_checksum_hi', Math.floor(checksum.computed / 2 ** 16));
  }

  /** The place of the first disk block of a file, and of the first block of its tree, in bytes. */
  async blocksOf(path: string): Promise<{ data: number; tree: number; seed: number }> {
    const filesystem = await this.open();
    const { blockBytes } = filesystem.superblock;
    const inodeNumber = (await lookUp(filesystem, path)) ?? 0;
    const raw = await readInode(filesystem, inodeNumber);
    const tree: number[] = [];
    const data: number[] = [];
    const onTreeBlock = (block: number): void => void tree.push(block);
    for await (const extent of fileExtents(filesystem, inodeNumber, raw, { onTreeBlock })) {
      data.push(extent.fsBlock);
    }
    const seed = inodeChecksumSeed(filesystem.superblock, inodeNumber, raw.i_generation) ?? 0;
    return { data: (data[0] ?? 0) * blockBytes, tree: (tree[0] ?? 0) * blockBytes, seed };
  }

  /** Changes the first block of a folder, and puts the checksum at its end right. */
  async changeFolder(path: string, edit: (block: Buffer) => void, fixChecksum = true): Promise<void> {
    const { data, seed } = await this.blocksOf(path);
    const block = this.bytes.subarray(data, data + BLOCK_BYTES);
    edit(block);
    const at = BLOCK_BYTES - directoryEntryTail.sizeBytes;
    if (!fixChecksum || block[at + directoryEntryTail.rows.det_reserved_ft[0]] !== DIRECTORY_TAIL_FILE_TYPE)
      return;
    directoryEntryTail.set(block.subarray(at), 'det_checksum', crc32c(seed, block.subarray(0, at)));
  }

  /** Changes the first block of an extent tree, and puts the checksum at its end right. */
  async changeTree(path: string, edit: (block: Buffer) => void, fixChecksum = true): Promise<void> {
    const { tree, seed } = await this.blocksOf(path);
    const block = this.bytes.subarray(tree, tree + BLOCK_BYTES);
    const maxEntries = extentHeader.decode(block).eh_max;
    edit(block);
    if (!fixChecksum) return;
    const at = extentHeader.sizeBytes + maxEntries * extentLeaf.sizeBytes;
    extentTail.set(block.subarray(at), 'et_checksum', crc32c(seed, block.subarray(0, at)));
  }
}

export const BLOCK_BYTES = 4 * KIB;

/** `patch` of many extents, a folder `many` of several blocks, a folder `sub` with the file `deep`. */
export function makeGood(folder: string, ...options: readonly string[]): string {
  const image = formatSample(join(folder, 'good.raw'), 16 * MIB, '-N', '2000', ...options);
  const payload = join(folder, 'payload');
  writeFileSync(payload, Buffer.alloc(100 * BLOCK_BYTES, 0x5a));
  change(
    image,
    `write ${payload} patch`,
    ...Array.from({ length: 40 }, (_, index) => `punch /patch ${1 + 2 * index} ${1 + 2 * index}`),
    'mkdir sub',
    'mkdir sub/below',
    'mkdir many',
    'cd /sub',
    `write ${payload} deep`,
    'cd /many',
    ...Array.from({ length: 100 }, (_, index) => `mknod ${'long-name-'.repeat(6)}${index} p`),
  );
  return image;
}

/** Everything that is wrong, as far as reading all of it tells: codes of findings, and what errors there are. */
export async function complaintsAbout(disk: Disk): Promise<string[]> {
  const complaints: string[] = [];
  const filesystem = await disk.open(({ code }) => void complaints.push(code));
  let covered = 0;
  for await (const { facts } of walk(filesystem)) {
    if (facts.type !== 'regular') continue;
    try {
      const raw = await readInode({ ...filesystem, report: () => undefined }, facts.inodeNumber);
      for await (const piece of filePieces(filesystem, facts.inodeNumber, raw)) covered += piece.length;
    } catch (error) {
      if (!isPatchVdiError(error) || error.kind !== 'image') throw error;
      complaints.push(`error: ${error.message}`);
    }
  }
  // The premise: there was something to read.
  if (covered === 0) complaints.push('nothing was read');
  return complaints;
}

/** A number in the image, little-endian. */
export function setU32(bytes: Uint8Array, at: number, value: number): void {
  viewOf(bytes).setUint32(at, value, true);
}
