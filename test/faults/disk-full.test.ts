import { copyFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { runCli } from '../e2e/cli.js';
import { usesOf } from '../e2e/judges/importer.js';
import { expectNoOutput, expectUselessOutput } from '../e2e/judges/nothing-usable.js';
import { requireImageJudges } from '../e2e/judges/patch-disk.js';
import { KIB, MIB, writeUpload } from '../e2e/uploads.js';
import { FORMATS } from '../e2e/ways-to-build.js';
import { workspace } from '../e2e/workspace.js';
import { clean } from '../oracles/e2fsck.js';
import { withSmallDisk } from '../oracles/kernel-mount.js';

beforeEach((context) => requireImageJudges(context));

/** Full in the payload, at its end, and in the metadata behind it. */
const DISKS = [4 * KIB, MIB, 11 * MIB, 12 * MIB + 16 * KIB];

test.for(FORMATS.flatMap((format) => DISKS.map((size) => [format, size] as const)))(
  'a %s file on a disk of %i bytes',
  async ([format, size]) => {
    const work = workspace();
    const upload = writeUpload(`${work.folder}/upload`, 12 * MIB);
    await withSmallDisk(size, async (folder) => {
      const image = join(folder, `x.${format}`);
      const { exitCode, stderr } = await runCli(work, ['build', upload, '-o', image, '--allow-unsigned']);
      expect(exitCode, stderr).toBe(5);
      expect(stderr).toContain('no room left for the output');
      expect(stderr).toContain(image);
      expect(readdirSync(folder)).toEqual([]);
    });
  },
);

test.for(FORMATS)('a %s image behind > on a small disk', async (format) => {
  const work = workspace();
  const upload = writeUpload(`${work.folder}/upload`, 12 * MIB);
  await withSmallDisk(6 * MIB, async (folder) => {
    const image = join(folder, 'image');
    const { exitCode, stderr } = await runCli(
      work,
      ['build', upload, '--format', format, '--allow-unsigned'],
      {
        stdout: { path: image, through: 'redirection' },
      },
    );
    expect(exitCode, stderr).toBe(5);
    expect(stderr).toContain('no room left');
    const copy = work.output('image');
    copyFileSync(image, copy);
    if (format === 'vhd') await expectUselessOutput(copy, format);
    else {
      // The superblock of a raw image goes out first, once the upload is verified; but an image that is shorter than
      // its file system does not mount, and e2fsck is not content with it.
      expect(await usesOf(copy, format)).toMatchObject({ mounts: false });
      expect(() => clean(copy)).toThrow();
    }
  });
});

test('standard output is /dev/full', async () => {
  const work = workspace();
  const upload = work.input('upload', 'x');
  for (const format of FORMATS) {
    const { exitCode, stderr } = await runCli(
      work,
      ['build', upload, '--format', format, '--allow-unsigned'],
      {
        stdout: { path: '/dev/full', through: 'redirection' },
      },
    );
    expect(exitCode, stderr).toBe(5);
    expect(stderr).toContain('no room left');
  }
});

test.for([4 * KIB, 16 * KIB])('a TMPDIR with room for %i bytes', async (size) => {
  const work = workspace();
  const upload = writeUpload(`${work.folder}/upload`, 12 * MIB);
  await withSmallDisk(size, async (folder) => {
    const env = { TMPDIR: folder };
    const toFile = await runCli(work, ['build', upload, '-o', work.output('x.vhd'), '--allow-unsigned'], {
      env,
    });
    expect(toFile.exitCode, toFile.stderr).toBe(5);
    expect(toFile.stderr).toContain('no room left for temporary files');
    expect(toFile.stderr).toContain('set TMPDIR to another folder');
    expect(readdirSync(folder)).toEqual([]);
    expectNoOutput(work);
  });
});

test('a TMPDIR without room for an upload that must be kept first', async () => {
  const work = workspace();
  const upload = writeUpload(`${work.folder}/upload`, 12 * MIB);
  await withSmallDisk(8 * MIB, async (folder) => {
    const image = work.output('x.raw');
    const { exitCode, stderr } = await runCli(work, ['build', '-', '--format', 'raw', '--allow-unsigned'], {
      env: { TMPDIR: folder },
      stdin: { path: upload, through: 'pipe' },
      stdout: { path: image, through: 'redirection' },
    });
    expect(exitCode, stderr).toBe(5);
    expect(stderr).toContain(folder);
    expect(readdirSync(folder)).toEqual([]);
    await expectUselessOutput(image, 'raw');
  });
});
