import { describe, expect, test } from 'vitest';
import { metadataRuns, type MetadataName } from '../../src/ext/metadata-runs.js';
import { groupsOf, superblockFields, type ListedGroup, type ListedRange } from '../oracles/dumpe2fs.js';
import { ask } from '../oracles/debugfs.js';
import { requireTool } from '../oracles/require-tool.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { fixtureBytes, openBytes, unpackFixture } from './fixture-images.js';
import { openImage } from './images.js';
import { testOnEveryLayout } from './layouts.js';

type Runs = Map<string, ListedRange[]>;

function add(runs: Runs, name: MetadataName, range: ListedRange | undefined): void {
  if (range === undefined) return;
  const known = runs.get(name);
  if (known === undefined) runs.set(name, [range]);
  else known.push(range);
}

/** In order, touching ones as one: how they are cut into runs is nobody's promise. */
function sorted(runs: Runs): Record<string, ListedRange[]> {
  const entries = [...runs].map(([name, ranges]) => {
    const result: [number, number][] = [];
    for (const [first, last] of ranges.toSorted((a, b) => a[0] - b[0])) {
      const before = result.at(-1);
      if (before !== undefined && before[1] + 1 === first) before[1] = last;
      else result.push([first, last]);
    }
    return [name, result] as const;
  });
  return Object.fromEntries(entries);
}

/**
 * The same from the listing of dumpe2fs. Which copy of a block of descriptors is the one that is read, it does not
 * say: in group 0, and with `meta_bg` in the first of the groups that the block describes (ext4 documentation, "Meta
 * Block Groups").
 */
function listedRuns(groups: readonly ListedGroup[], descriptorsPerBlock: number, metaFrom: number): Runs {
  const runs: Runs = new Map();
  for (const group of groups) {
    const superblock: ListedRange | undefined =
      group.superblock === undefined ? undefined : [group.superblock, group.superblock];
    add(runs, group.index === 0 ? 'superblock' : 'superblock backup', superblock);
    const inMeta = Math.floor(group.index / descriptorsPerBlock) >= metaFrom;
    const first = group.index === 0 || (inMeta && group.index % descriptorsPerBlock === 0);
    add(runs, first ? 'group descriptors' : 'group descriptor backups', group.descriptors);
    add(runs, 'reserved descriptor blocks', group.reserved);
    add(runs, 'block bitmaps', [group.blockBitmap, group.blockBitmap]);
    add(runs, 'inode bitmaps', [group.inodeBitmap, group.inodeBitmap]);
    add(runs, 'inode tables', group.inodeTable);
  }
  return runs;
}

describe('the runs are what dumpe2fs lists, and none of their blocks is free', () => {
  testOnEveryLayout(async (image) => {
    const theirs = superblockFields(image);
    const groups = groupsOf(image);
    const descriptorBytes = Number(theirs.get('Group descriptor size') ?? 32);
    const metaBg = (theirs.get('Filesystem features') ?? '').includes('meta_bg');
    const metaFrom = metaBg ? Number(theirs.get('First meta block group') ?? 0) : Infinity;
    const perBlock = Number(theirs.get('Block size')) / descriptorBytes;

    const ours: Runs = new Map();
    const filesystem = await openImage(image, { report: () => undefined });
    for (const { name, firstBlock, blockCount } of metadataRuns(filesystem)) {
      add(ours, name, [firstBlock, firstBlock + blockCount - 1]);
    }
    expect(sorted(ours)).toEqual(sorted(listedRuns(groups, perBlock, metaFrom)));

    const free = groups.flatMap((group) => group.free);
    for (const ranges of ours.values()) {
      for (const [first, last] of ranges) {
        expect(free.filter(([from, to]) => from <= last && first <= to)).toEqual([]);
      }
    }
  });
});

test('bitmaps that lie side by side are one run', async () => {
  const { filesystem } = await openBytes(fixtureBytes('ext4-small-groups'));
  const bitmaps = [...metadataRuns(filesystem)].filter(({ name }) => name === 'block bitmaps');
  // 16 groups, of which 4 are packed together.
  expect(bitmaps.map(({ blockCount }) => blockCount)).toEqual([4, 4, 4, 4]);
});

test('debugfs, too, says of the first and the last block of each run that it is in use', async (context) => {
  requireTool(context, 'debugfs');
  for (const name of ['ext4-meta-bg-1k', 'ext4-bigalloc', 'ext2-small-groups', 'ext4-sparse-super2']) {
    const image = unpackFixture(name, temporaryFolder());
    const { filesystem } = await openBytes(fixtureBytes(name));
    const runs = [...metadataRuns(filesystem)];
    const blocks = runs.flatMap((run) => [run.firstBlock, run.firstBlock + run.blockCount - 1]);
    const answers = ask(image, ...blocks.map((block) => `testb ${block}`));
    expect(answers.match(/ marked in use/g)).toHaveLength(blocks.length);
  }
});
