/* Images made on the spot, each another kind with other files: our reader, debugfs and the kernel see the same. */
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import type { Finding } from '../../src/findings.js';
import { fileExtents } from '../../src/ext/file-extents.js';
import { openExt, type ExtFilesystem } from '../../src/ext/filesystem.js';
import { readInode } from '../../src/ext/inode.js';
import { walk } from '../../src/ext/paths.js';
import { openRandomAccess } from '../../src/io/random-access-file.js';
import { withKernelMount } from '../oracles/kernel-mount.js';
import { requireRoot, requireTool } from '../oracles/require-tool.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { makeRandomImage } from './random-images.js';
import { comparable, seenByDebugfs, seenByKernel, seenByUs } from './three-readers.js';

/** Of the images; a failure names its own. */
const SEEDS = Array.from({ length: 12 }, (_, index) => 20_260_800 + index);

beforeEach((context) => {
  requireTool(context, 'mke2fs', 'debugfs', 'fallocate');
  requireRoot(context);
});

/** What was met in all of them. */
const met = new Set<string>();

async function noteKinds(filesystem: ExtFilesystem): Promise<void> {
  for await (const { facts } of walk(filesystem)) {
    const { inodeNumber, type, storage, flagNames } = facts;
    met.add(`${type}: ${storage}`);
    if (flagNames.includes('index')) met.add('hashed folder');
    const raw = await readInode(filesystem, inodeNumber);
    let treeBlocks = 0;
    let end = 0;
    const onTreeBlock = (): void => void (treeBlocks += 1);
    for await (const extent of fileExtents(filesystem, inodeNumber, raw, { onTreeBlock })) {
      if (extent.unwritten) met.add('unwritten');
      if (extent.fileBlock > end) met.add(`hole: ${storage}`);
      end = extent.fileBlock + extent.blockCount;
      if (end * filesystem.superblock.blockBytes > facts.sizeBytes + 65_536) met.add('blocks behind the end');
    }
    // A root has room for four.
    if (treeBlocks > 5) met.add(`deep: ${storage}`);
    if (facts.crtime === undefined) met.add('no crtime');
  }
}

const TO_BE_MET = [
  'regular: extents',
  'regular: block map',
  'regular: inline',
  'directory: extents',
  'directory: block map',
  'directory: inline',
  'symlink: fast symlink',
  'symlink: extents',
  'symlink: block map',
  'fifo: block map',
  'hashed folder',
  'unwritten',
  'blocks behind the end',
  'hole: extents',
  'hole: block map',
  'deep: extents',
  'deep: block map',
  'no crtime',
];

describe.each(SEEDS)('the image of seed %i', (seed) => {
  test('is what the kernel and debugfs see, and nothing is wrong with it', async () => {
    const folder = temporaryFolder();
    const image = join(folder, 'random.img');
    const made = await makeRandomImage(image, seed);
    const file = openRandomAccess(image);
    const findings: Finding[] = [];
    const read = (offset: number, length: number) => Promise.resolve(file.read(offset, length));
    const ours = await openExt(read, { report: (finding) => void findings.push(finding) })
      .then(async (filesystem) => {
        await noteKinds(filesystem);
        return await seenByUs(filesystem);
      })
      .finally(() => file.close());
    expect(findings, made).toEqual([]);
    expect(ours.size, made).toBeGreaterThan(10);
    const kernels = await withKernelMount(image, seenByKernel);
    expect(comparable(ours, kernels), made).toEqual(comparable(kernels, ours));
    const debugfs = seenByDebugfs(image, folder);
    expect(comparable(ours, debugfs), made).toEqual(comparable(debugfs, ours));
  });
});

test('the images had everything in them that files can have', () => {
  expect(TO_BE_MET.filter((kind) => !met.has(kind))).toEqual([]);
});
