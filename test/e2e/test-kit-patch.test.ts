/*
 * All that a test patch can be told to be and to do, each tried by running it: long, as its list of options is.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { runScript } from '../kit/shells.js';
import { parseXml, XML_JUDGE } from '../kit/xml.js';
import { requireTool } from '../oracles/require-tool.js';
import { OpenPgpBench } from '../signature/openpgp-bench.js';
import { CLI, expectNothingLeft, mustBuild, runCli, startCli, type Ended, type RunOptions } from './cli.js';
import { difference } from './judges/same-bytes.js';
import { makeWorkspace, workspace, type Workspace } from './workspace.js';

beforeEach((context) => requireTool(context, 'gpg', 'gpgv', 'dash', XML_JUDGE));

/** One key for all tests: a key folder is only read. */
const home = makeWorkspace();
const keys = home.output('keys');
const keyring = join(keys, 'keyring.gpg');
beforeAll(() => {
  const args = [CLI, 'test', 'key', '-o', keys, '--seed', '7'];
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
});
afterAll(() => home.remove());

const patch = (work: Workspace, args: readonly string[], options?: RunOptions): Promise<Ended> =>
  runCli(work, ['test', 'patch', ...args], options);

/** Makes a patch that must succeed; returns its path. */
async function makePatch(
  work: Workspace,
  name: string,
  args: readonly string[],
  options?: RunOptions,
): Promise<string> {
  const path = work.output(name);
  const { exitCode, stderr } = await patch(work, ['-o', path, ...args], options);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
  return path;
}

/** gpgv as a host uses it: the clear text if the signature is good. */
function clearTextOf(path: string, trusted = keyring): string {
  const output = `${path}.clear`;
  const { status, stderr } = spawnSync('gpgv', ['--keyring', trusted, '-o', output, path], {
    encoding: 'utf8',
  });
  expect({ status }, stderr).toEqual({ status: 0 });
  return output;
}

test.for(['5000', '64K', '1000001', '20M'])(
  'of %s: exact size, good to gpgv, to a shell and to build',
  async (size) => {
    const bytes = { '5000': 5000, '64K': 65_536, '1000001': 1_000_001, '20M': 20 * 2 ** 20 }[size];
    const work = workspace();
    const path = await makePatch(work, 't.xsupdate', ['--size', size, '--sign', keys, '--seed', '7']);
    expect(statSync(path).size).toBe(bytes);
    const script = clearTextOf(path);
    expect(parseXml(runScript(['dash'], script, ['info']).stdout).tag).toBe('info');
    expect(runScript(['dash'], script, ['precheck'])).toEqual({ exitCode: 0, stdout: '', stderr: '' });
    expect(runScript(['dash'], script, ['apply'])).toMatchObject({ exitCode: 0, stderr: '' });
    await mustBuild(work, [path, '-o', work.output('x.vhd'), '--keyring', keyring]);
  },
);

test('beyond 1 GiB, in parts: exact size, good to gpgv; memory stays flat', async (context) => {
  requireTool(context, 'time');
  const work = workspace();
  const report = join(work.folder, 'peak');
  const wrapper = ['time', '-f', '%M', '-o', report];
  const path = await makePatch(work, 't', ['--size', '1100M', '--sign', keys], { wrapper });
  expect(statSync(path).size).toBe(1100 * 2 ** 20);
  expect(Number(readFileSync(report, 'utf8'))).toBeLessThan(120 * 1024);
  clearTextOf(path);
});

test('another key does not make it good', async () => {
  const work = workspace();
  const other = work.output('keys');
  await runCli(work, ['test', 'key', '-o', other, '--seed', '8']);
  const path = await makePatch(work, 't.xsupdate', ['--size', '10K', '--sign', keys]);
  const args = ['build', path, '-o', work.output('x.vhd'), '--keyring', join(other, 'keyring.gpg')];
  expect(await runCli(work, args)).toMatchObject({ exitCode: 3 });
});

test('an expired key still signs; build refuses the patch unless told otherwise', async () => {
  const work = workspace();
  const expired = work.output('keys');
  await runCli(work, ['test', 'key', '-o', expired, '--expires', '2020-02-01']);
  const path = await makePatch(work, 't.xsupdate', ['--size', '10K', '--sign', expired]);
  const args = ['build', path, '-o', work.output('x.vhd'), '--keyring', join(expired, 'keyring.gpg')];
  const refused = await runCli(work, args);
  expect(refused).toMatchObject({ exitCode: 3 });
  expect(refused.stderr).toContain('has expired');
  expect(await runCli(work, [...args, '--allow-expired-key'])).toMatchObject({ exitCode: 0 });
});

test('all that it is told to say, it says', async () => {
  const work = workspace();
  const uuid = '6BA7B810-9dad-41d1-80b4-00c04fd430c8';
  const says = [
    '--uuid',
    uuid,
    '--version',
    '7.1',
    '--name-label',
    `it's "<new>"`,
    '--name-description',
    'Größe\n2',
  ];
  const does = ['--guidance', 'restartXAPI,restartHost', '--precheck', 'out-of-space', '--apply', 'fail'];
  const args = ['--size', '10K', '--unsigned', '--scratch', '1K', ...says, ...does];
  const path = await makePatch(work, 't.sh', args);
  expect(parseXml(runScript(['dash'], path, ['info']).stdout).attributes).toEqual({
    uuid: uuid.toLowerCase(),
    version: '7.1',
    'name-label': `it's "<new>"`,
    'name-description': 'Größe\n2',
    'after-apply-guidance': 'restartXAPI restartHost',
  });
  const precheck = runScript(['dash'], path, ['precheck']);
  expect(precheck.exitCode).toBe(1);
  expect(parseXml(precheck.stdout).attributes).toEqual({ errorcode: 'PATCH_PRECHECK_FAILED_OUT_OF_SPACE' });
  const { exitCode, stdout } = runScript(['dash'], path, ['apply']);
  expect(exitCode).toBe(1);
  expect(stdout).toContain('wrote 1024 bytes of scratch: right\napply failed');
});

test('--detached: the patch as it is, its signature beside it', async () => {
  const work = workspace();
  const path = await makePatch(work, 't.sh', ['--size', '10000', '--sign', keys, '--detached']);
  expect(work.outputs()).toEqual(['t.sh', 't.sh.sig']);
  expect(statSync(path).size).toBe(10_000);
  expect(runScript(['dash'], path, ['apply'])).toMatchObject({ exitCode: 0 });
  expect(spawnSync('gpgv', ['--keyring', keyring, `${path}.sig`, path]).status).toBe(0);
  await mustBuild(work, [
    path,
    '--signature',
    `${path}.sig`,
    '-o',
    work.output('x.vhd'),
    '--keyring',
    keyring,
  ]);
  writeFileSync(path, 'x', { flag: 'a' });
  expect(spawnSync('gpgv', ['--keyring', keyring, `${path}.sig`, path]).status).toBe(1);
});

test('--unsigned: build takes it only when told to', async () => {
  const work = workspace();
  const path = await makePatch(work, 't.sh', ['--size', '10000', '--unsigned']);
  const args = ['build', path, '-o', work.output('x.vhd')];
  expect(await runCli(work, [...args, '--keyring', keyring])).toMatchObject({ exitCode: 3 });
  expect(await runCli(work, [...args, '--allow-unsigned'])).toMatchObject({ exitCode: 0 });
});

describe('same seed, key and options, same bytes:', () => {
  const ARGS = ['--size', '70001', '--seed', '7', '--scratch', '1M'];
  test.for<[string, RunOptions]>([
    ['once more', {}],
    ['in another zone and locale', { env: { TZ: 'Asia/Kathmandu', LC_ALL: 'tr_TR.UTF-8', LANG: 'de_DE' } }],
    ['with another umask', { wrapper: ['/bin/sh', '-c', 'umask 077; exec "$@"', 'sh'] }],
  ])('%s', async ([, options]) => {
    const work = workspace();
    const first = await makePatch(work, '1', [...ARGS, '--sign', keys]);
    const second = await makePatch(work, '2', [...ARGS, '--sign', keys], options);
    expect(difference(second, first)).toBeUndefined();
  });

  test('with a copy of the key, made from its seed', async () => {
    const work = workspace();
    const copy = work.output('keys');
    await runCli(work, ['test', 'key', '-o', copy, '--seed', '7']);
    const first = await makePatch(work, '1', [...ARGS, '--sign', keys]);
    const second = await makePatch(work, '2', [...ARGS, '--sign', copy]);
    expect(difference(second, first)).toBeUndefined();
  });

  test('and without a seed, with the one that was printed', async () => {
    const work = workspace();
    const path = work.output('1');
    const { stdout } = await patch(work, ['-o', path, '--size', '9000', '--unsigned', '--json']);
    const { seed } = JSON.parse(stdout) as { seed: string };
    const second = await makePatch(work, '2', ['--size', '9000', '--unsigned', '--seed', seed]);
    expect(difference(second, path)).toBeUndefined();
    const third = await makePatch(work, '3', ['--size', '9000', '--unsigned']);
    expect(difference(third, path)).toBeDefined();
  });

  test('another epoch, another signature', async () => {
    const work = workspace();
    const first = await makePatch(work, '1', [...ARGS, '--sign', keys]);
    const second = await makePatch(work, '2', [...ARGS, '--sign', keys, '--source-date-epoch', '1700000000']);
    const third = await makePatch(work, '3', [...ARGS, '--sign', keys], {
      env: { SOURCE_DATE_EPOCH: '1700000000' },
    });
    expect(difference(second, first)).toBeDefined();
    expect(difference(third, second)).toBeUndefined();
  });
});

test('tells in JSON what it made', async () => {
  const work = workspace();
  const path = work.output('t');
  const { stdout } = await patch(work, [
    '-o',
    path,
    '--size',
    '9000',
    '--sign',
    keys,
    '--seed',
    '7',
    '--json',
  ]);
  const result = JSON.parse(stdout) as Record<string, unknown>;
  const fingerprint = readFileSync(join(keys, 'FINGERPRINT'), 'utf8').trim();
  expect(result).toMatchObject({
    ok: true,
    output: path,
    sizeBytes: 9000,
    fingerprint,
    seed: '7',
    signaturePath: null,
  });
  const script = clearTextOf(path);
  expect(result['clearTextBytes']).toBe(statSync(script).size);
  expect(Number(result['scriptBytes']) + Number(result['payloadBytes'])).toBe(statSync(script).size);
  const payload = readFileSync(script).subarray(Number(result['scriptBytes']));
  const { stdout: digest } = spawnSync('sha256sum', [], { input: payload, encoding: 'utf8' });
  expect(digest.split(' ')[0]).toBe(result['payloadSha256']);
});

describe('an existing file', () => {
  test.for(['t', 't.sig'])('%s is left as it is, unless --force', async (existing) => {
    const work = workspace();
    writeFileSync(work.output(existing), 'mine');
    const args = ['-o', work.output('t'), '--size', '9000', '--sign', keys, '--detached'];
    expect(await patch(work, args)).toMatchObject({ exitCode: 2 });
    expect(work.outputs()).toEqual([existing]);
    expect(readFileSync(work.output(existing), 'utf8')).toBe('mine');
    expect(await patch(work, [...args, '--force'])).toMatchObject({ exitCode: 0 });
    expect(work.outputs()).toEqual(['t', 't.sig']);
  });
});

test.for<[string, readonly string[], string]>([
  ['no size', ['--unsigned'], '--size'],
  ['no word about a signature', ['--size', '9000'], 'neither --sign nor --unsigned'],
  ['two words about it', ['--size', '9000', '--sign', keys, '--unsigned'], '--unsigned beside --sign'],
  [
    'a detached signature of nobody',
    ['--size', '9000', '--unsigned', '--detached'],
    '--detached beside --unsigned',
  ],
  ['too small', ['--size', '100', '--sign', keys], 'at least'],
  ['nothing at all', ['--size', '0', '--unsigned'], 'at least'],
  ['a size that is none', ['--size', '5MB', '--unsigned'], 'not a size'],
  ['guidance', ['--size', '9000', '--unsigned', '--guidance', 'restartWorld'], 'restartHVM'],
  ['guidance twice', ['--size', '9000', '--unsigned', '--guidance', 'restartPV,restartPV'], 'each once'],
  ['precheck', ['--size', '9000', '--unsigned', '--precheck', 'maybe'], 'wrong-server-build'],
  ['apply', ['--size', '9000', '--unsigned', '--apply', 'sleep=x'], 'sleep=SECONDS'],
  ['a year of sleep', ['--size', '9000', '--unsigned', '--apply', 'sleep=99999999'], '86400'],
  ['UUID', ['--size', '9000', '--unsigned', '--uuid', 'x'], 'not a UUID'],
  ['name', ['--size', '9000', '--unsigned', '--name-label', 'a\u0007b'], 'XML'],
  ['seed', ['--size', '9000', '--unsigned', '--seed', '-1'], 'seed'],
  ['no key there', ['--size', '9000', '--sign', '/nowhere'], 'patch-vdi test key'],
  ['a time before the key', ['--size', '9000', '--sign', keys, '--source-date-epoch', '1'], 'or later'],
])('%s: exit code 2, nothing made', async ([, args, says]) => {
  const work = workspace();
  const { exitCode, stdout, stderr } = await patch(work, ['-o', work.output('t'), ...args]);
  expect({ exitCode, stdout }, stderr).toEqual({ exitCode: 2, stdout: '' });
  expect(stderr).toContain(says);
  expect(work.outputs()).toEqual([]);
});

test('the least size that the error names is one that works', async () => {
  const work = workspace();
  const { stderr } = await patch(work, ['-o', work.output('t'), '--size', '1', '--sign', keys]);
  const least = /at least (\d+) bytes/.exec(stderr)?.[1] ?? '';
  const path = await makePatch(work, 't', ['--size', least, '--sign', keys]);
  expect(statSync(path).size).toBe(Number(least));
  expect(runScript(['dash'], clearTextOf(path), ['apply'])).toMatchObject({ exitCode: 0 });
});

test.for(['SIGINT', 'SIGTERM'] as const)('%s while it is made: nothing is left', async (signal) => {
  const work = workspace();
  const args = ['test', 'patch', '-o', work.output('t'), '--size', '200G', '--sign', keys];
  const { child, ended } = startCli(work, args);
  await new Promise((done) => setTimeout(done, 700));
  child.kill(signal);
  expect((await ended).exitCode).toBe(signal === 'SIGINT' ? 130 : 143);
  expectNothingLeft(work);
  expect(work.outputs()).toEqual([]);
});

describe('a gpg home that test key did not make', () => {
  const bench = new OpenPgpBench();
  afterAll(() => bench.close());

  test.for(['ed25519', 'rsa2048', 'nistp256', 'dsa2048'])(
    '%s signs, too, and the size is exact',
    async (algorithm) => {
      const name = `${algorithm} <${algorithm}@example.org>`;
      const made = bench.key(name, algorithm);
      const trusted = bench.keyring([made]);
      writeFileSync(join(bench.home, 'gpg.conf'), `default-key ${made.fingerprint}\narmor\ntextmode\n`);
      const work = workspace();
      for (const size of [9000, 100_001]) {
        const path = await makePatch(work, `t${size}`, [
          '--size',
          String(size),
          '--sign',
          bench.home,
          '--seed',
          '7',
        ]);
        expect(statSync(path).size).toBe(size);
        expect(runScript(['dash'], clearTextOf(path, trusted), ['apply'])).toMatchObject({ exitCode: 0 });
        await mustBuild(work, [path, '-o', `${path}.vhd`, '--keyring', trusted]);
      }
      const path = await makePatch(work, 'd', ['--size', '9000', '--sign', bench.home, '--detached']);
      expect(spawnSync('gpgv', ['--keyring', trusted, `${path}.sig`, path]).status).toBe(0);
      rmSync(join(bench.home, 'gpg.conf'));
    },
  );

  test('with a passphrase: exit code 7 with the words of gpg, nothing made', async () => {
    const other = new OpenPgpBench();
    try {
      other.gpg([
        '--pinentry-mode',
        'loopback',
        '--passphrase',
        'x',
        '--quick-generate-key',
        'A <a@b>',
        'ed25519',
        'sign',
      ]);
      spawnSync('gpgconf', ['--homedir', other.home, '--kill', 'all']);
      const work = workspace();
      const { exitCode, stderr } = await patch(work, [
        '-o',
        work.output('t'),
        '--size',
        '9000',
        '--sign',
        other.home,
      ]);
      expect(exitCode).toBe(7);
      expect(stderr).toContain('gpg could not sign');
      expect(work.outputs()).toEqual([]);
    } finally {
      other.close();
    }
  });

  test('an empty folder is no home, and stays empty', async () => {
    const work = workspace();
    const { exitCode } = await patch(work, ['-o', work.output('t'), '--size', '9000', '--sign', work.tmp]);
    expect(exitCode).toBe(2);
    expect(existsSync(join(work.tmp, 'pubring.kbx'))).toBe(false);
  });
});
