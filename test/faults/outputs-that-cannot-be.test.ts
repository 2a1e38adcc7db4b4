import { spawnSync } from 'node:child_process';
import { lstatSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { expectNothingLeft, mustBuild, runCli, type Ended } from '../e2e/cli.js';
import { uploadBytes } from '../e2e/uploads.js';
import { workspace, type Workspace } from '../e2e/workspace.js';
import { clean } from '../oracles/e2fsck.js';
import { withSmallDisk } from '../oracles/kernel-mount.js';
import { requireRoot, requireTool, unavailable } from '../oracles/require-tool.js';

function build(work: Workspace, image: string, ...args: string[]): Promise<Ended> {
  const upload = work.input('upload', uploadBytes(10_000));
  return runCli(work, ['build', upload, '-o', image, '--allow-unsigned', ...args]);
}

/** A refusal before anything was touched. */
async function expectRefusal(work: Workspace, image: string, says: string, ...args: string[]): Promise<void> {
  const { exitCode, stdout, stderr } = await build(work, image, ...args);
  expect(exitCode, stderr).toBe(2);
  expect(stdout).toBe('');
  expect(stderr.replaceAll(/\n\s*/g, ' ')).toContain(says);
  expect(stderr).toContain('nothing was touched');
  expectNothingLeft(work);
}

test('a folder that does not exist', async () => {
  const work = workspace();
  await expectRefusal(work, work.output('no/such/x.vhd'), 'mkdir -p');
  expect(work.outputs()).toEqual([]);
});

test('a file where a folder should be', async () => {
  const work = workspace();
  await expectRefusal(work, `${work.input('file', 'x')}/x.vhd`, 'not a folder');
});

test('a name that is too long', async () => {
  const work = workspace();
  await expectRefusal(work, work.output(`${'x'.repeat(250)}.vhd`), 'shorter name');
  expect(work.outputs()).toEqual([]);
});

test('a file system that is read-only', async (context) => {
  requireRoot(context);
  const work = workspace();
  await withSmallDisk(1 << 20, (folder) => expectRefusal(work, join(folder, 'x.vhd'), 'not read-only'), 'ro');
});

test('a folder that may not be changed, not even by root', async (context) => {
  requireRoot(context);
  requireTool(context, 'chattr');
  const work = workspace();
  const folder = work.output('folder');
  mkdirSync(folder);
  if (spawnSync('chattr', ['+i', folder]).status !== 0) {
    unavailable(context, `the file system of ${folder} has no immutable folders`);
  }
  onTestFinished(() => void spawnSync('chattr', ['-i', folder]));
  await expectRefusal(work, join(folder, 'x.vhd'), 'operation not permitted');
});

const OCCUPIED: readonly (readonly [what: string, make: (path: string) => void])[] = [
  ['a folder', (path) => mkdirSync(path)],
  ['a named pipe', (path) => void spawnSync('mkfifo', [path])],
  ['a device', (path) => void spawnSync('mknod', [path, 'c', '1', '3'])],
];

test.for(OCCUPIED)(
  'the name is that of %s, which --force does not replace either',
  async ([, make], context) => {
    requireRoot(context);
    const work = workspace();
    const image = work.output('x.vhd');
    make(image);
    const before = lstatSync(image);
    for (const force of [[], ['--force']]) {
      await expectRefusal(work, image, 'the output exists already', ...force);
      expect(lstatSync(image)).toMatchObject({ ino: before.ino, mode: before.mode, mtimeMs: before.mtimeMs });
    }
  },
);

test('a file that exists stays as it is, to the byte and the second', async () => {
  const work = workspace();
  const image = work.output('x.vhd');
  writeFileSync(image, 'precious');
  const before = statSync(image);
  await expectRefusal(work, image, '--force');
  expect(readFileSync(image, 'utf8')).toBe('precious');
  expect(statSync(image)).toMatchObject({ ino: before.ino, mtimeMs: before.mtimeMs, size: before.size });
});

test('a symbolic link to nowhere is a name in use', async () => {
  const work = workspace();
  const image = work.output('x.vhd');
  symlinkSync(work.output('elsewhere.vhd'), image);
  await expectRefusal(work, image, 'the output exists already');
  expect(work.outputs()).toEqual(['x.vhd']);
});

test('--force replaces a file', async () => {
  const work = workspace();
  const image = work.output('x.raw');
  writeFileSync(image, 'old');
  expect(await build(work, image, '--force')).toMatchObject({ exitCode: 0 });
  clean(image);
  expect(work.outputs()).toEqual(['x.raw']);
});

test('--force replaces a symbolic link, not the file that it leads to', async () => {
  const work = workspace();
  const image = work.output('x.raw');
  const target = work.input('target', 'precious');
  symlinkSync(target, image);
  expect(await build(work, image, '--force')).toMatchObject({ exitCode: 0 });
  expect(lstatSync(image).isFile()).toBe(true);
  clean(image);
  expect(readFileSync(target, 'utf8')).toBe('precious');
});

test('--force without anything to replace', async () => {
  const work = workspace();
  expect(await build(work, work.output('x.raw'), '--force')).toMatchObject({ exitCode: 0 });
  clean(work.output('x.raw'));
});

test('a build that fails with --force leaves the old file', async () => {
  const work = workspace();
  const image = work.output('x.vhd');
  writeFileSync(image, 'precious');
  const before = statSync(image);
  const upload = work.input('upload', uploadBytes(10_000));
  const verify = ['--allow-sha256', '0'.repeat(64)];
  const { exitCode, stderr } = await runCli(work, ['build', upload, '-o', image, '--force', ...verify]);
  expect(exitCode, stderr).toBe(3);
  expect(readFileSync(image, 'utf8')).toBe('precious');
  expect(statSync(image)).toMatchObject({ ino: before.ino, mtimeMs: before.mtimeMs });
  expect(work.outputs()).toEqual(['x.vhd']);
});

test.for([
  ['the upload', (image: string) => [image]],
  ['the upload', (image: string) => [`${image}.link`]],
  ['a keyring', (image: string) => ['-', '--keyring', image]],
  ['the signature', (image: string) => ['-', '--keyring', '/dev/null', '--signature', image]],
] as const)('--force does not replace %s', async ([what, inputs]) => {
  const work = workspace();
  const image = work.output('x.raw');
  writeFileSync(image, 'precious');
  symlinkSync(image, `${image}.link`);
  const args = inputs(image);
  const verify = args.includes('--keyring') ? [] : ['--allow-unsigned'];
  const { exitCode, stderr } = await runCli(work, ['build', ...args, '-o', image, '--force', ...verify]);
  expect(exitCode, stderr).toBe(2);
  expect(stderr).toContain(`the output would replace ${what}`);
  expect(readFileSync(image, 'utf8')).toBe('precious');
});

test('--force does not replace an upload that is redirected', async () => {
  const work = workspace();
  const image = work.output('x.raw');
  writeFileSync(image, 'precious');
  const { exitCode, stderr } = await runCli(
    work,
    ['build', '-', '-o', image, '--force', '--allow-unsigned'],
    {
      stdin: { path: image, through: 'redirection' },
    },
  );
  expect(exitCode, stderr).toBe(2);
  expect(readFileSync(image, 'utf8')).toBe('precious');
});

test('the image has the mode that the umask leaves', async () => {
  const work = workspace();
  const upload = work.input('upload', 'x');
  const wrapper = ['sh', '-c', 'umask 027; exec "$@"', 'sh'];
  await mustBuild(work, [upload, '-o', work.output('x.raw'), '--allow-unsigned'], { wrapper });
  expect(statSync(work.output('x.raw')).mode & 0o777).toBe(0o640);
});

test('a relative name, in the folder of the caller', async () => {
  const work = workspace();
  const upload = work.input('upload', 'x');
  await mustBuild(work, [upload, '-o', 'out/x.raw', '--allow-unsigned']);
  expect(work.outputs()).toEqual(['x.raw']);
});

test.for([
  ['no ending', 'image'],
  ['an ending that is no format', 'image.qcow2'],
] as const)('a name with %s does not tell the format', async ([, name]) => {
  const work = workspace();
  await expectRefusal(work, work.output(name), '--format vhd');
  expect(await build(work, work.output(name), '--format', 'raw')).toMatchObject({ exitCode: 0 });
  clean(work.output(name));
});
