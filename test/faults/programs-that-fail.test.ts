import { expect, test } from 'vitest';
import { runCli } from '../e2e/cli.js';
import { expectNoOutput, expectUselessOutput } from '../e2e/judges/nothing-usable.js';
import { requireImageJudges } from '../e2e/judges/patch-disk.js';
import { MIB, uploadBytes } from '../e2e/uploads.js';
import { workspace } from '../e2e/workspace.js';
import { fakeTools, MISSING, type Fakes } from './fake-tools.js';

const MKE2FS_BANNER = "echo 'mke2fs 1.47.0 (5-Feb-2023)' >&2";
const DEBUGFS_BANNER = "echo 'debugfs 1.47.0 (5-Feb-2023)' >&2";
const E2FSCK_BANNER = "echo 'e2fsck 1.47.0 (5-Feb-2023)' >&2";

/** What is wrong with a program, and what the message must say besides the program's name. */
const FAULTS: readonly (readonly [what: string, fakes: Fakes, says: string])[] = [
  ['mke2fs is missing', { mke2fs: MISSING }, 'mke2fs was not found'],
  ['debugfs is missing', { debugfs: MISSING }, 'debugfs was not found'],
  ['e2fsck is missing', { e2fsck: MISSING }, 'e2fsck was not found'],
  ['mke2fs is too old', { mke2fs: "echo 'mke2fs 1.42.13 (17-May-2015)' >&2" }, 'mke2fs is too old'],
  ['debugfs is too old', { debugfs: "echo 'debugfs 1.44.9 (1-Jan-2019)' >&2" }, 'debugfs is too old'],
  ['e2fsck is too old', { e2fsck: "echo 'e2fsck 1.41.3 (12-Oct-2008)' >&2" }, 'e2fsck is too old'],
  [
    'mke2fs prints an error and exits 0',
    { mke2fs: 'REAL "$@"; echo "no room for it" >&2' },
    'no room for it',
  ],
  [
    'debugfs prints an error and exits 0',
    { debugfs: 'REAL "$@"; echo "punch: oh dear" >&2' },
    'punch: oh dear',
  ],
  ['mke2fs says nothing and does nothing', { mke2fs: 'exit 0' }, 'mke2fs'],
  ['debugfs says nothing and does nothing', { debugfs: 'exit 0' }, 'debugfs'],
  ['e2fsck says nothing', { e2fsck: 'exit 0' }, 'e2fsck'],
  ['mke2fs shows its banner and does nothing', { mke2fs: MKE2FS_BANNER }, 'the template is not what'],
  ['e2fsck shows its banner and does nothing', { e2fsck: E2FSCK_BANNER }, 'e2fsck did not check'],
  ['debugfs shows its banner and does nothing', { debugfs: DEBUGFS_BANNER }, 'of patch'],
  ['mke2fs exits 1', { mke2fs: `${MKE2FS_BANNER}; exit 1` }, 'exit code 1'],
  ['mke2fs is killed', { mke2fs: 'kill -9 $$' }, 'SIGKILL'],
  ['debugfs crashes', { debugfs: 'kill -11 $$' }, 'SIGSEGV'],
  ['debugfs leaves out the size', { debugfs: 'sed -i /size/d "$3"; exec REAL "$@"' }, 'size of patch'],
  ['debugfs leaves out the mode', { debugfs: 'sed -i /mode/d "$3"; exec REAL "$@"' }, 'mode of patch'],
  ['debugfs leaves out the punch', { debugfs: 'sed -i /punch/d "$3"; exec REAL "$@"' }, 'blocks of patch'],
  [
    'mke2fs does not make the file',
    { mke2fs: 'sed -i "s/make_hugefiles = true/make_hugefiles = false/" "$MKE2FS_CONFIG"; exec REAL "$@"' },
    'patch',
  ],
  [
    'mke2fs puts the file elsewhere',
    {
      mke2fs:
        'case "$*" in *template*) sed -i "s/hugefiles_slack = .*/hugefiles_slack = 700/" "$MKE2FS_CONFIG";; esac; exec REAL "$@"',
    },
    'start of patch',
  ],
  [
    'e2fsck finds an error',
    { e2fsck: `${E2FSCK_BANNER}; echo 'Pass 1: x'; echo 'Inode 7 has a bad day'; exit 4` },
    'Inode 7 has a bad day',
  ],
  [
    'e2fsck has a remark and exits 0',
    { e2fsck: 'REAL "$@"; echo "Padding at end of bitmap is not set"' },
    'Padding at end',
  ],
  ['mke2fs prints without end', { mke2fs: 'exec yes' }, 'printed without end'],
];

test.for(FAULTS)('%s: exit code 7, nothing is sealed', async ([, fakes, says], context) => {
  requireImageJudges(context);
  const work = workspace();
  const upload = work.input('upload', uploadBytes(3 * MIB));
  const env = fakeTools(work, fakes);
  const toFile = await runCli(work, ['build', upload, '-o', work.output('x.vhd'), '--allow-unsigned'], {
    env,
  });
  expect(toFile.exitCode, toFile.stderr).toBe(7);
  expect(toFile.stderr.replaceAll(/\n\s*/g, ' ')).toContain(says);
  expectNoOutput(work);

  const image = work.output('stdout.vhd');
  const streamed = await runCli(work, ['build', upload, '--format', 'vhd', '--allow-unsigned'], {
    env,
    stdout: { path: image, through: 'redirection' },
  });
  expect(streamed.exitCode, streamed.stderr).toBe(7);
  await expectUselessOutput(image, 'vhd');
});

test('a missing program is an error that says how to get it, and doctor lists it', async () => {
  const work = workspace();
  const upload = work.input('upload', 'x');
  const env = fakeTools(work, { mke2fs: MISSING, gpgv: MISSING });
  const { stderr } = await runCli(work, ['build', upload, '-o', work.output('x.raw'), '--allow-unsigned'], {
    env,
  });
  expect(stderr).toContain('apt-get install e2fsprogs');
  const doctor = await runCli(work, ['doctor'], { env });
  expect(doctor.exitCode).toBe(7);
  expect(doctor.stdout).toMatch(/mke2fs +missing|mke2fs +not found/i);
  expect(doctor.stdout).toMatch(/Not usable: mke2fs, gpgv/);
  const json = await runCli(work, ['doctor', '--json'], { env });
  expect(json.exitCode).toBe(7);
  expect(JSON.parse(json.stdout)).toMatchObject({ ok: false });
});
