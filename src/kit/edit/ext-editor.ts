import { invariant } from '../../errors.js';
import { crc32c } from '../../ext/crc32c.js';
import { directoryChecksum } from '../../ext/directory-checksum.js';
import { readDirectory } from '../../ext/directory.js';
import { descriptorChecksum } from '../../ext/features.js';
import { readFileBlocks } from '../../ext/file-blocks.js';
import type { FileMap } from '../../ext/file-extents.js';
import { GOOD_OLD_INODE_BYTES, directoryEntryTail } from '../../ext/file-layout.js';
import { openExt, type ExtFilesystem } from '../../ext/filesystem.js';
import { inodeChecksum, inodeChecksumSeed } from '../../ext/inode-checksum.js';
import { inodeOffset, readInode, type RawInode } from '../../ext/inode.js';
import {
  ROOT_INODE_NUMBER,
  SUPERBLOCK_OFFSET_BYTES,
  groupDescriptor,
  inode,
  superBlock,
} from '../../ext/layout.js';
import { viewOf } from '../../struct.js';
import type { DiskFile } from '../disk-file.js';

/*
 * Changes single fields of an ext file system and puts the checksum over them right again, so that what is wrong
 * afterwards is that field and nothing else. Whoever wants a wrong checksum changes it last.
 */

const ALL_ONES = 0xffffffff;

/** The file system on a disk of the kit's own, for reading. */
export function openDisk(disk: DiskFile): Promise<ExtFilesystem> {
  return openExt((offset, length) => Promise.resolve(disk.read(offset, length)));
}

function littleEndian32(value: number): Uint8Array {
  const bytes = new Uint8Array(Uint32Array.BYTES_PER_ELEMENT);
  viewOf(bytes).setUint32(0, value, true);
  return bytes;
}

type Change = (bytes: Uint8Array) => void;

/** Changes the primary superblock; its checksum, where it has one, is right afterwards. */
export async function editSuperblock(disk: DiskFile, change: Change): Promise<void> {
  const { superblock } = await openDisk(disk);
  const bytes = disk.read(SUPERBLOCK_OFFSET_BYTES, superBlock.sizeBytes);
  change(bytes);
  const [checksumAt] = superBlock.rows.s_checksum;
  if (superblock.hasMetadataChecksums) {
    superBlock.set(bytes, 's_checksum', crc32c(ALL_ONES, bytes.subarray(0, checksumAt)));
  }
  disk.write(SUPERBLOCK_OFFSET_BYTES, bytes);
}

/** Where the descriptor of a group stands, in a file system without `meta_bg`. */
export function groupDescriptorOffset({ superblock }: ExtFilesystem, index: number): number {
  const { firstDataBlock, blockBytes, descriptorBytes } = superblock;
  return (firstDataBlock + 1) * blockBytes + index * descriptorBytes;
}

/** Changes a group descriptor; its CRC-32C, where it has one, is right afterwards. */
export async function editGroup(disk: DiskFile, index: number, change: Change): Promise<void> {
  const filesystem = await openDisk(disk);
  const { descriptorBytes, checksumSeed, features } = filesystem.superblock;
  const offset = groupDescriptorOffset(filesystem, index);
  const bytes = disk.read(offset, descriptorBytes);
  change(bytes);
  if (descriptorChecksum(features) === 'crc32c') {
    groupDescriptor.set(bytes, 'bg_checksum', 0);
    const crc = crc32c(crc32c(checksumSeed, littleEndian32(index)), bytes);
    groupDescriptor.set(bytes, 'bg_checksum', crc % 2 ** 16);
  }
  disk.write(offset, bytes);
}

export interface PlacedInode {
  readonly filesystem: ExtFilesystem;
  readonly inodeNumber: number;
  /** Of the inode on the disk, in bytes. */
  readonly offset: number;
  readonly raw: RawInode;
  /** Undefined for content in the inode itself. */
  readonly map: FileMap | undefined;
}

/** A file of the root folder, which must be there. */
export async function placeOf(disk: DiskFile, name: string): Promise<PlacedInode> {
  const filesystem = await openDisk(disk);
  const entry = (await readDirectory(filesystem, ROOT_INODE_NUMBER)).find((one) => one.name === name);
  invariant(entry !== undefined, `the image that the kit made has a file ${name}`);
  return placeOfInode(filesystem, entry.inodeNumber);
}

/** An inode with blocks, by its number. */
export async function placeOfInode(filesystem: ExtFilesystem, inodeNumber: number): Promise<PlacedInode> {
  const raw = await readInode(filesystem, inodeNumber);
  const map = await readFileBlocks(filesystem, raw);
  return { filesystem, inodeNumber, offset: inodeOffset(filesystem, inodeNumber), raw, map };
}

/** Changes an inode; its checksum, where it has one, is right afterwards. */
export function editInode(
  disk: DiskFile,
  { filesystem, inodeNumber, offset }: PlacedInode,
  change: Change,
): void {
  const { superblock } = filesystem;
  const bytes = disk.read(offset, superblock.inodeBytes);
  change(bytes);
  const checksum = inodeChecksum(superblock, inodeNumber, bytes);
  if (checksum !== undefined) {
    inode.set(bytes, 'l_i_checksum_lo', checksum.computed % 2 ** 16);
    const hasUpperHalf = superblock.inodeBytes > GOOD_OLD_INODE_BYTES;
    if (hasUpperHalf) inode.set(bytes, 'i_checksum_hi', Math.floor(checksum.computed / 2 ** 16));
  }
  disk.write(offset, bytes);
}

/** Changes the first block of the root folder; the checksum at its end, where it has one, is right afterwards. */
export async function editRootBlock(disk: DiskFile, change: Change): Promise<void> {
  const { filesystem, offset, bytes, raw } = await readRootBlock(disk);
  change(bytes);
  const seed = inodeChecksumSeed(filesystem.superblock, ROOT_INODE_NUMBER, raw.i_generation);
  if (seed !== undefined) {
    const { at, computed } = directoryChecksum(seed, bytes, 0, false);
    invariant(computed !== undefined, 'the root folder ends in a checksum');
    directoryEntryTail.set(bytes.subarray(at), 'det_checksum', computed);
  }
  disk.write(offset, bytes);
}

export interface RootBlock extends PlacedInode {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** The first block of the root folder: a fresh one has no other. `offset` is that of the block. */
export async function readRootBlock(disk: DiskFile): Promise<RootBlock> {
  const place = await placeOfInode(await openDisk(disk), ROOT_INODE_NUMBER);
  const { blockBytes } = place.filesystem.superblock;
  const offset = (place.map?.extents[0]?.fsBlock ?? 0) * blockBytes;
  return { ...place, offset, bytes: disk.read(offset, blockBytes) };
}
