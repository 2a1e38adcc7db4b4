import { spawnSync } from 'node:child_process';
import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { runScript } from '../kit/shells.js';
import { dumpFile } from '../oracles/debugfs.js';
import { convertToRaw } from '../oracles/qemu-img.js';
import { requireTool } from '../oracles/require-tool.js';
import { runCli, type Ended, type RunOptions } from './cli.js';
import { difference } from './judges/same-bytes.js';
import { workspace, type Workspace } from './workspace.js';

beforeEach((context) => requireTool(context, 'gpg', 'gpgv', 'dash', 'qemu-img', 'debugfs'));

const vdi = (work: Workspace, args: readonly string[], options?: RunOptions): Promise<Ended> =>
  runCli(work, ['test', 'vdi', ...args], options);

async function makeVdi(work: Workspace, name: string, args: readonly string[]): Promise<string> {
  const path = work.output(name);
  const { exitCode, stderr } = await vdi(work, ['-o', path, ...args]);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
  return path;
}

test.for(['vhd', 'raw'])(
  '%s: the file patch in it is good to gpgv with the keyring beside it, and runs',
  async (format) => {
    const work = workspace();
    const path = await makeVdi(work, `t.${format}`, ['--size', '3000001', '--seed', '7']);
    expect(work.outputs()).toEqual([`t.${format}`, `t.${format}.keyring.gpg`]);
    const raw = format === 'raw' ? path : `${path}.raw`;
    if (format === 'vhd') convertToRaw(path, raw);
    const patch = `${path}.patch`;
    dumpFile(raw, '/patch', patch);
    expect(statSync(patch).size).toBe(3_000_001);
    const verify = ['--keyring', `${path}.keyring.gpg`, '-o', `${patch}.clear`, patch];
    expect(spawnSync('gpgv', verify).status).toBe(0);
    expect(runScript(['dash'], `${patch}.clear`, ['apply'])).toMatchObject({ exitCode: 0, stderr: '' });
  },
);

test('same seed and epoch, same bytes; it is the patch and key that test key and test patch make', async () => {
  const work = workspace();
  const epoch = ['--seed', '7', '--source-date-epoch', '1700000000'];
  const first = await makeVdi(work, '1.vhd', ['--size', '70001', ...epoch]);
  const second = await makeVdi(work, '2.vhd', ['--size', '70001', ...epoch]);
  expect(difference(second, first)).toBeUndefined();
  expect(difference(`${second}.keyring.gpg`, `${first}.keyring.gpg`)).toBeUndefined();

  const keys = work.output('keys');
  const patch = work.output('t.xsupdate');
  const third = work.output('3.vhd');
  await runCli(work, ['test', 'key', '-o', keys, ...epoch]);
  await runCli(work, ['test', 'patch', '-o', patch, '--size', '70001', '--sign', keys, ...epoch]);
  await runCli(work, [
    'build',
    patch,
    '-o',
    third,
    '--keyring',
    join(keys, 'keyring.gpg'),
    ...epoch.slice(2),
  ]);
  expect(difference(join(keys, 'keyring.gpg'), `${first}.keyring.gpg`)).toBeUndefined();
  expect(difference(third, first)).toBeUndefined();
  const signed = await makeVdi(work, '4.vhd', ['--size', '70001', '--sign', keys, ...epoch]);
  expect(difference(signed, first)).toBeUndefined();
  expect(work.outputs()).not.toContain('4.vhd.keyring.gpg');
});

test.for(['t.vhd', 't.vhd.keyring.gpg'])(
  'an existing %s is left as it is, unless --force',
  async (existing) => {
    const work = workspace();
    writeFileSync(work.output(existing), 'mine');
    const args = ['-o', work.output('t.vhd'), '--size', '9000'];
    expect(await vdi(work, args)).toMatchObject({ exitCode: 2 });
    expect(work.outputs()).toEqual([existing]);
    expect(await vdi(work, [...args, '--force'])).toMatchObject({ exitCode: 0 });
  },
);

test.for<[string, readonly string[], number]>([
  ['a patch that is too small', ['--size', '9'], 2],
  ['a disk that is too small', ['--size', '20M', '--disk-size', '16M'], 5],
  ['no format', ['--size', '9000', '--format', 'qcow'], 2],
  ['a time that no key can have', ['--size', '9000', '--source-date-epoch', '4294967296'], 2],
])('%s: nothing made', async ([, args, code]) => {
  const work = workspace();
  expect((await vdi(work, ['-o', work.output('t.vhd'), ...args])).exitCode).toBe(code);
  expect(work.outputs()).toEqual([]);
});
