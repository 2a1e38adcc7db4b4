import { describe, expect } from 'vitest';
import { blockUse, type BlockUse } from '../../src/ext/block-use.js';
import { groupsOf, superblockFields, type ListedRange } from '../oracles/dumpe2fs.js';
import { openImage } from './images.js';
import { testOnEveryLayout } from './layouts.js';

/**
 * Ranges that touch each other as one, cut at the end of the file system, which the last cluster may pass. Of the last
 * cluster of a range, dumpe2fs 1.47.0 prints the first block, and later ones the last.
 */
function merged(ranges: readonly ListedRange[], blocksPerCluster: number, blockCount: number): ListedRange[] {
  const result: [number, number][] = [];
  for (const [first, last] of ranges) {
    const lastOfCluster = last - (last % blocksPerCluster) + blocksPerCluster - 1;
    const end = Math.min(lastOfCluster, blockCount - 1);
    const before = result.at(-1);
    if (before !== undefined && before[1] + 1 === first) before[1] = end;
    else result.push([first, end]);
  }
  return result;
}

describe('the free runs are those of dumpe2fs, and together all runs are the whole file system', () => {
  testOnEveryLayout(async (image) => {
    const filesystem = await openImage(image, { report: () => undefined });
    const { blockCount } = filesystem.superblock;
    const runs: BlockUse[] = [];
    for await (const run of blockUse(filesystem)) runs.push(run);

    let end = 0;
    for (const [index, run] of runs.entries()) {
      expect(run.firstBlock).toBe(end);
      expect(run.blockCount).toBeGreaterThan(0);
      expect(run.used).not.toBe(runs[index - 1]?.used);
      end += run.blockCount;
    }
    expect(end).toBe(blockCount);
    const free = runs
      .filter(({ used }) => !used)
      .map((run) => [run.firstBlock, run.firstBlock + run.blockCount - 1]);
    const theirs = superblockFields(image);
    const blocksPerCluster = Number(theirs.get('Cluster size') ?? 0) / Number(theirs.get('Block size'));
    const listed = groupsOf(image).flatMap((group) => group.free);
    expect(free).toEqual(merged(listed, blocksPerCluster === 0 ? 1 : blocksPerCluster, blockCount));
  });
});
