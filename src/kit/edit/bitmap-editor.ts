import { crc32c } from '../../ext/crc32c.js';
import type { Extent } from '../../ext/file-extents.js';
import { groupDescriptor, superBlock } from '../../ext/layout.js';
import type { DiskFile } from '../disk-file.js';
import { editGroup, editSuperblock, openDisk } from './ext-editor.js';

/** Sets the checksum of a group's block bitmap; the descriptor's own is right afterwards. */
export async function setBlockBitmapChecksum(disk: DiskFile, group: number, checksum: number): Promise<void> {
  await editGroup(disk, group, (bytes) => {
    groupDescriptor.set(bytes, 'bg_block_bitmap_csum_lo', checksum % 2 ** 16);
    if (bytes.length < groupDescriptor.sizeBytes) return;
    groupDescriptor.set(bytes, 'bg_block_bitmap_csum_hi', Math.floor(checksum / 2 ** 16));
  });
}

/**
 * Clears the bits of blocks in the bitmaps and raises the counts, all checksums right: the blocks are free now,
 * whatever still uses them.
 */
export async function freeBlocks(disk: DiskFile, extents: readonly Extent[]): Promise<void> {
  const { superblock, groups } = await openDisk(disk);
  const { blockBytes, checksumSeed, hasMetadataChecksums } = superblock;
  let freed = 0;
  for (const group of groups) {
    const offset = group.blockBitmapBlock * blockBytes;
    const bitmap = disk.read(offset, blockBytes);
    let count = 0;
    for (const { fsBlock, blockCount } of extents) {
      for (let block = fsBlock; block < fsBlock + blockCount; block += 1) {
        const bit = block - group.firstBlock;
        if (bit < 0 || bit >= group.blockCount) continue;
        const at = Math.floor(bit / 8);
        bitmap[at] = (bitmap[at] ?? 0) & ~(1 << (bit % 8));
        count += 1;
      }
    }
    if (count === 0) continue;
    disk.write(offset, bitmap);
    freed += count;
    await editGroup(disk, group.index, (bytes) => {
      groupDescriptor.set(bytes, 'bg_free_blocks_count_lo', group.freeBlockCount + count);
    });
    // Over as many bytes as a group has clusters (ext4 documentation, "Checksums").
    if (!hasMetadataChecksums) continue;
    const checksum = crc32c(checksumSeed, bitmap.subarray(0, superblock.blocksPerGroup / 8));
    await setBlockBitmapChecksum(disk, group.index, checksum);
  }
  await editSuperblock(disk, (bytes) => {
    superBlock.set(bytes, 's_free_blocks_count_lo', superblock.freeBlockCount + freed);
  });
}
