import { viewOf } from '../struct.js';
import { crc32c } from './crc32c.js';
import { GOOD_OLD_INODE_BYTES } from './file-layout.js';
import { inode as inodeLayout } from './layout.js';
import type { Superblock } from './superblock.js';

function littleEndian32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  viewOf(bytes).setUint32(0, value, true);
  return bytes;
}

/**
 * What the CRC-32C of everything that belongs to an inode continues from: the inode itself, the blocks of its extent
 * tree, its directory blocks (ext4 documentation, "Checksums").
 *
 * @returns undefined where the file system has no checksums of metadata
 */
export function inodeChecksumSeed(
  superblock: Pick<Superblock, 'hasMetadataChecksums' | 'checksumSeed'>,
  inodeNumber: number,
  generation: number,
): number | undefined {
  if (!superblock.hasMetadataChecksums) return undefined;
  const ofNumber = crc32c(superblock.checksumSeed, littleEndian32(inodeNumber));
  return crc32c(ofNumber, littleEndian32(generation));
}

/** An inode's checksum, as it stands and as it should be; only its lower 16 bits where the inode has no room for 32. */
export interface InodeChecksum {
  readonly stored: number;
  readonly computed: number;
}

const [LOW_OFFSET] = inodeLayout.rows.l_i_checksum_lo;
const [HIGH_OFFSET] = inodeLayout.rows.i_checksum_hi;
const [GENERATION_OFFSET] = inodeLayout.rows.i_generation;
const HALF_BYTES = 2;

/**
 * @param bytes the whole inode as on disk, 128 bytes or more; its fields of the checksum count as zeros
 */
export function inodeChecksum(
  superblock: Pick<Superblock, 'hasMetadataChecksums' | 'checksumSeed'>,
  inodeNumber: number,
  bytes: Uint8Array,
): InodeChecksum | undefined {
  const view = viewOf(bytes);
  const seed = inodeChecksumSeed(superblock, inodeNumber, view.getUint32(GENERATION_OFFSET, true));
  if (seed === undefined) return undefined;
  const cleared = new Uint8Array(bytes);
  cleared.fill(0, LOW_OFFSET, LOW_OFFSET + HALF_BYTES);
  const low = view.getUint16(LOW_OFFSET, true);
  const extraBytes =
    bytes.length > GOOD_OLD_INODE_BYTES ? view.getUint16(inodeLayout.rows.i_extra_isize[0], true) : 0;
  if (GOOD_OLD_INODE_BYTES + extraBytes < HIGH_OFFSET + HALF_BYTES) {
    return { stored: low, computed: crc32c(seed, cleared) % 2 ** 16 };
  }
  cleared.fill(0, HIGH_OFFSET, HIGH_OFFSET + HALF_BYTES);
  return { stored: low + view.getUint16(HIGH_OFFSET, true) * 2 ** 16, computed: crc32c(seed, cleared) };
}
