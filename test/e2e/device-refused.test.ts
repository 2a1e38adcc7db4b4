/*
 * Devices that are not written: each is told why, and not a byte of it changes.
 */
import { closeSync, constants, copyFileSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { withDeviceMount } from '../oracles/kernel-mount.js';
import { attachLoop, requireLoopDevices } from '../oracles/loop-device.js';
import { requireTool, unavailable } from '../oracles/require-tool.js';
import { runJudge } from '../oracles/run-judge.js';
import { createSparse, readAt, sampleImage, writeAt } from '../oracles/sample-image.js';
import { expectCleanText, mustBuild, runCli, startCli, type Ended } from './cli.js';
import { digest } from './devices.js';
import { expectPatchOnDevice } from './judges/device-disk.js';
import { KIB, MIB, uploadBytes } from './uploads.js';
import { workspace, type Workspace } from './workspace.js';

beforeEach((context) => {
  requireTool(context, 'mke2fs', 'debugfs', 'mount', 'umount');
  requireLoopDevices(context);
});

/** Room for the smallest image and more, with a file system in it. */
const DISK_BYTES = 32 * MIB;

interface Bench {
  readonly work: Workspace;
  readonly file: string;
  readonly upload: string;
}

function setUp(): Bench {
  const work = workspace();
  const sample = sampleImage(work.folder, uploadBytes(1000));
  const file = createSparse(work.output('disk'), DISK_BYTES);
  writeAt(file, 0, readFileSync(sample));
  return { work, file, upload: work.input('upload', uploadBytes(MIB + 1)) };
}

interface Refusal {
  readonly exitCode: number;
  readonly says: readonly (string | RegExp)[];
}

/** Runs a build that must be refused, with the words that matter, and not a byte of the disk may change. */
async function expectRefusal(
  { work, file, upload }: Bench,
  args: readonly string[],
  { exitCode, says }: Refusal,
  before: string = digest(file),
): Promise<Ended> {
  const ended = await runCli(work, ['build', upload, '--allow-unsigned', ...args]);
  expect(ended.exitCode, ended.stderr).toBe(exitCode);
  // Lines are broken to fit a terminal.
  const words = ended.stderr.replaceAll(/\s+/g, ' ');
  for (const word of says) expect(words).toMatch(word);
  expect(words).toContain('nothing was touched');
  runJudge('sync', []);
  expect(digest(file)).toBe(before);
  return ended;
}

describe('a device in use', () => {
  test('mounted, also for reading only', async () => {
    const bench = setUp();
    const device = attachLoop(bench.file);
    await withDeviceMount(device, async (folder) => {
      await expectRefusal(bench, ['-o', device], {
        exitCode: 2,
        says: [/the device is in use/, `mounted at ${folder}`],
      });
      expect(readFileSync(join(folder, 'patch')).equals(uploadBytes(1000))).toBe(true);
    });
  });

  test('mounted, and forced', async () => {
    const bench = setUp();
    const device = attachLoop(bench.file);
    await withDeviceMount(device, async () => {
      await expectRefusal(bench, ['-o', device, '--force'], { exitCode: 2, says: [/mounted at/] });
    });
  });

  test('claimed by another program', async () => {
    const bench = setUp();
    const device = attachLoop(bench.file);
    const fd = openSync(device, constants.O_RDONLY | constants.O_EXCL);
    try {
      const says = [/another program has claimed it/];
      await expectRefusal(bench, ['-o', device], { exitCode: 2, says });
    } finally {
      closeSync(fd);
    }
    // And without it, all is well.
    await mustBuild(bench.work, [bench.upload, '-o', device, '--allow-unsigned']);
  });

  test('of two builds one has it', async () => {
    const bench = setUp();
    const device = attachLoop(bench.file);
    const args = ['build', bench.upload, '-o', device, '--allow-unsigned'];
    const runs = [startCli(bench.work, args), startCli(bench.work, args)];
    const ended = await Promise.all(runs.map((run) => run.ended));
    const codes = ended.map(({ exitCode }) => exitCode);
    // They may also have come one after the other.
    expect(codes).toContain(0);
    expect(codes.every((code) => code === 0 || code === 2)).toBe(true);
    for (const { exitCode, stderr } of ended) if (exitCode === 2) expect(stderr).toContain('in use');
  });

  test('a disk with a mounted partition', async (context) => {
    requireTool(context, 'addpart', 'delpart');
    const work = workspace();
    const file = createSparse(work.output('disk'), 64 * MIB);
    writeMbr(file, 2048, (32 * MIB) / 512);
    writeAt(file, MIB, readFileSync(sampleImage(work.folder, uploadBytes(1000))));
    const device = attachLoop(file);
    const partition = `${device}p1`;
    // What a kernel with support for this kind of table does by itself.
    expect(runJudge('addpart', [device, '1', '2048', String((32 * MIB) / 512)]).exitCode).toBe(0);
    onTestFinished(() => void runJudge('delpart', [device, '1']));
    const upload = work.input('upload', uploadBytes(MIB + 1));
    await withDeviceMount(partition, async (folder) => {
      const refusal = { exitCode: 2, says: [/in use/, `mounted at ${folder}`] };
      await expectRefusal({ work, file, upload }, ['-o', device, '--force'], refusal);
    });
    const { stderr } = await expectRefusal({ work, file, upload }, ['-o', device], {
      exitCode: 2,
      says: [/MBR partition table/],
    });
    expect(stderr).toContain('--force');
    await mustBuild(work, [upload, '-o', partition, '--allow-unsigned']);
    await expectPatchOnDevice(work, partition, upload, 16 * MIB);
  });
});

describe('a device that cannot do', () => {
  test('too small for the image: both sizes and the way out', async () => {
    const bench = setUp();
    const upload = bench.work.input('upload', uploadBytes(9 * MIB));
    const device = attachLoop(bench.file);
    const says = ['32 MiB', '36 MiB', `--size ${DISK_BYTES}`];
    await expectRefusal({ ...bench, upload }, ['-o', device], { exitCode: 5, says });
    // And that is a way out.
    await mustBuild(bench.work, [upload, '-o', device, '--allow-unsigned', '--size', String(DISK_BYTES)]);
  });

  test('too small for an upload without a length; not a byte of it is read', async () => {
    const bench = setUp();
    const device = attachLoop(bench.file);
    const before = digest(bench.file);
    const fd = openSync('/dev/zero', 'r');
    try {
      const { ended } = startCli(bench.work, ['build', '-', '-o', device, '--allow-unsigned'], { stdin: fd });
      const { exitCode, stderr } = await ended;
      expect(exitCode).toBe(5);
      expect(stderr).toContain('4 GiB');
      expect(stderr).toContain('32 MiB');
    } finally {
      closeSync(fd);
    }
    expect(digest(bench.file)).toBe(before);
  });

  test('read-only', async () => {
    const bench = setUp();
    const device = attachLoop(bench.file, '--read-only');
    await expectRefusal(bench, ['-o', device], { exitCode: 2, says: [/read-only/] });
  });

  test('without anything behind it, also one that was read-only when it was given up', async (context) => {
    const bench = setUp();
    // Others look for a free one from the lowest number on: nobody takes the last one in between.
    const device = ['/dev/loop7', '/dev/loop6', '/dev/loop5'].find(
      (path) => runJudge('losetup', ['--read-only', path, bench.file]).exitCode === 0,
    );
    if (device === undefined) return unavailable(context, 'all of the last loop devices are in use');
    expect(runJudge('losetup', ['--detach', device]).exitCode).toBe(0);
    const says = [/nothing behind the device|no such device/i];
    await expectRefusal(bench, ['-o', device], { exitCode: 2, says });
  });

  test.for(['vhd', 'vhd-fixed'])('a %s on a device', async (format) => {
    const bench = setUp();
    const device = attachLoop(bench.file);
    const says = [`format ${format}`, /--format raw/];
    await expectRefusal(bench, ['-o', device, '--format', format], { exitCode: 2, says });
  });

  test('the upload itself', async () => {
    const bench = setUp();
    const device = attachLoop(bench.file);
    const says = [/would replace the upload/];
    await expectRefusal({ ...bench, upload: device }, ['-o', device], { exitCode: 2, says });
  });

  test('behind >', async () => {
    const bench = setUp();
    const device = attachLoop(bench.file);
    const before = digest(bench.file);
    const fd = openSync(device, 'r+');
    try {
      const args = ['build', bench.upload, '--format', 'raw', '--allow-unsigned'];
      const { exitCode, stderr } = await startCli(bench.work, args, { stdout: fd }).ended;
      expect(exitCode).toBe(2);
      expect(stderr).toContain('name the device with -o');
      expectCleanText(stderr);
    } finally {
      closeSync(fd);
    }
    expect(digest(bench.file)).toBe(before);
  });
});

/** A partition table with one entry (the layout is that of every PC since 1983). */
function writeMbr(file: string, firstSector: number, sectorCount: number): void {
  const sector = Buffer.alloc(512);
  sector[446 + 4] = 0x83;
  sector.writeUInt32LE(firstSector, 446 + 8);
  sector.writeUInt32LE(sectorCount, 446 + 12);
  sector.writeUInt16LE(0xaa55, 510);
  writeAt(file, 0, sector);
}

const put = (offset: number, text: string) => (file: string) =>
  writeAt(file, offset < 0 ? DISK_BYTES + offset : offset, Buffer.from(text, 'latin1'));
const MD = '\xfc\x4e\x2b\xa9';

describe('more than a file system', () => {
  const CASES: readonly (readonly [string, RegExp, (file: string) => void])[] = [
    ['an MBR', /MBR partition table/, (file) => writeMbr(file, 2048, 2048)],
    ['a GPT', /GPT partition table/, put(512, 'EFI PART')],
    ['a GPT in sectors of 4 KiB', /GPT partition table/, put(4 * KIB, 'EFI PART')],
    ['the second half of a GPT', /GPT partition table/, put(-512, 'EFI PART')],
    ['LVM', /LVM/, put(512, 'LABELONE')],
    ['LUKS', /LUKS/, put(0, 'LUKS\xba\xbe')],
    ['swap', /swap/, put(4 * KIB - 10, 'SWAPSPACE2')],
    ['swap of another machine', /swap/, put(64 * KIB - 10, 'SWAPSPACE2')],
    ['RAID 0.90', /RAID/, put(-64 * KIB, MD)],
    ['RAID 1.0', /RAID/, put(-8 * KIB, MD)],
    ['RAID 1.1', /RAID/, put(0, MD)],
    ['RAID 1.2', /RAID/, put(4 * KIB, MD)],
  ];

  test.for(CASES)('%s is refused, and goes with --force, without a trace', async ([, says, mark]) => {
    const bench = setUp();
    mark(bench.file);
    const device = attachLoop(bench.file);
    await expectRefusal(bench, ['-o', device], { exitCode: 2, says: [says, /--force/] });
    await mustBuild(bench.work, [bench.upload, '-o', device, '--allow-unsigned', '--force']);
    const found = runJudge('blkid', ['-p', '-o', 'export', device]);
    expect(found.stdout).toContain('TYPE=ext4');
    expect(found.exitCode).toBe(0);
    const twice = createSparse(bench.work.output('twice'), DISK_BYTES);
    copyFileSync(bench.file, twice);
    const again = attachLoop(twice);
    await mustBuild(bench.work, [bench.upload, '-o', again, '--allow-unsigned']);
  });

  test('what swap space and RAID really look like', async (context) => {
    requireTool(context, 'mkswap');
    const bench = setUp();
    expect(runJudge('mkswap', ['--force', bench.file]).exitCode).toBe(0);
    await expectRefusal(bench, ['-o', attachLoop(bench.file)], { exitCode: 2, says: [/swap/] });
  });

  test('a boot sector is no partition table', async () => {
    const bench = setUp();
    const sector = Buffer.alloc(512, 'x');
    sector.writeUInt16LE(0xaa55, 510);
    writeAt(bench.file, 0, sector);
    await mustBuild(bench.work, [bench.upload, '-o', attachLoop(bench.file), '--allow-unsigned']);
  });
});

describe('--target-is-zeroed', () => {
  test.for([
    ['a file system at the start', undefined],
    ['one byte at the end', DISK_BYTES - 1],
  ] as const)('is not believed: %s', async ([, offset]) => {
    const bench = setUp();
    if (offset !== undefined) {
      writeAt(bench.file, 0, Buffer.alloc(16 * MIB));
      writeAt(bench.file, offset, Buffer.of(1));
    }
    const device = attachLoop(bench.file);
    const says = [/the device is not zeroed/, /leave out --target-is-zeroed/];
    await expectRefusal(bench, ['-o', device, '--target-is-zeroed'], { exitCode: 2, says });
  });

  test('is nothing to say of a file', async () => {
    const work = workspace();
    const upload = work.input('upload', 'x');
    const args = ['build', upload, '-o', work.output('x.raw'), '--allow-unsigned', '--target-is-zeroed'];
    const { exitCode, stderr } = await runCli(work, args);
    expect(exitCode).toBe(2);
    expect(stderr).toContain('only a block device');
    expect(work.outputs()).toEqual([]);
  });
});

test('nothing is destroyed for what fails before the first byte of the upload', async () => {
  const bench = setUp();
  const device = attachLoop(bench.file);
  const empty = { ...bench, upload: bench.work.input('empty', '') };
  const words = { says: [/empty/], exitCode: 4 };
  await expectRefusal(empty, ['-o', device], words);
  const before = digest(bench.file);
  const { exitCode, stderr } = await runCli(
    bench.work,
    ['build', '-', '-o', device, '--allow-unsigned', '--size', '16M'],
    { stdin: { path: empty.upload, through: 'pipe' } },
  );
  expect(exitCode, stderr).toBe(4);
  expect(stderr).toContain('nothing was touched');
  const keyring = bench.work.input('no-keyring', 'not a key');
  const refused = await runCli(bench.work, ['build', bench.upload, '-o', device, '--keyring', keyring]);
  expect(refused.exitCode).not.toBe(0);
  expect(refused.stderr).toContain('nothing was touched');
  expect(digest(bench.file)).toBe(before);
  expect(readAt(device, 1024 + 0x38, 2).readUInt16LE()).toBe(0xef53);
});
