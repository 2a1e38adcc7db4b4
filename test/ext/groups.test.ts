import { statSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { Finding } from '../../src/findings.js';
import { clusterCount, type BlockGroup } from '../../src/ext/block-group.js';
import { descriptorChecksum } from '../../src/ext/features.js';
import type { Superblock } from '../../src/ext/superblock.js';
import { groupsOf } from '../oracles/dumpe2fs.js';
import { requireTool } from '../oracles/require-tool.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { fixtureBytes, openBytes, unpackFixture } from './fixture-images.js';
import { openImage } from './images.js';
import { testOnEveryLayout } from './layouts.js';

/** A group of ours in the words of dumpe2fs. */
function inTheirWords(superblock: Superblock, group: BlockGroup) {
  const tableBlocks = Math.ceil((superblock.inodesPerGroup * superblock.inodeBytes) / superblock.blockBytes);
  const flags = [
    ...(group.inodeBitmapUninitialised ? ['INODE_UNINIT'] : []),
    ...(group.blockBitmapUninitialised ? ['BLOCK_UNINIT'] : []),
    ...(group.inodeTableZeroed ? ['ITABLE_ZEROED'] : []),
  ];
  return {
    index: group.index,
    blocks: [group.firstBlock, group.firstBlock + group.blockCount - 1],
    blockBitmap: group.blockBitmapBlock,
    inodeBitmap: group.inodeBitmapBlock,
    inodeTable: [group.inodeTableBlock, group.inodeTableBlock + tableBlocks - 1],
    freeBlockCount: group.freeBlockCount / superblock.blocksPerCluster,
    freeInodeCount: group.freeInodeCount,
    directoryCount: group.usedDirectoryCount,
    flags,
  };
}

describe('the groups are those that dumpe2fs lists, and nothing is wrong with them', () => {
  testOnEveryLayout(async (image) => {
    const findings: Finding[] = [];
    const report = (finding: Finding) => void findings.push(finding);
    const { superblock, groups } = await openImage(image, { report, diskBytes: statSync(image).size });
    const theirs = groupsOf(image);
    expect(groups.length).toBe(theirs.length);
    const ours = [...groups];
    expect(ours).toHaveLength(theirs.length);
    for (const [index, listed] of theirs.entries()) {
      const group = ours[index];
      expect(group).toEqual(groups.at(index));
      expect(listed).toMatchObject(group === undefined ? {} : inTheirWords(superblock, group));
      // Without checksums the number is on disk, too, and means nothing.
      const counts = descriptorChecksum(superblock.features) !== undefined;
      expect(group?.unusedInodeCount).toBe(counts ? listed.unusedInodeCount : 0);
      expect(listed.expectedChecksum).toBeUndefined();
    }
    expect(findings.filter(({ severity }) => severity === 'error')).toEqual([]);
  });
});

test('what is no number of a group has no group', async () => {
  const { filesystem } = await openBytes(fixtureBytes('ext4-small-groups'));
  for (const index of [-1, 16, 0.5, NaN, Infinity]) expect(filesystem.groups.at(index)).toBeUndefined();
  expect(filesystem.groups.at(15)).toMatchObject({ index: 15 });
});

test('the last cluster counts as a whole one', async (context) => {
  requireTool(context, 'dumpe2fs');
  const image = unpackFixture('ext4-bigalloc', temporaryFolder());
  const { superblock, groups } = await openImage(image);
  const [group] = groups;
  if (group === undefined) throw new Error('no group');
  expect(clusterCount({ ...superblock, blocksPerCluster: 16 }, { ...group, blockCount: 33 })).toBe(3);
});
