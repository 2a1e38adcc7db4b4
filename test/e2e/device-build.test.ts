/*
 * A block device as the output: what was there before must not shine through anywhere.
 */
import { statSync, symlinkSync } from 'node:fs';
import { beforeEach, describe, expect, test } from 'vitest';
import { attachLoop, requireLoopDevices } from '../oracles/loop-device.js';
import { createSparse, readAt, writeAt } from '../oracles/sample-image.js';
import { requireTool } from '../oracles/require-tool.js';
import { mustBuild } from './cli.js';
import {
  DEVICE_BYTES,
  OLD_FILESYSTEMS,
  WAYS_TO_CLEAR,
  environmentFor,
  makeGarbageDisk,
  makeOldDisk,
  withoutFallocate,
} from './devices.js';
import { differingBlocksInUse, expectPatchOnDevice } from './judges/device-disk.js';
import { waysIn } from './judges/old-disk.js';
import { requireImageJudges } from './judges/patch-disk.js';
import { GIB, MIB, uploadBytes } from './uploads.js';
import { FIXED } from './ways-to-build.js';
import { workspace } from './workspace.js';

beforeEach((context) => {
  requireImageJudges(context);
  requireLoopDevices(context);
  requireTool(context, 'mke2fs', 'dumpe2fs', 'fallocate');
});

/** 5 MiB and 3 bytes: the disk has 22 MiB, and the last block of the payload is nearly empty. */
const UPLOAD_BYTES = 5 * MIB + 3;
const VIRTUAL_SIZE = 22 * MIB;

const CASES = OLD_FILESYSTEMS.flatMap(([what, options]) =>
  WAYS_TO_CLEAR.map((way) => [what, way, options] as const),
);

test.for(CASES)('over %s, %s', async ([, way, options]) => {
  const work = workspace();
  const old = makeOldDisk(work, options);
  const device = attachLoop(old.file);
  expect(old.backups.length).toBeGreaterThan(0);
  // The judge can tell: before the build every way is open.
  expect(await waysIn(device, old)).toHaveLength(2 + 2 * old.backups.length);

  const upload = work.input('upload', uploadBytes(UPLOAD_BYTES));
  await mustBuild(work, [upload, '-o', device, ...FIXED], { env: environmentFor(work, way) });
  const image = await expectPatchOnDevice(work, device, upload, VIRTUAL_SIZE);
  expect(await waysIn(device, old)).toEqual(['e2fsck', 'mount']);

  const reference = work.output('reference.raw');
  await mustBuild(work, [upload, '-o', reference, ...FIXED]);
  expect(differingBlocksInUse(image, reference)).toEqual([]);
});

describe('over garbage', () => {
  test.for([
    ['1 byte', 1],
    ['one block and a byte', 4097],
    ['a few MiB', 7 * MIB],
  ] as const)('%s, from a pipe without a length, on the whole device', async ([, length]) => {
    const work = workspace();
    const device = attachLoop(makeGarbageDisk(work));
    const upload = work.input('upload', uploadBytes(length));
    const args = ['--size', String(DEVICE_BYTES), ...FIXED];
    await mustBuild(work, ['-', '-o', device, ...args], {
      stdin: { path: upload, through: 'pipe' },
      env: withoutFallocate(work),
    });
    const image = await expectPatchOnDevice(work, device, upload, DEVICE_BYTES);
    const reference = work.output('reference.raw');
    await mustBuild(work, [upload, '-o', reference, ...args]);
    expect(differingBlocksInUse(image, reference)).toEqual([]);
    // The free space keeps what it had where the device is not zeroed.
    expect(readAt(device, DEVICE_BYTES - 3 * MIB, 4096).equals(Buffer.alloc(4096))).toBe(false);
  });

  test('zeroed as a whole nothing of it is left', async () => {
    const work = workspace();
    const file = makeGarbageDisk(work);
    const device = attachLoop(file);
    const upload = work.input('upload', uploadBytes(UPLOAD_BYTES));
    await mustBuild(work, [upload, '-o', device, ...FIXED]);
    const reference = work.output('reference.raw');
    await mustBuild(work, [upload, '-o', reference, ...FIXED]);
    const rest = DEVICE_BYTES - VIRTUAL_SIZE;
    expect(readAt(device, 0, VIRTUAL_SIZE).equals(readAt(reference, 0, VIRTUAL_SIZE))).toBe(true);
    expect(readAt(device, VIRTUAL_SIZE, rest).equals(Buffer.alloc(rest))).toBe(true);
    // And a device that stores only what is written has given the space back.
    expect(statSync(file).blocks * 512).toBeLessThan(UPLOAD_BYTES + MIB);
  });

  test('through a link, and again over what we built', async () => {
    const work = workspace();
    const link = `${work.folder}/by-id`;
    symlinkSync(attachLoop(makeGarbageDisk(work)), link);
    for (const seed of [1, 2]) {
      const upload = work.input('upload', uploadBytes(UPLOAD_BYTES, seed));
      await mustBuild(work, [upload, '-o', link, '--format', 'raw', ...FIXED]);
      await expectPatchOnDevice(work, link, upload, VIRTUAL_SIZE);
    }
  });
});

describe('--target-is-zeroed', () => {
  /** Large enough for inode tables of 8 MiB. */
  const SIZE = 2 * GIB;
  const spaceOf = (file: string): number => statSync(file).blocks * 512;

  test('no zeros are written', async () => {
    const work = workspace();
    const upload = work.input('upload', uploadBytes(UPLOAD_BYTES));
    const reference = work.output('reference.raw');
    const args = ['--size', '2G', ...FIXED];
    await mustBuild(work, [upload, '-o', reference, ...args]);
    const env = withoutFallocate(work);
    const taken: number[] = [];
    for (const options of [[], ['--target-is-zeroed']]) {
      const file = createSparse(work.output(`disk${options.length}`), SIZE);
      const device = attachLoop(file);
      await mustBuild(work, [upload, '-o', device, ...options, ...args], { env });
      await expectPatchOnDevice(work, device, upload, SIZE);
      expect(differingBlocksInUse(file, reference)).toEqual([]);
      taken.push(spaceOf(file));
    }
    const [written = 0, spared = 0] = taken;
    expect(written).toBeGreaterThan(UPLOAD_BYTES + 8 * MIB);
    expect(spared).toBeLessThan(UPLOAD_BYTES + 256 * 1024);
  });

  test('said of a device that is not, it is found out only by who compares', async () => {
    // So the comparison of the tests above can fail: garbage where the inode tables will be.
    const work = workspace();
    const upload = work.input('upload', uploadBytes(UPLOAD_BYTES));
    const file = createSparse(work.output('disk'), SIZE);
    writeAt(file, 2 * MIB, uploadBytes(4 * MIB));
    const args = ['--size', '2G', ...FIXED];
    await mustBuild(work, [upload, '-o', attachLoop(file), '--target-is-zeroed', ...args]);
    const reference = work.output('reference.raw');
    await mustBuild(work, [upload, '-o', reference, ...args]);
    expect(differingBlocksInUse(file, reference).length).toBeGreaterThan(900);
  });
});
