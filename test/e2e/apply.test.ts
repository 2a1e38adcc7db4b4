import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import {
  expectNothingLeft,
  hostBench,
  INFO,
  KEY,
  remainsOf,
  requireHost,
  UUID,
  type HostBench,
} from '../host/host-bench.js';
import { precheckDocument } from '../../src/kit/documents.js';
import { testKeySigner } from '../../src/kit/signer.js';
import { requireTool } from '../oracles/require-tool.js';
import { runCli, startCli, type Ended, type RunOptions } from './cli.js';
import { workspace } from './workspace.js';

beforeEach((context) => requireHost(context));

async function apply(
  bench: HostBench,
  args: readonly string[] = [],
  options: RunOptions = {},
): Promise<Ended> {
  const { image, keyring, scratch, applied } = bench;
  const folders = ['--scratch-folder', scratch, '--applied-folder', applied];
  const ended = await runCli(
    workspace(),
    ['apply', image, '--keyring', keyring, ...folders, ...args],
    options,
  );
  expectNothingLeft(bench);
  return ended;
}

test('a good patch: phases on standard error, what came of it and what is to be done on standard output', async () => {
  const bench = await hostBench({ apply: 'echo patched' }, { format: 'vhd' });
  const { exitCode, stdout, stderr } = await apply(bench, ['--signer', testKeySigner(KEY).fingerprint]);
  expect(exitCode, stderr).toBe(0);
  expect(stderr.split('\n')).toEqual([
    'copying the disk',
    'checking the copy',
    'mounting it',
    'verifying the signature',
    'asking the patch what it is',
    'running precheck',
    'running apply',
    'cleaning up',
    '',
  ]);
  expect(stdout).toMatch(/^applied\n/);
  for (const words of [UUID, 'restart the toolstack', 'patched', 'bench 1.0'])
    expect(stdout).toContain(words);
  expect(readFileSync(join(bench.applied, UUID), 'utf8')).toBe(`${INFO}\n`);
});

test('--json: one object, and nothing else', async () => {
  const bench = await hostBench({ apply: 'echo patched' });
  const { exitCode, stdout, stderr } = await apply(bench, ['--json']);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
  expect(JSON.parse(stdout)).toMatchObject({
    ok: true,
    kind: 'applied',
    output: 'patched\n',
    info: { uuid: UUID, afterApplyGuidance: ['restartXAPI'] },
    warnings: [],
  });
});

test('--precheck changes nothing, and exits 1 when the patch says no', async () => {
  const good = await hostBench({});
  expect(await apply(good, ['--precheck', '--quiet'])).toMatchObject({ exitCode: 0, stdout: '', stderr: '' });
  expect(existsSync(good.applied)).toBe(false);
  const document = precheckDocument('wrong-server-version', UUID, 0);
  const bad = await hostBench({ precheck: `echo '${document}'; exit 1` });
  const { exitCode, stdout, stderr } = await apply(bad, ['--precheck']);
  expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: '' });
  expect(stderr).toContain('not applied: WRONG_SERVER_VERSION');
  expect(stderr).toContain('found 1.0.0, required 99.0.0');
});

test.for([
  ['fails', { apply: 'echo why; exit 3' }, [], 7, /FAILED: exit code 3(?![^]*--again)/],
  ['does not end', { apply: 'sleep 100' }, ['--timeout', '5'], 7, /did not end in time[^]*needs --again/],
] as const)('an apply that %s: exit code 7, with what it said', async ([, text, args, code, words]) => {
  const { exitCode, stdout, stderr } = await apply(await hostBench(text), args);
  expect({ exitCode, stdout }).toEqual({ exitCode: code, stdout: '' });
  expect(stderr).toMatch(words);
});

test.for(['SIGINT', 'SIGTERM', 'SIGHUP', 'the time limit'] as const)(
  'stopped in the middle by %s: refused as half applied until --again',
  async (stop) => {
    const go = join((await hostBench({})).folder, 'go');
    const bench = await hostBench({
      apply: `echo began >>'${go}.log'; [ -e '${go}' ] || sleep 100; echo done`,
    });
    const { image, keyring, scratch, applied } = bench;
    const folders = ['--scratch-folder', scratch, '--applied-folder', applied];
    const limit = stop === 'the time limit' ? ['--timeout', '5'] : [];
    const { child, ended } = startCli(workspace(), [
      'apply',
      image,
      '--keyring',
      keyring,
      ...folders,
      ...limit,
    ]);
    await expect.poll(() => existsSync(`${go}.log`)).toBe(true);
    if (stop !== 'the time limit') child.kill(stop);
    const stopped = await ended;
    expect(stopped.exitCode).toBe({ SIGINT: 130, SIGTERM: 143, SIGHUP: 129, 'the time limit': 7 }[stop]);
    expect(stopped.stderr).toContain('--again');
    expectNothingLeft(bench);
    expect(readdirSync(applied)).toEqual([`.patch-vdi-began-${UUID}`]);
    writeFileSync(go, '');
    const refused = await apply(bench);
    expect(refused).toMatchObject({ exitCode: 1, stdout: '' });
    expect(refused.stderr).toContain('not applied: an earlier apply did not come to its end');
    expect(readFileSync(`${go}.log`, 'utf8')).toBe('began\n');
    const again = await apply(bench, ['--again']);
    expect(again.exitCode, again.stderr).toBe(0);
    expect(readdirSync(applied)).toEqual([UUID]);
    expect((await apply(bench)).stderr).toContain('applied already');
  },
);

test('a patch cannot write to the terminal of who applies it', async () => {
  const bench = await hostBench({ apply: String.raw`printf 'a\033[31mb\007\n\302\233c\n'` });
  const { exitCode, stdout } = await apply(bench);
  expect(exitCode).toBe(0);
  expect(stdout).not.toMatch(/[^\P{Cc}\n]/u);
});

test('applied already: exit code 1; --again', async () => {
  const bench = await hostBench({});
  expect((await apply(bench)).exitCode).toBe(0);
  const { exitCode, stderr } = await apply(bench);
  expect(exitCode).toBe(1);
  expect(stderr).toContain('applied already');
  expect((await apply(bench, ['--again'])).exitCode).toBe(0);
});

test('not root: a clear error before anything', async (context) => {
  requireTool(context, 'setpriv');
  const bench = await hostBench({});
  for (const folder of [bench.folder, bench.scratch]) chmodSync(folder, 0o777);
  const wrapper = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'];
  const { exitCode, stdout, stderr } = await apply(bench, [], { wrapper });
  expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
  expect(stderr).toMatch(/^patch-vdi: a patch can only be applied by root\n/);
  expect(stderr).toContain('nothing was touched');
  expect(existsSync(bench.applied)).toBe(false);
});

test.for([
  ['no keyring', ['--signer', '0'.repeat(40)], /needs a keyring/],
  ['a time that is none', ['--keyring', 'k', '--timeout', 'soon'], /--timeout is not a number of seconds/],
  ['an option of verify', ['--keyring', 'k', '--signature', 's'], /unknown option/],
  [
    'a scratch folder that is not there',
    ['--keyring', 'k', '--scratch-folder', '/no/where'],
    /temporary folder/,
  ],
] as const)('%s: a usage error', async ([, args, words]) => {
  const bench = await hostBench({});
  const applied = ['--applied-folder', bench.applied];
  const { exitCode, stdout, stderr } = await runCli(workspace(), ['apply', bench.image, ...args, ...applied]);
  expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
  expect(stderr).toMatch(words);
});

test('nothing unsigned, and no keyring: refused', async () => {
  const { exitCode, stderr } = await runCli(workspace(), ['apply', 'vdi.vhd']);
  expect(exitCode).toBe(2);
  expect(stderr).toContain('nothing unsigned is applied');
});

test('--print-recipe prints it and needs neither root nor the image', async () => {
  const args = ['apply', "/it's", '--keyring', '/k', '--print-recipe', '--scratch-folder', '/var/tmp'];
  const { exitCode, stdout, stderr } = await runCli(workspace(), args);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
  expect(stdout).toMatch(/^#!\/bin\/sh\n/);
  expect(stdout).toContain(String.raw`image='/it'\''s'`);
  expect(stdout).toContain("scratch_folder='/var/tmp'");
});

test('--print-recipe warns of an image of this machine that the recipe would refuse', async () => {
  const dynamic = await hostBench({}, { format: 'vhd' });
  const warned = await apply(dynamic, ['--print-recipe']);
  expect(warned.exitCode).toBe(0);
  expect(warned.stdout).toMatch(/^#!\/bin\/sh\n/);
  expect(warned.stderr).toContain('warning: the recipe takes raw images');
  const raw = await hostBench({}, { format: 'raw' });
  expect(await apply(raw, ['--print-recipe'])).toMatchObject({ exitCode: 0, stderr: '' });
});

test('where it is kept what was applied is made when it is not there', async () => {
  const bench = await hostBench({});
  expect((await apply(bench)).exitCode).toBe(0);
  expect(readdirSync(bench.applied)).toEqual([UUID]);
});

test('on a host whose mounts are shared, as systemd has them: ours stays ours, and what the host mounts is seen', async () => {
  const bench = await hostBench({
    apply: `i=0; until grep -q ' /mnt ' /proc/self/mountinfo || [ $i = 100 ]; do i=$((i + 1)); sleep 0.1; done
grep -c ' /mnt .* tmpfs late ' /proc/self/mountinfo`,
  });
  const { image, keyring, scratch, applied } = bench;
  const folders = ['--scratch-folder', scratch, '--applied-folder', applied];
  // The host of this test is a namespace of its own: nothing of it is seen by others.
  const wrapper = [
    'unshare',
    '--mount',
    '--propagation',
    'private',
    'sh',
    '-c',
    'mount --make-rshared / && exec "$@"',
    'sh',
  ];
  const { child, ended } = startCli(
    workspace(),
    ['apply', image, '--keyring', keyring, ...folders, '--json'],
    { wrapper },
  );
  const mounts = (): string => readFileSync(`/proc/${child.pid}/mountinfo`, 'utf8');
  await expect.poll(() => remainsOf(bench.folder).join('\n')).toMatch(/loop device/);
  expect(mounts()).toContain(' shared:');
  const late = ['--mount', `--target=${child.pid}`, 'mount', '-t', 'tmpfs', 'late', '/mnt'];
  expect(spawnSync('nsenter', late, { encoding: 'utf8' })).toMatchObject({ status: 0, stderr: '' });
  expect(mounts()).not.toContain(bench.folder);
  const { exitCode, stdout, stderr } = await ended;
  expect(exitCode, stderr).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ kind: 'applied', output: '1\n' });
  expectNothingLeft(bench);
});
