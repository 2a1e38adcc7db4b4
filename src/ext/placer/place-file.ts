import type { ExtFilesystem } from '../filesystem.js';
import { ROOT_INODE_NUMBER } from '../layout.js';
import { unitsToHold } from '../../units.js';
import { markBlocks, takeInode } from './bitmaps.js';
import { takeFront, type ChosenUnits } from './choose-units.js';
import { lowerFreeCounts } from './counts.js';
import { addDirectoryEntry } from './directory-entry.js';
import { indirectBlocks } from './indirect-blocks.js';
import type { BytePatch } from './patch.js';
import { SpareBlocks } from './spare-blocks.js';
import { writeInode } from './write-inode.js';

export interface FileToPlace {
  /** In the root folder. */
  readonly name: string;
  /** Type and permissions. */
  readonly mode: number;
  readonly sizeBytes: number;
  /** Seconds since 1970, for all its timestamps. */
  readonly timeSeconds: number;
}

/**
 * Places a file without holes in an empty ext2 or ext3 file system, none of its bytes written: every byte that has
 * to change, piece by piece, so that memory does not grow with the file. The image may be changed as the pieces come.
 *
 * For file systems without checksums, without `extent` and without `64bit`.
 *
 * @param units where its blocks go; of this very file system
 * @throws PatchVdiError `image` when the file system is not an empty one
 */
export async function* placeFile(
  filesystem: ExtFilesystem,
  units: ChosenUnits,
  file: FileToPlace,
): AsyncGenerator<BytePatch> {
  const { blockBytes, firstDataBlock, blocksPerGroup } = filesystem.superblock;
  const data = takeFront(units.payload, unitsToHold(file.sizeBytes, blockBytes));
  const spare = new SpareBlocks(units.spare);
  // The first block of a group: its indirect blocks go beside its own metadata.
  const groupOf = (block: number) => block - ((block - firstDataBlock) % blocksPerGroup);
  const indirect = indirectBlocks(data, (near) => spare.take(groupOf(near)), blockBytes);
  let step = indirect.next();
  while (step.done !== true) {
    yield { offset: step.value.block * blockBytes, bytes: step.value.bytes };
    step = indirect.next();
  }
  const pointers = step.value;

  const taken = yield* markBlocks(filesystem, [...data, ...spare.taken]);
  const { inodeNumber, patch } = await takeInode(filesystem);
  yield patch;
  const blockCount = [...taken.values()].reduce((sum, count) => sum + count, 0);
  const { mode, sizeBytes, timeSeconds } = file;
  yield writeInode(filesystem, { inodeNumber, mode, sizeBytes, blockCount, pointers, timeSeconds });
  yield await addDirectoryEntry(filesystem, ROOT_INODE_NUMBER, inodeNumber, file.name);
  yield* lowerFreeCounts(filesystem, taken);
}
