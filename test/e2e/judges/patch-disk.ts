import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { dumpFile, statFile } from '../../oracles/debugfs.js';
import { clean } from '../../oracles/e2fsck.js';
import { withKernelMount } from '../../oracles/kernel-mount.js';
import { convertToRaw, info } from '../../oracles/qemu-img.js';
import { requireRoot, requireTool, type Skippable } from '../../oracles/require-tool.js';
import { difference } from './same-bytes.js';

/** Call it first: whether all judges of images are there. */
export function requireImageJudges(context: Skippable): void {
  requireTool(context, 'e2fsck', 'debugfs', 'mount', 'umount', 'qemu-img', 'cmp');
  requireRoot(context);
}

/** e2fsck, debugfs and the kernel find a clean file system with nothing but the upload in it. */
async function expectPatchDiskRaw(raw: string, upload: string, virtualSize: number): Promise<void> {
  expect(statSync(raw).size).toBe(virtualSize);
  clean(raw);

  const { size } = statSync(upload);
  const expected = { type: 'regular', mode: '0755', user: 0, group: 0, size, links: 1 };
  expect(statFile(raw, '/patch')).toMatchObject(expected);
  dumpFile(raw, '/patch', `${raw}.dumped`);
  expect(difference(`${raw}.dumped`, upload)).toBeUndefined();

  await withKernelMount(raw, (mountPoint) => {
    expect(readdirSync(mountPoint).sort()).toEqual(['lost+found', 'patch']);
    const patch = join(mountPoint, 'patch');
    expect(difference(patch, upload)).toBeUndefined();
    const stats = statSync(patch);
    expect([stats.mode, stats.uid, stats.gid, stats.size]).toEqual([0o100755, 0, 0, size]);
  });
}

/** Every judge looks at an image; a VHD is converted by qemu-img first. Leaves files beside the image. */
export async function expectPatchDisk(
  image: string,
  format: 'raw' | 'vhd' | 'vhd-fixed',
  upload: string,
  virtualSize: number,
): Promise<void> {
  if (format === 'raw') return await expectPatchDiskRaw(image, upload, virtualSize);
  expect(info(image).virtualSize).toBe(virtualSize);
  convertToRaw(image, `${image}.raw`);
  return await expectPatchDiskRaw(`${image}.raw`, upload, virtualSize);
}
