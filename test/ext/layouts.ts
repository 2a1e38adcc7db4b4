import { join } from 'node:path';
import { test } from 'vitest';
import { GIB, MIB } from '../../src/units.js';
import { requireTool } from '../oracles/require-tool.js';
import { formatSample } from '../oracles/sample-image.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { readableFixtures, unpackFixture } from './fixture-images.js';
import { WITHOUT_CHECKSUMS } from './images.js';

/** File systems that are too large to be fixtures, empty and sparse: what matters is where their metadata lies. */
const LARGE = [
  ['ext4 of 7 GiB', 7 * GIB, []],
  ['ext4 of 130 MiB: a last group of 2 MiB', 130 * MIB, []],
  ['meta_bg, more than one block of descriptors', 17 * GIB, ['-O', `${WITHOUT_CHECKSUMS},meta_bg`]],
  ['meta_bg with checksums', 17 * GIB, ['-O', 'meta_bg,metadata_csum,64bit,extent,sparse_super']],
  ['bigalloc of 7 GiB', 7 * GIB, ['-O', `${WITHOUT_CHECKSUMS},bigalloc`, '-C', '65536']],
  ['bigalloc with blocks of 1 KiB', GIB, ['-b', '1024', '-O', 'bigalloc,extent,metadata_csum', '-C', '8192']],
  [
    'bigalloc, the last cluster reaches past the end',
    65 * MIB + 12_288,
    ['-O', 'bigalloc,extent', '-C', '65536'],
  ],
  ['blocks of 1 KiB', 300 * MIB, ['-b', '1024']],
  ['blocks of 2 KiB, no flex_bg', 300 * MIB, ['-b', '2048', '-O', 'none,extent,metadata_csum,sparse_super']],
  ['blocks of 64 KiB', 8 * GIB, ['-b', '65536']],
  [
    'descriptors of 32 bytes with checksums',
    7 * GIB,
    ['-O', 'none,extent,metadata_csum,flex_bg,sparse_super'],
  ],
  ['descriptors of 128 bytes', 7 * GIB, ['-E', 'desc_size=128']],
  ['descriptors of 1024 bytes', 7 * GIB, ['-E', 'desc_size=1024']],
  ['CRC-16', 7 * GIB, ['-O', 'none,extent,uninit_bg,flex_bg,sparse_super,64bit']],
  ['room to grow', GIB, ['-O', 'none,filetype,resize_inode,sparse_super']],
  ['two copies', 7 * GIB, ['-O', 'none,filetype,sparse_super2,extent,metadata_csum']],
  ['a copy in each group', GIB, ['-O', 'none,filetype']],
  ['groups of 256 blocks', 16 * MIB, ['-b', '1024', '-g', '256', '-N', '512']],
  ['large flexible groups', 17 * GIB, ['-G', '64']],
] as const;

/** Runs a test on every fixture and on every large layout. */
export function testOnEveryLayout(run: (imagePath: string) => Promise<void> | void): void {
  test.for(readableFixtures())('%s', async (name, context) => {
    requireTool(context, 'dumpe2fs');
    await run(unpackFixture(name, temporaryFolder()));
  });
  test.for(LARGE)('%s', async ([, sizeBytes, options], context) => {
    requireTool(context, 'mke2fs', 'dumpe2fs');
    await run(formatSample(join(temporaryFolder(), 'sample.raw'), sizeBytes, ...options));
  });
}
