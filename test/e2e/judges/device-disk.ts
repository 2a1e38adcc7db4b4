import { statSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { freeBlocksOf } from '../../oracles/dumpe2fs.js';
import { clean } from '../../oracles/e2fsck.js';
import { withDeviceMount } from '../../oracles/kernel-mount.js';
import { readAt } from '../../oracles/sample-image.js';
import { copyStart } from '../devices.js';
import type { Workspace } from '../workspace.js';
import { expectPatchDisk } from './patch-disk.js';
import { difference } from './same-bytes.js';

/** Every judge looks at a device: itself, and its first `virtualSize` bytes as an image. */
export async function expectPatchOnDevice(
  work: Workspace,
  device: string,
  upload: string,
  virtualSize: number,
): Promise<string> {
  clean(device);
  await withDeviceMount(device, (mountPoint) => {
    expect(difference(join(mountPoint, 'patch'), upload)).toBeUndefined();
    expect(statSync(join(mountPoint, 'patch')).size).toBe(statSync(upload).size);
  });
  const copy = copyStart(device, virtualSize, work.output('copy.raw'));
  await expectPatchDisk(copy, 'raw', upload, virtualSize);
  return copy;
}

const BLOCK_BYTES = 4096;

/**
 * The blocks in use of two images that were built alike, and that differ: e2fsck does not look at the unused part of
 * an inode table, which is said to be zeros.
 *
 * @param image on what was once a used disk
 * @param reference in a new file
 */
export function differingBlocksInUse(image: string, reference: string): number[] {
  const free = freeBlocksOf(reference);
  const differing: number[] = [];
  const { size } = statSync(reference);
  let range = 0;
  for (let block = 0; block < size / BLOCK_BYTES; block += 1) {
    while (range < free.length && (free[range]?.[1] ?? 0) < block) range += 1;
    if (block >= (free[range]?.[0] ?? Infinity)) {
      block = free[range]?.[1] ?? block;
      continue;
    }
    const at = block * BLOCK_BYTES;
    if (!readAt(image, at, BLOCK_BYTES).equals(readAt(reference, at, BLOCK_BYTES))) differing.push(block);
  }
  return differing;
}
