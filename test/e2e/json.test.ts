import { expect, test } from 'vitest';
import { superblockField } from '../oracles/dumpe2fs.js';
import { mustBuild, runCli } from './cli.js';
import { uploadBytes } from './uploads.js';
import { workspace, type Workspace } from './workspace.js';

test('one object on standard output, nothing on standard error', async () => {
  const work = workspace();
  const upload = work.input('upload', uploadBytes(70_001));
  const image = work.output('x.raw');
  const { stdout, stderr } = await mustBuild(work, [
    upload,
    '-o',
    image,
    '--allow-unsigned',
    '--json',
    '--label',
    'L',
  ]);
  expect(stderr).toBe('');
  const result = JSON.parse(stdout) as Record<string, unknown>;
  expect(result).toMatchObject({
    ok: true,
    output: image,
    format: 'raw',
    filesystem: 'ext4',
    virtualSize: 16_777_216,
    outputLength: 16_777_216,
    payloadLength: 70_001,
    label: 'L',
    verifiedBy: 'nothing',
    signatures: [],
    warnings: [],
  });
  expect(result['filesystemUuid']).toBe(superblockField(image, 'Filesystem UUID'));
  const freeBlocks = Number(superblockField(image, 'Free blocks'));
  expect(result['scratchBytes']).toBe(freeBlocks * 4096);
});

test('one object on standard error when the image goes to standard output', async () => {
  const work = workspace();
  const upload = work.input('upload', 'x');
  const image = work.output('x.vhd');
  const { stderr } = await mustBuild(work, [upload, '--format', 'vhd', '--allow-unsigned', '--json'], {
    stdout: { path: image, through: 'pipe' },
  });
  expect(JSON.parse(stderr)).toMatchObject({ ok: true, output: 'standard output', format: 'vhd' });
});

const FAILURES: readonly (readonly [
  name: string,
  args: (work: Workspace) => string[],
  exitCode: number,
  kind: string,
])[] = [
  ['an unknown option', () => ['--no-such-option'], 2, 'usage'],
  ['an option without its value', () => ['--keyring'], 2, 'usage'],
  ['a format that does not exist', () => ['--format', 'qcow2'], 2, 'usage'],
  ['too many arguments', () => ['--allow-unsigned', 'another'], 2, 'usage'],
  ['a bad size', () => ['--allow-unsigned', '--size', '1e9'], 2, 'usage'],
  ['no keyring', () => [], 3, 'signature'],
  ['a wrong SHA-256', () => ['--allow-sha256', '0'.repeat(64)], 3, 'signature'],
  ['a signature without a keyring', (work) => ['--signature', work.folder], 2, 'usage'],
];

test.for(FAILURES)(
  '%s: one object on standard output, or on standard error',
  async ([, args, exitCode, kind]) => {
    const work = workspace();
    const upload = work.input('upload', 'x');
    const expected = { ok: false, error: { kind, exitCode, code: `PATCH_VDI_${kind.toUpperCase()}` } };
    const toFile = await runCli(work, ['build', upload, '-o', work.output('x.raw'), '--json', ...args(work)]);
    expect(toFile.exitCode).toBe(exitCode);
    expect(toFile.stderr).toBe('');
    expect(JSON.parse(toFile.stdout)).toMatchObject(expected);
    const toStdout = await runCli(work, ['build', upload, '--json', '--format', 'raw', ...args(work)]);
    expect(toStdout.exitCode).toBe(exitCode);
    expect(toStdout.stdout).toBe('');
    expect(JSON.parse(toStdout.stderr)).toMatchObject(expected);
  },
);

test.for([
  ['plan', '/nonexistent', '--format', 'raw'],
  ['plan', '-', '--format', 'raw'],
  ['plan', '-', '--format', 'raw', '--content-length', '5T'],
  ['doctor', '--no-such-option'],
])('%s %s: an error on standard output', async (args) => {
  const { exitCode, stdout, stderr } = await runCli(workspace(), [...args, '--json']);
  expect(stderr).toBe('');
  const { ok, error } = JSON.parse(stdout) as { ok: boolean; error: { exitCode: number; message: string } };
  expect(ok).toBe(false);
  expect(error.exitCode).toBe(exitCode);
  expect(error.message).not.toBe('');
});

test('doctor --json', async () => {
  const { exitCode, stdout, stderr } = await runCli(workspace(), ['doctor', '--json']);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
  const { ok, tools } = JSON.parse(stdout) as { ok: boolean; tools: { program: string; verdict: string }[] };
  expect(ok).toBe(true);
  expect(tools.map(({ program }) => program).sort()).toEqual(['debugfs', 'e2fsck', 'gpgv', 'mke2fs']);
});
