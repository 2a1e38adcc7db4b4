import { corrupt, type ExtFilesystem } from './filesystem.js';
import { inode as inodeLayout } from './layout.js';
import type { StructValues } from '../struct.js';

export type RawInode = StructValues<(typeof inodeLayout)['rows']>;

/** Reads one inode by number. Fields beyond a 128 byte inode read as zero. */
export async function readInode(filesystem: ExtFilesystem, inodeNumber: number): Promise<RawInode> {
  const { superblock, groups, read } = filesystem;
  const group = groups.at(Math.floor((inodeNumber - 1) / superblock.inodesPerGroup));
  if (inodeNumber < 1 || group === undefined) {
    throw corrupt(`inode ${inodeNumber}`, 0, `inode number ${inodeNumber}`, `1 to ${superblock.inodeCount}`);
  }
  const slot = (inodeNumber - 1) % superblock.inodesPerGroup;
  const offset = group.inodeTableBlock * superblock.blockBytes + slot * superblock.inodeBytes;
  const bytes = new Uint8Array(inodeLayout.sizeBytes);
  bytes.set(await read(offset, Math.min(superblock.inodeBytes, inodeLayout.sizeBytes)));
  return inodeLayout.decode(bytes);
}

/** `i_size` of an inode in bytes. */
export function inodeSizeBytes(raw: RawInode): number {
  return raw.i_size_lo + raw.i_size_high * 2 ** 32;
}
