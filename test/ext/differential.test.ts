/* Images of other people's programs: our reader, debugfs and the kernel see the same files. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import type { Finding } from '../../src/findings.js';
import { openExt } from '../../src/ext/filesystem.js';
import { lookUp } from '../../src/ext/paths.js';
import { openRandomAccess } from '../../src/io/random-access-file.js';
import { change } from '../oracles/debugfs.js';
import { withKernelMount } from '../oracles/kernel-mount.js';
import { requireRoot, requireTool } from '../oracles/require-tool.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { readableFixtures, unpackFixture } from './fixture-images.js';
import { comparable, hashOurs, seenByDebugfs, seenByKernel, seenByUs, type Seen } from './three-readers.js';

const IMAGES = readableFixtures();
/** Blocks larger than a page, and folders whose names have no case: not every kernel mounts these. */
const NOT_FOR_THE_KERNEL = new Set(['ext4-16k', 'ext4-64k', 'ext4-casefold']);
/** What the images were made from. */
const PAYLOADS = new Map(
  readFileSync(join(import.meta.dirname, '../../fixtures/ext/patch.sha256'), 'utf8')
    .split('\n')
    .map((line) => line.split('  ').reverse() as [name: string, sha256: string]),
);

beforeEach((context) => requireTool(context, 'debugfs'));

const unpack = (name: string): string => unpackFixture(name, temporaryFolder());

async function readByUs(image: string): Promise<{ seen: Seen; findings: Finding[]; patch: string }> {
  const file = openRandomAccess(image);
  const findings: Finding[] = [];
  const report = (finding: Finding): void => void findings.push(finding);
  try {
    const filesystem = await openExt((offset, length) => Promise.resolve(file.read(offset, length)), {
      report,
    });
    const seen = await seenByUs(filesystem);
    const { sha256 } = await hashOurs(filesystem, (await lookUp(filesystem, 'patch')) ?? 0);
    return { seen, findings, patch: sha256 };
  } finally {
    file.close();
  }
}

test('there are fixtures', () => expect(IMAGES.length).toBeGreaterThan(50));

describe.each(IMAGES)('%s', (name) => {
  test('is what debugfs sees, and nothing is wrong with its files', async () => {
    const image = unpack(name);
    const { seen, findings, patch } = await readByUs(image);
    expect(findings.filter(({ structure }) => /inode|directory|extent/.test(structure))).toEqual([]);
    expect(patch).toBe(PAYLOADS.get(name));
    const theirs = seenByDebugfs(image, temporaryFolder());
    expect(comparable(seen, theirs)).toEqual(comparable(theirs, seen));
  });

  if (NOT_FOR_THE_KERNEL.has(name)) return;
  test('is what the kernel sees', async (context) => {
    requireRoot(context);
    const image = unpack(name);
    const { seen } = await readByUs(image);
    const theirs = await withKernelMount(image, seenByKernel, { type: 'ext4', journal: 'noload' });
    expect(comparable(seen, theirs)).toEqual(comparable(theirs, seen));
  });
});

test('the comparison can fail: one field of one file', async () => {
  const image = unpack('ext4-4k');
  const theirs = seenByDebugfs(image, temporaryFolder());
  for (const [field, value] of [
    ['mode', '0100640'],
    ['mtime', '@1000000007'],
    ['mtime_extra', '9'],
    ['uid', '70000'],
    ['size', '70000000'],
  ]) {
    const changed = unpack('ext4-4k');
    change(changed, `set_inode_field /patch ${field} ${value}`);
    const { seen } = await readByUs(changed);
    expect(comparable(seen, theirs), field).not.toEqual(comparable(theirs, seen));
  }
});
