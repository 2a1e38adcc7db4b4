import type { ExtFilesystem } from './filesystem.js';
import { descriptorsPerBlock, groupHead, hasSuperblock, type BlockRun } from './group-head.js';
import { inodeTableBlocks } from './block-group.js';
import type { Superblock } from './superblock.js';

export type MetadataName =
  | 'superblock'
  | 'superblock backup'
  | 'group descriptors'
  | 'group descriptor backups'
  | 'reserved descriptor blocks'
  | 'block bitmaps'
  | 'inode bitmaps'
  | 'inode tables';

/** Consecutive blocks of one kind of metadata. */
export interface MetadataRun extends BlockRun {
  readonly name: MetadataName;
}

/** Whether the descriptors at the front of a group are the ones that are read, or a copy. */
function firstCopy(superblock: Superblock, group: number): boolean {
  if (group === 0) return true;
  const { firstMetaGroup } = superblock;
  const perBlock = descriptorsPerBlock(superblock);
  return (
    firstMetaGroup !== undefined && group % perBlock === 0 && Math.floor(group / perBlock) >= firstMetaGroup
  );
}

/** Whether a group has anything at its front: most of a large file system have not. */
function* headRuns(superblock: Superblock, group: number): Generator<MetadataRun> {
  const head = groupHead(superblock, group);
  if (hasSuperblock(superblock, group)) {
    yield { name: group === 0 ? 'superblock' : 'superblock backup', ...head.superblock };
  }
  const name = firstCopy(superblock, group) ? 'group descriptors' : 'group descriptor backups';
  yield { name, ...head.descriptors };
  yield { name: 'reserved descriptor blocks', ...head.reserved };
}

/** What one group has, each piece for itself; pieces may be empty. */
function* groupRuns({ superblock, groups }: ExtFilesystem, index: number): Generator<MetadataRun> {
  yield* headRuns(superblock, index);
  const group = groups.at(index);
  if (group === undefined) return;
  yield { name: 'block bitmaps', firstBlock: group.blockBitmapBlock, blockCount: 1 };
  yield { name: 'inode bitmaps', firstBlock: group.inodeBitmapBlock, blockCount: 1 };
  yield { name: 'inode tables', firstBlock: group.inodeTableBlock, blockCount: inodeTableBlocks(superblock) };
}

/**
 * Where the metadata of the file system itself is, whatever the layout: superblocks, descriptors, bitmaps and inode
 * tables, used or not. Computed from the descriptors, nothing is read. Group by group, not in the order of blocks;
 * pieces of one kind that follow each other are one run. What the descriptor of an unusable group names is left out.
 */
export function* metadataRuns(filesystem: ExtFilesystem): Generator<MetadataRun> {
  // One open run a kind: with `flex_bg` the bitmaps of many groups lie side by side.
  const open = new Map<MetadataName, MetadataRun>();
  for (let index = 0; index < filesystem.groups.length; index += 1) {
    for (const run of groupRuns(filesystem, index)) {
      if (run.blockCount === 0) continue;
      const last = open.get(run.name);
      if (last !== undefined && last.firstBlock + last.blockCount === run.firstBlock) {
        open.set(run.name, { ...last, blockCount: last.blockCount + run.blockCount });
        continue;
      }
      if (last !== undefined) yield last;
      open.set(run.name, run);
    }
  }
  yield* open.values();
}
