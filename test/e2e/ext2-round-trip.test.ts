import { basename } from 'node:path';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { mustBuild, runCli } from './cli.js';
import { expectNoOutput } from './judges/nothing-usable.js';
import { difference } from './judges/same-bytes.js';
import { OLD_FILESYSTEMS, expectOldDisk, requireOldDiskJudges } from './old-disks.js';
import { GIB, KIB, MIB, uploadBytes, writeUpload } from './uploads.js';
import { ACCESSES, buildIn, FIXED, FORMATS } from './ways-to-build.js';
import { workspace } from './workspace.js';

vi.setConfig({ testTimeout: 180_000 });

beforeEach((context) => requireOldDiskJudges(context));

/** Upload sizes and, by hand, the sizes of their disks. 48 KiB are 12 blocks: behind them come indirect blocks. */
const SIZES = [
  [1, 16 * MIB],
  [4095, 16 * MIB],
  [4096, 16 * MIB],
  [4097, 16 * MIB],
  [48 * KIB, 16 * MIB],
  [48 * KIB + 1, 16 * MIB],
  [2 * MIB - 1, 16 * MIB],
  [2 * MIB + 1, 16 * MIB],
  // 12 + 1024 blocks: behind them come double indirect blocks.
  [4144 * KIB, 18 * MIB],
  [4144 * KIB + 1, 18 * MIB],
] as const;

describe.for(OLD_FILESYSTEMS.flatMap((filesystem) => FORMATS.map((format) => [filesystem, format] as const)))(
  '%s in %s',
  ([filesystem, format]) => {
    const args = ['--filesystem', filesystem, ...FIXED];

    test.for(SIZES)('an upload of %i bytes is what every judge finds', async ([size, virtualSize]) => {
      const work = workspace();
      const upload = work.input('upload', uploadBytes(size));
      const image = await buildIn(work, upload, format, ['pipe', 'file'], args);
      await expectOldDisk(image, format, filesystem, upload, virtualSize);
    });

    test('all nine ways give the same bytes', async () => {
      const work = workspace();
      const upload = work.input('upload', uploadBytes(5 * MIB + 3));
      const first = await buildIn(work, upload, format, ['file', 'file'], args);
      for (const source of ACCESSES) {
        for (const sink of ACCESSES) {
          if (source === 'file' && sink === 'file') continue;
          const other = await buildIn(work, upload, format, [source, sink], args);
          expect(difference(other, first), basename(other)).toBeUndefined();
        }
      }
    });

    test('an upload over several groups, into a file and into a stream', async () => {
      const work = workspace();
      const upload = writeUpload(`${work.folder}/upload`, 150 * MIB);
      const file = await buildIn(work, upload, format, ['pipe', 'file'], args);
      await expectOldDisk(file, format, filesystem, upload, 600 * MIB);
      const stream = await buildIn(work, upload, format, ['file', 'pipe'], args);
      expect(difference(stream, file)).toBeUndefined();
    });

    test.for([5 * MIB + 3, 2 * MIB, 1])(
      '%i bytes without a length, in one pass into a file',
      async (size) => {
        const work = workspace();
        const upload = work.input('upload', uploadBytes(size));
        const image = work.output(`x.${format}`);
        const unknown = ['-', '-o', image, ...args, '--json', '--size', '150M'];
        const { stdout } = await mustBuild(work, unknown, { stdin: { path: upload, through: 'pipe' } });
        expect(JSON.parse(stdout)).toMatchObject({ filesystem, virtualSize: 150 * MIB, spooled: false });
        const known = await buildIn(work, upload, format, ['file', 'file'], [...args, '--size', '150M']);
        expect(difference(image, known)).toBeUndefined();
        await expectOldDisk(image, format, filesystem, upload, 150 * MIB);
      },
    );

    test('three quarters of a disk can be filled, not a byte more', async () => {
      const work = workspace();
      // 64 MiB are 32 units: 24 for the payload.
      const upload = writeUpload(`${work.folder}/upload`, 48 * MIB);
      const image = work.output(`x.${format}`);
      await mustBuild(work, [upload, '-o', image, ...args, '--size', '64M']);
      await expectOldDisk(image, format, filesystem, upload, 64 * MIB);

      const over = workspace();
      const more = writeUpload(`${over.folder}/upload`, 48 * MIB + 1);
      const refused = ['-o', over.output(`x.${format}`), ...args, '--size', '64M'];
      const known = await runCli(over, ['build', more, ...refused]);
      expect(known.exitCode).toBe(5);
      expect(known.stderr).toContain('48 MiB at most in an image of 64 MiB');
      const unknown = await runCli(over, ['build', '-', ...refused], {
        stdin: { path: more, through: 'pipe' },
      });
      expect(unknown.exitCode).toBe(5);
      expectNoOutput(over);
    });
  },
);

test.for(OLD_FILESYSTEMS)('without a length the disk has 4 GiB (%s)', async (filesystem) => {
  const work = workspace();
  const upload = work.input('upload', uploadBytes(5 * MIB + 3));
  const image = work.output('x.vhd');
  const args = ['-', '-o', image, ...FIXED, '--filesystem', filesystem];
  await mustBuild(work, args, { stdin: { path: upload, through: 'pipe' } });
  await expectOldDisk(image, 'vhd', filesystem, upload, 4 * GIB);
});

test('the file system is part of what an epoch makes', async () => {
  const work = workspace();
  const upload = work.input('upload', uploadBytes(1000));
  const uuids: string[] = [];
  for (const filesystem of ['ext2', 'ext3', 'ext4']) {
    const args = [upload, '-o', work.output(`${filesystem}.raw`), ...FIXED, '--filesystem', filesystem];
    const { stdout } = await mustBuild(work, [...args, '--json']);
    uuids.push((JSON.parse(stdout) as { filesystemUuid: string }).filesystemUuid);
  }
  expect(new Set(uuids).size).toBe(3);
});

test('another file system is a wrong option', async () => {
  const work = workspace();
  const upload = work.input('upload', uploadBytes(1000));
  const args = ['build', upload, '-o', work.output('x.raw'), '--allow-unsigned', '--filesystem', 'xfs'];
  const { exitCode, stderr } = await runCli(work, args);
  expect(exitCode).toBe(2);
  expect(stderr).toContain('ext4, ext3, ext2');
  expectNoOutput(work);
});
