import { invariant } from '../../errors.js';
import type { ExtFilesystem } from '../filesystem.js';
import { SUPERBLOCK_OFFSET_BYTES, groupDescriptor, superBlock } from '../layout.js';
import { descriptorTableBytes } from '../superblock.js';
import type { BytePatch } from './patch.js';

/**
 * Takes blocks, and one inode of group 0, off the free counts: in the group descriptors and the superblock, and in
 * every copy of both, so that whoever has to fall back on a copy finds right counts.
 *
 * @param taken blocks, by the number of their group
 */
export async function* lowerFreeCounts(
  filesystem: ExtFilesystem,
  taken: ReadonlyMap<number, number>,
): AsyncGenerator<BytePatch> {
  const { superblock, groups, read } = filesystem;
  const { blockBytes, firstDataBlock, descriptorBytes } = superblock;
  const tableOffset = (firstDataBlock + 1) * blockBytes;
  const table = new Uint8Array(await read(tableOffset, descriptorTableBytes(superblock)));
  let total = 0;
  for (const [index, count] of taken) {
    const group = groups.at(index);
    invariant(
      group !== undefined && count <= group.freeBlockCount,
      `group ${index} has ${count} free blocks`,
    );
    const descriptor = table.subarray(index * descriptorBytes, (index + 1) * descriptorBytes);
    groupDescriptor.set(descriptor, 'bg_free_blocks_count_lo', group.freeBlockCount - count);
    total += count;
  }
  const firstDescriptor = table.subarray(0, descriptorBytes);
  const freeInodes = groups.at(0)?.freeInodeCount ?? 0;
  groupDescriptor.set(firstDescriptor, 'bg_free_inodes_count_lo', freeInodes - 1);

  const copies = superblock.backupGroups.map((index) => groups.at(index)?.firstBlock ?? 0);
  yield { offset: tableOffset, bytes: table };
  for (const block of copies) yield { offset: (block + 1) * blockBytes, bytes: table };
  for (const offset of [...copies.map((block) => block * blockBytes), SUPERBLOCK_OFFSET_BYTES]) {
    const bytes = new Uint8Array(await read(offset, superBlock.sizeBytes));
    superBlock.set(bytes, 's_free_blocks_count_lo', superblock.freeBlockCount - total);
    superBlock.set(bytes, 's_free_inodes_count', superblock.freeInodeCount - 1);
    yield { offset, bytes };
  }
}
