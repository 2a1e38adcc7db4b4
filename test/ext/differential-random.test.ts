/* Images made on the spot, each another kind with other files: our reader, debugfs and the kernel see the same. */
import { join } from 'node:path';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import type { Finding } from '../../src/findings.js';
import { openExt } from '../../src/ext/filesystem.js';
import { openRandomAccess } from '../../src/io/random-access-file.js';
import { withKernelMount } from '../oracles/kernel-mount.js';
import { requireRoot, requireTool } from '../oracles/require-tool.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { makeRandomImage } from './random-images.js';
import { comparable, seenByDebugfs, seenByKernel, seenByUs } from './three-readers.js';

vi.setConfig({ testTimeout: 120_000 });

/** Of the images; a failure names its own. */
const SEEDS = Array.from({ length: 12 }, (_, index) => 20_260_800 + index);

beforeEach((context) => {
  requireTool(context, 'mke2fs', 'debugfs', 'fallocate');
  requireRoot(context);
});

describe.each(SEEDS)('the image of seed %i', (seed) => {
  test('is what the kernel and debugfs see, and nothing is wrong with it', async () => {
    const folder = temporaryFolder();
    const image = join(folder, 'random.img');
    const made = await makeRandomImage(image, seed);
    const file = openRandomAccess(image);
    const findings: Finding[] = [];
    const read = (offset: number, length: number) => Promise.resolve(file.read(offset, length));
    const ours = await openExt(read, { report: (finding) => void findings.push(finding) })
      .then(seenByUs)
      .finally(() => file.close());
    expect(findings, made).toEqual([]);
    expect(ours.size, made).toBeGreaterThan(10);
    const kernels = await withKernelMount(image, seenByKernel);
    expect(comparable(ours, kernels), made).toEqual(comparable(kernels, ours));
    const debugfs = seenByDebugfs(image, folder);
    expect(comparable(ours, debugfs), made).toEqual(comparable(debugfs, ours));
  });
});
