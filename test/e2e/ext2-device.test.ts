/*
 * ext2 and ext3 on a used disk that is not zeroed as a whole: their metadata is all over it, and every block in use
 * must be what it is in a new file; the journal, too, where an old one could be taken for it.
 */
import { beforeEach, expect, test } from 'vitest';
import { clean } from '../oracles/e2fsck.js';
import { attachLoop, requireLoopDevices } from '../oracles/loop-device.js';
import { writeAt } from '../oracles/sample-image.js';
import { mustBuild } from './cli.js';
import { DEVICE_BYTES, makeGarbageDisk, withoutFallocate } from './devices.js';
import { differingBlocksInUse, expectPatchOnDevice } from './judges/device-disk.js';
import { OLD_FILESYSTEMS, requireOldDiskJudges } from './old-disks.js';
import { MIB, uploadBytes } from './uploads.js';
import { FIXED } from './ways-to-build.js';
import { workspace } from './workspace.js';

beforeEach((context) => {
  requireOldDiskJudges(context);
  requireLoopDevices(context);
});

test.for(OLD_FILESYSTEMS)('%s over garbage', async (filesystem) => {
  const work = workspace();
  const disk = makeGarbageDisk(work);
  // The metadata of groups 1 and 2, a copy of the superblock in it.
  for (const start of [128 * MIB, 256 * MIB]) writeAt(disk, start, uploadBytes(4 * MIB, 5));
  const device = attachLoop(disk);
  const upload = work.input('upload', uploadBytes(40 * MIB + 7));
  const args = ['--size', String(DEVICE_BYTES), '--filesystem', filesystem, ...FIXED];
  await mustBuild(work, [upload, '-o', device, ...args], { env: withoutFallocate(work) });
  const image = await expectPatchOnDevice(work, device, upload, DEVICE_BYTES);
  const reference = work.output('reference.raw');
  await mustBuild(work, [upload, '-o', reference, ...args]);
  clean(reference);
  expect(differingBlocksInUse(image, reference)).toEqual([]);
});
