import type { ReadBytes } from '../bytes.js';
import { KIB } from '../units.js';
import { EXT_MAGIC, superBlock } from './layout.js';

/** A copy of a superblock: `e2fsck -b BLOCK -B BYTES` takes it. */
export interface BackupSuperblock {
  readonly block: number;
  readonly blockBytes: number;
  readonly offset: number;
}

/** mke2fs makes groups as large as a bitmap of one block allows, and puts copies into these. */
const BLOCK_SIZES = [KIB, 2 * KIB, 4 * KIB];
const GROUPS = [1, 3, 5, 7, 9];

function* candidates(diskBytes: number): Generator<BackupSuperblock> {
  for (const blockBytes of BLOCK_SIZES) {
    const firstDataBlock = blockBytes === KIB ? 1 : 0;
    for (const group of GROUPS) {
      const block = firstDataBlock + group * 8 * blockBytes;
      const offset = block * blockBytes;
      if (offset + superBlock.sizeBytes <= diskBytes) yield { block, blockBytes, offset };
    }
  }
}

/** Whether these bytes are a superblock with blocks of that size. A file may hold a file system of its own: no proof. */
function isCopy(bytes: Uint8Array, { blockBytes, block }: BackupSuperblock): boolean {
  const raw = superBlock.decode(bytes);
  const group = raw.s_block_group_nr;
  const place = raw.s_first_data_block + group * raw.s_blocks_per_group;
  return (
    raw.s_magic === EXT_MAGIC &&
    KIB * 2 ** raw.s_log_block_size === blockBytes &&
    (group === 0 || place === block)
  );
}

/**
 * Looks for copies of a superblock that is gone, where mke2fs puts them with blocks of 1, 2 and 4 KiB and groups of
 * the usual size. Reads 15 KiB at most.
 *
 * @returns those found, in order of their places on the disk
 * @throws PatchVdiError `image` when the disk cannot be read there
 */
export async function findBackupSuperblock(read: ReadBytes, diskBytes: number): Promise<BackupSuperblock[]> {
  const found: BackupSuperblock[] = [];
  for (const candidate of candidates(diskBytes)) {
    const bytes = await read(candidate.offset, superBlock.sizeBytes);
    if (isCopy(bytes, candidate)) found.push(candidate);
  }
  return found.sort((a, b) => a.offset - b.offset);
}
