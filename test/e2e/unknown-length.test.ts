import { expect, test } from 'vitest';
import { mustBuild, runCli } from './cli.js';
import { expectNoOutput, expectUselessOutput } from './judges/nothing-usable.js';
import { expectPatchDisk, requireImageJudges } from './judges/patch-disk.js';
import { GIB, MIB, writeUpload } from './uploads.js';
import { FORMATS } from './ways-to-build.js';
import { workspace } from './workspace.js';

test.for(FORMATS)('without a length the disk has 4 GiB (%s file)', async (format, context) => {
  requireImageJudges(context);
  const work = workspace();
  const upload = writeUpload(`${work.folder}/upload`, 5 * MIB + 3);
  const image = work.output(`x.${format}`);
  await mustBuild(work, ['-', '-o', image, '--allow-unsigned'], { stdin: { path: upload, through: 'pipe' } });
  await expectPatchDisk(image, format, upload, 4 * GIB);
});

test('without a length a VHD goes to a pipe, too', async (context) => {
  requireImageJudges(context);
  const work = workspace();
  const upload = writeUpload(`${work.folder}/upload`, 5 * MIB + 3);
  const image = work.output('x.vhd');
  await mustBuild(work, ['-', '--format', 'vhd', '--allow-unsigned'], {
    stdin: { path: upload, through: 'pipe' },
    stdout: { path: image, through: 'pipe' },
  });
  await expectPatchDisk(image, 'vhd', upload, 4 * GIB);
});

test.for(FORMATS)(
  'without a length --size says how large the disk is (%s behind >)',
  async (format, context) => {
    requireImageJudges(context);
    const work = workspace();
    // As much as fits: all but the first and the last 2 MiB of 16.
    const upload = writeUpload(`${work.folder}/upload`, 12 * MIB);
    const image = work.output(`x.${format}`);
    await mustBuild(work, ['-', '--format', format, '--allow-unsigned', '--size', '16M'], {
      stdin: { path: upload, through: 'pipe' },
      stdout: { path: image, through: 'redirection' },
    });
    await expectPatchDisk(image, format, upload, 16 * MIB);
  },
);

test.for(FORMATS.flatMap((format) => [12 * MIB + 1, 20 * MIB].map((bytes) => [format, bytes] as const)))(
  '%s: %i bytes do not fit into 16 MiB, with or without a length',
  async ([format, bytes], context) => {
    requireImageJudges(context);
    const work = workspace();
    const upload = writeUpload(`${work.folder}/upload`, bytes);
    const file = ['-o', work.output(`x.${format}`), '--allow-unsigned', '--size', '16M'];

    const known = await runCli(work, ['build', upload, ...file]);
    expect(known.exitCode).toBe(5);
    expect(known.stderr).toContain(`${bytes === 20 * MIB ? '20 MiB' : '12582913 bytes'}`);
    expect(known.stderr).toContain('16 MiB');
    expectNoOutput(work);

    const unknown = await runCli(work, ['build', '-', ...file], { stdin: { path: upload, through: 'pipe' } });
    expect(unknown.exitCode).toBe(5);
    expect(unknown.stderr).toContain('16 MiB');
    // How much there is nobody knows; how much there is at least is said.
    expect(unknown.stderr).toMatch(/found\s+.*\d+ bytes|found\s+.*MiB/);
    expectNoOutput(work);

    const image = work.output('stdout');
    const streamed = await runCli(
      work,
      ['build', '-', '--format', format, '--allow-unsigned', '--size', '16M'],
      {
        stdin: { path: upload, through: 'pipe' },
        stdout: { path: image, through: 'redirection' },
      },
    );
    expect(streamed.exitCode).toBe(5);
    await expectUselessOutput(image, format);
  },
);
