import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { requireTool } from '../oracles/require-tool.js';
import { DEFAULT_SEARCH_PATH } from '../../src/tools/find.js';
import { runCli, type RunOptions } from './cli.js';
import { workspace, type Workspace } from './workspace.js';

beforeEach((context) => requireTool(context, 'gpg', 'gpgv', 'gpgconf'));

async function makeKey(
  work: Workspace,
  name: string,
  args: readonly string[] = [],
  options: RunOptions = {},
): Promise<string> {
  const folder = work.output(name);
  const { exitCode, stderr } = await runCli(work, ['test', 'key', '-o', folder, ...args], options);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
  return folder;
}

/** gpg with a home, as a user calls it; the folder has a short path, because of the agent's sockets. */
function gpg(home: string, ...args: string[]): { status: number | null; stdout: string; stderr: string } {
  onTestFinished(() => void spawnSync('gpgconf', ['--homedir', home, '--kill', 'all']));
  const { status, stdout, stderr } = spawnSync('gpg', ['--homedir', home, '--batch', ...args], {
    encoding: 'utf8',
    env: { PATH: process.env['PATH'], LC_ALL: 'C' },
  });
  return { status, stdout, stderr };
}

test('makes a folder that only its owner may enter, a home with the files that are promised', async () => {
  const work = workspace();
  const folder = await makeKey(work, 'keys');
  expect(statSync(folder).mode & 0o777).toBe(0o700);
  expect(statSync(join(folder, 'secret.pgp')).mode & 0o777).toBe(0o600);
  expect(readdirSync(folder)).toEqual(
    expect.arrayContaining(['FINGERPRINT', 'key.asc', 'keyring.gpg', 'private-keys-v1.d', 'secret.pgp']),
  );
  expect(readdirSync(folder).filter((name) => /^S\.|lock|~$|ownertrust/.test(name))).toEqual([]);
  expect(work.outputs()).toEqual(['keys']);
});

test('gpg signs with it, without being told anything, and verifies without a warning', async () => {
  const work = workspace();
  const folder = await makeKey(work, 'keys', ['--user-id', 'Größe <a@b>']);
  const file = work.input('file', 'content');
  const signed = gpg(folder, '-o', `${file}.gpg`, '--sign', file);
  expect(signed, signed.stderr).toMatchObject({ status: 0 });
  const verified = gpg(folder, '--status-fd', '1', '--verify', `${file}.gpg`);
  expect(verified.status).toBe(0);
  expect(verified.stderr).not.toMatch(/warning/i);
  const fingerprint = readFileSync(join(folder, 'FINGERPRINT'), 'utf8').trim();
  expect(verified.stdout).toContain(`VALIDSIG ${fingerprint}`);
  const keyring = join(folder, 'keyring.gpg');
  expect(spawnSync('gpgv', ['--keyring', keyring, `${file}.gpg`]).status).toBe(0);
  const ended = await runCli(work, [
    'build',
    `${file}.gpg`,
    '-o',
    work.output('x.vhd'),
    '--keyring',
    keyring,
  ]);
  expect(ended).toMatchObject({ exitCode: 0 });
});

test('the same seed makes the same files, whatever zone, locale and umask; another seed or epoch others', async () => {
  const work = workspace();
  const files = ['keyring.gpg', 'key.asc', 'FINGERPRINT', 'secret.pgp'];
  const read = (folder: string) => files.map((name) => readFileSync(join(folder, name), 'hex'));
  const first = read(await makeKey(work, '1', ['--seed', '7']));
  const others = [
    await makeKey(work, '2', ['--seed', '7'], { env: { TZ: 'Asia/Kathmandu', LC_ALL: 'tr_TR.UTF-8' } }),
    await makeKey(work, '3', ['--seed', '07'], { wrapper: ['/bin/sh', '-c', 'umask 0; exec "$@"', 'sh'] }),
    await makeKey(work, '4', ['--seed', '7'], { wrapper: ['/bin/sh', '-c', 'umask 077; exec "$@"', 'sh'] }),
    await makeKey(work, '5', ['--seed', '7'], { env: { SOURCE_DATE_EPOCH: '1577836800' } }),
  ];
  for (const folder of others) {
    expect(read(folder)).toEqual(first);
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    expect(statSync(join(folder, 'secret.pgp')).mode & 0o077).toBe(0);
  }
  expect(read(await makeKey(work, '6', ['--seed', '8']))).not.toEqual(first);
  expect(read(await makeKey(work, '7', ['--seed', '7', '--source-date-epoch', '1600000000']))).not.toEqual(
    first,
  );
  expect(read(await makeKey(work, '8'))).not.toEqual(read(await makeKey(work, '9')));
});

describe('--expires', () => {
  test.for([
    [['--expires', '86400'], '1577923200'],
    [['--expires', '2020-02-01'], '1580515200'],
    [['--expires', '2030-01-01', '--source-date-epoch', '1700000000'], '1893456000'],
    [[], ''],
  ] as const)('%j', async ([args, expires]) => {
    const folder = await makeKey(workspace(), 'keys', args);
    const listing = gpg(folder, '--with-colons', '--list-keys').stdout;
    expect(/^pub:(.*)$/m.exec(listing)?.[1]?.split(':')[5]).toBe(expires);
  });
});

test('tells in JSON what it made', async () => {
  const work = workspace();
  const folder = work.output('keys');
  const { stdout } = await runCli(work, ['test', 'key', '-o', folder, '--json', '--seed', '7']);
  expect(JSON.parse(stdout)).toEqual({
    ok: true,
    folder,
    keyring: join(folder, 'keyring.gpg'),
    fingerprint: '4CCEC4DDC009462E9E900F2A7E828DC383F15487',
    userId: 'patch-vdi test key <test@patch-vdi.invalid>',
    createdAt: 1_577_836_800,
    expiresAt: null,
  });
});

test('a folder, a file or a link of that name is left as it is', async () => {
  const work = workspace();
  mkdirSync(work.output('folder'));
  symlinkSync('/nowhere', work.output('link'));
  for (const name of ['folder', 'link']) {
    const { exitCode, stderr } = await runCli(work, ['test', 'key', '-o', work.output(name)]);
    expect(exitCode).toBe(2);
    expect(stderr).toContain('exists already');
  }
  expect(readdirSync(work.output('folder'))).toEqual([]);
  expect(work.outputs()).toEqual(['folder', 'link']);
});

test.for([
  ['no folder to make it in', ['-o', '/nowhere/keys']],
  ['seed', ['-o', 'k', '--seed', 'x']],
  ['expires', ['-o', 'k', '--expires', 'tomorrow']],
  ['a date that is none', ['-o', 'k', '--expires', '2030-02-30']],
  ['a date before the key', ['-o', 'k', '--expires', '2019-12-31']],
  ['a time that is none', ['-o', 'k', '--source-date-epoch', '0']],
  ['user ID', ['-o', 'k', '--user-id', '']],
  ['no output', []],
] as const)('%s: exit code 2, nothing made', async ([, args]) => {
  const work = workspace();
  const { exitCode, stdout } = await runCli(work, ['test', 'key', ...args]);
  expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
  expect(readdirSync(work.folder).sort()).toEqual(['out', 'tmp']);
});

describe('gpg that is not as it should be', () => {
  /** A search path with all but gpg, and whatever stands in for it. */
  function pathWith(work: Workspace, gpgScript: string | undefined): string {
    const folder = join(work.folder, 'tools');
    mkdirSync(folder);
    if (gpgScript !== undefined) cpSync(work.input('gpg-script', gpgScript), join(folder, 'gpg'));
    if (gpgScript !== undefined) spawnSync('chmod', ['755', join(folder, 'gpg')]);
    const gpgconf = DEFAULT_SEARCH_PATH.map((path) => join(path, 'gpgconf')).find((path) =>
      statSync(path, { throwIfNoEntry: false }),
    );
    symlinkSync(gpgconf ?? '', join(folder, 'gpgconf'));
    return folder;
  }

  test.for<[string, string | undefined, string]>([
    ['missing', undefined, 'gpg was not found'],
    ['failing', '#!/bin/sh\necho "gpg: out of secure memory" >&2; exit 2\n', 'out of secure memory'],
    ['lying', '#!/bin/sh\nexit 0\n', 'did not import'],
  ])('%s: exit code 7, nothing made', async ([, script, says]) => {
    const work = workspace();
    const env = { PATCH_VDI_TOOLS_PATH: pathWith(work, script) };
    const { exitCode, stderr } = await runCli(work, ['test', 'key', '-o', work.output('keys')], { env });
    expect(exitCode).toBe(7);
    expect(stderr).toContain(says);
    expect(work.outputs()).toEqual([]);
  });
});

test('a temporary folder with a long path works, or the error says that it is the path', async () => {
  const work = workspace();
  const long = join(work.folder, 'x'.repeat(120));
  mkdirSync(long);
  const args = ['test', 'key', '-o', work.output('keys')];
  const { exitCode, stderr } = await runCli(work, args, { env: { TMPDIR: long } });
  expect(readdirSync(long)).toEqual([]);
  if (exitCode === 0) return;
  expect(exitCode).toBe(7);
  expect(stderr).toContain('too long');
  expect(work.outputs()).toEqual([]);
});

test('a key folder with a long path is made, says what gpg cannot do there, and signs test patches', async () => {
  const work = workspace();
  const folder = work.output('y'.repeat(100));
  const { exitCode, stdout } = await runCli(work, ['test', 'key', '-o', folder]);
  expect(exitCode).toBe(0);
  expect(stdout.replaceAll(/\s+/g, ' ')).toContain('the path is too long for the sockets of its agent');
  const patch = work.output('t.xsupdate');
  const made = await runCli(work, ['test', 'patch', '-o', patch, '--size', '10K', '--sign', folder]);
  expect(made).toMatchObject({ exitCode: 0 });
});
