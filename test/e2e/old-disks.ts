import { statSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { superblockFields } from '../oracles/dumpe2fs.js';
import { withKernelMount } from '../oracles/kernel-mount.js';
import { requireTool, type Skippable } from '../oracles/require-tool.js';
import type { ImageFormat } from './judges/importer.js';
import { expectPatchDisk, requireImageJudges } from './judges/patch-disk.js';
import { difference } from './judges/same-bytes.js';

export const OLD_FILESYSTEMS = ['ext2', 'ext3'] as const;
export type OldFilesystem = (typeof OLD_FILESYSTEMS)[number];

/** What a native driver of Linux 2.6 knows; written down by hand from fs/ext2 and fs/ext3 of that time. */
const FEATURES: Readonly<Record<OldFilesystem, readonly string[]>> = {
  ext2: ['ext_attr', 'filetype', 'large_file', 'sparse_super'],
  ext3: ['ext_attr', 'filetype', 'has_journal', 'large_file', 'sparse_super'],
};

export function requireOldDiskJudges(context: Skippable): void {
  requireImageJudges(context);
  requireTool(context, 'dumpe2fs');
}

/** Every judge finds the upload, the kernel also under the file system's own name; returns the image as raw. */
export async function expectOldDisk(
  image: string,
  format: ImageFormat,
  filesystem: OldFilesystem,
  upload: string,
  virtualSize: number,
): Promise<string> {
  await expectPatchDisk(image, format, upload, virtualSize);
  const raw = format === 'raw' ? image : `${image}.raw`;
  const features = superblockFields(raw).get('Filesystem features') ?? '';
  expect(features.split(' ').sort()).toEqual(FEATURES[filesystem]);
  await withKernelMount(
    raw,
    (folder) => {
      expect(difference(join(folder, 'patch'), upload)).toBeUndefined();
      expect(statSync(join(folder, 'patch')).mode).toBe(0o100755);
    },
    { type: filesystem },
  );
  return raw;
}
