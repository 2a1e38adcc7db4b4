import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { requireTool } from '../oracles/require-tool.js';
import { mustBuild, runCli } from './cli.js';
import { expectNoOutput } from './judges/nothing-usable.js';
import { makeSigningBench, type SigningBench } from './signed-uploads.js';
import { workspace } from './workspace.js';

let bench: SigningBench;
beforeAll(() => {
  bench = makeSigningBench();
});
afterAll(() => bench.close());

test('a host keeps its keys in a folder: only its keyring is opened, and only to be read', async (context) => {
  requireTool(context, 'strace');
  const work = workspace();
  const host = join(work.folder, 'opt/xensource/gpg');
  mkdirSync(host, { recursive: true });
  const legacy = join(work.folder, 'pubring.gpg');
  const made = spawnSync('gpg', [
    '--batch',
    '--homedir',
    work.folder,
    '--no-default-keyring',
    '--keyring',
    `gnupg-ring:${legacy}`,
    '--import',
    bench.keyring,
  ]);
  expect(made.status, made.stderr.toString()).toBe(0);
  copyFileSync(legacy, join(host, 'pubring.gpg'));
  const calls = join(work.folder, 'calls');
  const upload = work.input('upload', bench.plain);
  await mustBuild(work, [upload, '-o', work.output('x.vhd'), '--keyring', host], {
    wrapper: ['strace', '-f', '-qq', '-e', 'trace=%file', '-o', calls],
  });
  expect(readdirSync(host)).toEqual(['pubring.gpg']);
  const touched = readFileSync(calls, 'utf8')
    .split('\n')
    .filter((line) => line.includes(host) && !line.includes('execve('));
  const opened = touched.filter((line) => line.includes('open'));
  expect(opened).toHaveLength(1);
  expect(opened[0]).toMatch(/pubring\.gpg", O_RDONLY/);
  expect(touched.filter((line) => !/open|stat/.test(line))).toEqual([]);
});

test('a folder with a keybox, by a relative name', async () => {
  const work = workspace();
  mkdirSync(join(work.folder, 'home'));
  copyFileSync(join(bench.gpg.home, 'pubring.kbx'), join(work.folder, 'home/pubring.kbx'));
  const upload = work.input('upload', bench.plain);
  await mustBuild(work, [upload, '-o', work.output('x.vhd'), '--keyring', 'home']);
});

test('a folder without a keyring', async () => {
  const work = workspace();
  const upload = work.input('upload', bench.plain);
  const { exitCode, stderr } = await runCli(work, [
    'build',
    upload,
    '-o',
    work.output('x.vhd'),
    '--keyring',
    work.out,
  ]);
  expect(exitCode).toBe(2);
  expect(stderr).toContain('neither pubring.kbx nor pubring.gpg');
  expectNoOutput(work);
});

test('the keyring of a folder is not replaced by the image', async () => {
  const work = workspace();
  copyFileSync(join(bench.gpg.home, 'pubring.kbx'), join(work.out, 'pubring.kbx'));
  const upload = work.input('upload', bench.plain);
  const args = ['build', upload, '-o', work.output('pubring.kbx'), '--format', 'raw', '--force'];
  const { exitCode, stderr } = await runCli(work, [...args, '--keyring', work.out]);
  expect(exitCode).toBe(2);
  expect(stderr).toContain('the output would replace a keyring');
});
