import { fileExtents } from './file-extents.js';
import type { ExtFilesystem } from './filesystem.js';
import type { BlockRun } from './group-head.js';
import { readInode } from './inode.js';
import { ROOT_INODE_NUMBER } from './layout.js';

/** Blocks that a kernel writes to by itself. */
export interface WrittenRun extends BlockRun {
  /** `the journal` */
  readonly name: string;
}

/**
 * What a kernel writes to when it mounts a file system, or makes a file in its root, apart from the metadata of its
 * groups: the journal, quota and orphan files, the block against multiple mounts, the root folder. Indirect blocks and
 * nodes of extent trees are told, too. A file that has one of these blocks changes under whoever reads it.
 *
 * Reports what `readInode` and `fileExtents` report.
 *
 * @throws PatchVdiError `image` when one of these files has a damaged map
 */
export async function* writtenRuns(filesystem: ExtFilesystem): AsyncGenerator<WrittenRun> {
  const { superblock } = filesystem;
  if (superblock.mmp !== undefined) {
    yield { name: 'the block against multiple mounts', firstBlock: superblock.mmp.block, blockCount: 1 };
  }
  const files = [
    ['the journal', superblock.journalInodeNumber],
    ['a quota file', superblock.quotaInodeNumbers[0]],
    ['a quota file', superblock.quotaInodeNumbers[1]],
    ['a quota file', superblock.quotaInodeNumbers[2]],
    ['the orphan file', superblock.orphanFileInodeNumber],
    ['the root folder', ROOT_INODE_NUMBER],
  ] as const;
  for (const [name, inodeNumber] of files) {
    if (inodeNumber === undefined || inodeNumber === 0) continue;
    const raw = await readInode(filesystem, inodeNumber);
    const treeBlocks: number[] = [];
    const onTreeBlock = (block: number): void => void treeBlocks.push(block);
    for await (const { fsBlock, blockCount } of fileExtents(filesystem, inodeNumber, raw, { onTreeBlock })) {
      yield { name, firstBlock: fsBlock, blockCount };
      for (const block of treeBlocks.splice(0)) yield { name, firstBlock: block, blockCount: 1 };
    }
    for (const block of treeBlocks) yield { name, firstBlock: block, blockCount: 1 };
  }
}
