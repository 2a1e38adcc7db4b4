/*
 * The mission's sentences on hosts that apply a patch, with a master and a slave that were started for real. Each host
 * has a state folder, an applied folder and keyrings of its own.
 */
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { publicKeyring } from '../../src/kit/test-key.js';
import { MIB } from '../../src/units.js';
import { runCli, type Ended } from '../e2e/cli.js';
import { makeWorkspace } from '../e2e/workspace.js';
import { STRANGER, requireHost } from '../host/host-bench.js';
import { scriptPatch } from '../pool/apply-bench.js';
import { samplePatch, type SamplePatch } from '../pool/test-pool.js';
import { expectUnmounted } from './remains.js';
import type { ServedPool } from './served-pool.js';
import {
  SHARED_SR,
  SLAVE_SR,
  eventually,
  recordsOf,
  refOf,
  startTwoHosts,
  waitForPbd,
  type TwoHosts,
} from './two-hosts.js';

beforeEach((context) => requireHost(context));

async function upload(master: ServedPool, patch: SamplePatch): Promise<string> {
  const { status, body } = await master.send('PUT', '/pool_patch_upload', patch.bytes);
  expect(status).toBe(200);
  return body.toString().trim();
}

/** `patch-vdi pool …` as root of the master. */
function pool(master: ServedPool, ...args: readonly string[]): Promise<Ended> {
  const trust = ['--url', master.url, '--ca-file', master.certificate];
  return runCli(master.work, ['pool', ...args, ...trust], { env: { PATCH_VDI_PASSWORD: master.password } });
}

async function hostRef(master: ServedPool, name: 'master' | 'slave'): Promise<string> {
  const hosts = Object.entries(await recordsOf(master, 'host'));
  return hosts.find(([, { name_label: label }]) => label === name)?.[0] ?? '';
}

const failureOf = (call: Promise<unknown>): Promise<string> =>
  call.then(
    () => '',
    (error: unknown) => String(error),
  );

/** Until patches can be applied to the slave. */
async function waitForSlave(master: ServedPool): Promise<void> {
  expect(await waitForPbd(master, SLAVE_SR, true)).toBe(true);
  const host = await hostRef(master, 'slave');
  const probe = await upload(
    master,
    await scriptPatch({ uuid: '5a9f0c0e-55f5-4c9f-a5c4-00000000beef', name: 'probe' }),
  );
  const ask = (): Promise<string> => failureOf(master.call('pool_patch.precheck', probe, host));
  expect(await eventually(ask, (said) => !said.includes('HOST_OFFLINE'))).toBe('');
  await master.call('pool_patch.destroy', probe);
}

async function startHosts(shared?: string): Promise<TwoHosts> {
  const hosts = await startTwoHosts(shared);
  await waitForSlave(hosts.master);
  return hosts;
}

const disksIn = (served: ServedPool, sr: string): string[] =>
  readdirSync(join(served.work.folder, sr)).filter((name) => name !== '.patch-vdi-sr.json');

const appliedOn = (served: ServedPool): string[] => {
  const folder = join(served.state, 'applied');
  return existsSync(folder) ? readdirSync(folder).sort() : [];
};

/** No copy, no temporary file, no mount, no loop device, no process, on neither host. @param patches VDIs that stay */
async function expectNothingLeft({ master, slave }: TwoHosts, patches: number): Promise<void> {
  await eventually(
    async () => disksIn(slave, 'sr-slave').length,
    (count) => count === 0,
  );
  expect(disksIn(slave, 'sr-slave')).toEqual([]);
  expect(disksIn(master, 'sr-master')).toHaveLength(patches);
  const count = async (): Promise<number> => Object.keys(await recordsOf(master, 'VDI')).length;
  expect(await eventually(count, (vdis) => vdis === patches)).toBe(patches);
  for (const one of [master, slave]) {
    expect(readdirSync(join(one.state, 'tmp'))).toEqual([]);
    await expectUnmounted(one, master, slave);
  }
}

async function hostPatches(master: ServedPool, patch: string): Promise<Readonly<Record<string, unknown>>[]> {
  const all = Object.values(await recordsOf(master, 'host_patch'));
  return all.filter((one) => one['pool_patch'] === patch);
}

describe('"When a host wishes to apply a patch it will call `VDI.copy` to duplicate the VDI to a locally-accessible SR, mount the filesystem and execute it."', () => {
  test('pool_apply: on both hosts, each with a copy of its own in its own SR', async () => {
    const hosts = await startHosts();
    const { master, slave } = hosts;
    const seen = join(master.work.folder, 'seen');
    mkdirSync(seen);
    // Each host's run waits until the other one has begun: both have their copies then.
    const apply = `touch ${seen}/$$.$(date +%N); i=0; while [ $(ls ${seen} | wc -l) -lt 2 ] && [ $i -lt 400 ]; do sleep 0.05; i=$((i+1)); done; while [ ! -e ${seen}/go ] && [ $i -lt 800 ]; do sleep 0.05; i=$((i+1)); done; echo both`;
    const patch = await scriptPatch({ apply, paddingBytes: MIB });
    const ref = await upload(master, patch);
    const applying = master.call('pool_patch.pool_apply', ref);
    await eventually(
      () => Promise.resolve(readdirSync(seen).length),
      (count) => count === 2,
    );
    expect([disksIn(master, 'sr-master').length, disksIn(slave, 'sr-slave').length]).toEqual([2, 1]);
    // The mounts are nobody else's.
    expect(readFileSync('/proc/mounts', 'utf8')).not.toContain(slave.work.folder);
    writeFileSync(join(seen, 'go'), '');
    await applying;
    expect(await master.call('pool_patch.get_pool_applied', ref)).toBe(true);
    const records = await hostPatches(master, ref);
    expect(new Set(records.map(({ host }) => host))).toEqual(
      new Set([await hostRef(master, 'master'), await hostRef(master, 'slave')]),
    );
    expect(records.map(({ applied }) => applied)).toEqual([true, true]);
    expect([appliedOn(master), appliedOn(slave)]).toEqual([[patch.uuid], [patch.uuid]]);
    await expectNothingLeft(hosts, 1);
    expect(await slave.stop()).toBe(0);
    expect(await master.stop()).toBe(0);
  });

  test('on the slave alone: precheck and apply of the command line, with scratch space in the copy', async () => {
    const hosts = await startHosts();
    const { master, slave } = hosts;
    const patch = await samplePatch('on the slave', 6 * MIB, { scratchBytes: 2 * MIB });
    const ref = await upload(master, patch);
    const asked = await pool(master, 'precheck', patch.uuid, '--host', 'slave');
    expect(asked).toMatchObject({ exitCode: 0, stderr: '' });
    expect(appliedOn(slave)).toEqual([]);
    const done = await pool(master, 'apply', patch.uuid, '--host', 'slave');
    expect(done).toMatchObject({ exitCode: 0, stderr: '' });
    expect(done.stdout).toContain('wrote 2097152 bytes of scratch: right');
    expect([appliedOn(master), appliedOn(slave)]).toEqual([[], [patch.uuid]]);
    expect(await hostPatches(master, ref)).toMatchObject([
      { applied: true, host: await hostRef(master, 'slave') },
    ]);
    expect(await master.call('pool_patch.get_pool_applied', ref)).toBe(false);
    const again = await pool(master, 'apply', patch.uuid, '--host', 'slave', '--json');
    expect(JSON.parse(again.stdout)).toMatchObject({
      ok: false,
      error: { found: expect.stringMatching(/^PATCH_ALREADY_APPLIED/) },
    });
    await expectNothingLeft(hosts, 1);
  });

  test('what the patch says on the slave is what the client is told: a precheck that fails, an apply that fails', async () => {
    const hosts = await startHosts();
    const { master } = hosts;
    const slave = await hostRef(master, 'slave');
    const parts = { uuid: '5a9f0c0e-55f5-4c9f-a5c4-000000000001' };
    const error = `<error errorcode="PATCH_PRECHECK_FAILED_WRONG_SERVER_BUILD"><found>1</found><required>2</required></error>`;
    const picky = await upload(master, await scriptPatch({ ...parts, precheck: `echo '${error}'; exit 1` }));
    expect(await failureOf(master.call('pool_patch.apply', picky, slave))).toMatch(
      /PATCH_PRECHECK_FAILED_WRONG_SERVER_BUILD.*"1","2"/,
    );
    const failing = await upload(master, await scriptPatch({ apply: 'echo words; exit 4' }));
    expect(await failureOf(master.call('pool_patch.apply', failing, slave))).toMatch(
      /PATCH_APPLY_FAILED.*words\\nexit code 4/,
    );
    expect(await recordsOf(master, 'host_patch')).toEqual({});
    await expectNothingLeft(hosts, 2);
  });

  test('a patch in a shared SR: the slave opens the copy there by its own path', async () => {
    const work = makeWorkspace();
    onTestFinished(() => work.remove());
    const shared = join(work.folder, 'shared');
    mkdirSync(shared);
    const hosts = await startHosts(shared);
    const { master, slave } = hosts;
    expect(await waitForPbd(master, SHARED_SR, true)).toBe(true);
    const sr = await refOf(master, 'SR', SHARED_SR);
    const pools = Object.keys(await recordsOf(master, 'pool'));
    await master.call('pool.set_default_SR', pools[0], sr);
    const watch = join(work.folder, 'disks');
    const patch = await scriptPatch({ apply: `ls ${shared} | grep -c raw >${watch}; echo shared` });
    const ref = await upload(master, patch);
    const uuid = String(await master.call('VDI.get_uuid', await master.call('pool_patch.get_VDI', ref)));
    expect(readdirSync(shared)).toContain(`${uuid}.raw`);
    expect(await master.call('pool_patch.apply', ref, await hostRef(master, 'slave'))).toContain('shared');
    // "we want the ability to fast clone patches, one per host"
    expect(readFileSync(watch, 'utf8')).toBe('2\n');
    expect(readdirSync(shared).filter((name) => name.endsWith('.raw'))).toEqual([`${uuid}.raw`]);
    expect(appliedOn(slave)).toEqual([patch.uuid]);
    await expectUnmounted(slave);
    await expectUnmounted(master, slave);
  });
});

test('"If the patch is still in the master\'s dom0 filesystem then it will fall back to the HTTP handler.": on the slave', async () => {
  const hosts = await startHosts();
  const { master, slave } = hosts;
  expect(await master.stop()).toBe(0);
  const patch = await samplePatch('in dom0', 3 * MIB);
  writeFileSync(join(master.state, 'patches', 'hotfix.xsupdate'), patch.bytes);
  const { port } = new URL(master.url);
  await master.startWith('--listen', `127.0.0.1:${port}`);
  await master.logIn();
  await waitForSlave(master);
  const { exitCode, stdout, stderr } = await pool(master, 'apply', patch.uuid, '--host', 'slave');
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
  expect(stdout).toContain(`applied ${patch.uuid}`);
  expect([appliedOn(master), appliedOn(slave)]).toEqual([[], [patch.uuid]]);
  await expectNothingLeft(hosts, 0);
});

test('a slave whose keyrings are others refuses what its master has taken, from an SR and as a file', async () => {
  const hosts = await startHosts();
  const { master, slave } = hosts;
  writeFileSync(slave.place.keyring, publicKeyring(STRANGER));
  const ran = join(master.work.folder, 'ran');
  const patch = await scriptPatch({ precheck: `touch ${ran}`, apply: `touch ${ran}` });
  const ref = await upload(master, patch);
  const host = await hostRef(master, 'slave');
  for (const method of ['precheck', 'apply']) {
    expect(await failureOf(master.call(`pool_patch.${method}`, ref, host))).toContain('INVALID_PATCH');
  }
  expect(existsSync(ran)).toBe(false);
  expect(appliedOn(slave)).toEqual([]);
  expect(slave.log.some(({ msg }) => String(msg).includes('a patch of the master'))).toBe(true);
  // The master's own keyring knows it.
  await master.call('pool_patch.apply', ref, await hostRef(master, 'master'));
  expect(existsSync(ran)).toBe(true);
  await expectNothingLeft(hosts, 1);
});

test('a task that is cancelled before the patch runs: nothing was run, and nothing is left', async () => {
  const hosts = await startHosts();
  const { master, slave } = hosts;
  const [began, ran] = ['began', 'ran'].map((name) => join(master.work.folder, name)) as [string, string];
  const patch = await scriptPatch({
    precheck: `touch ${began}; i=0; while [ $i -lt 600 ]; do sleep 0.1; i=$((i+1)); done`,
    apply: `touch ${ran}`,
  });
  const ref = await upload(master, patch);
  const task = await master.call('Async.pool_patch.apply', ref, await hostRef(master, 'slave'));
  await eventually(
    () => Promise.resolve(existsSync(began)),
    (isThere) => isThere,
  );
  await master.call('task.cancel', task);
  const status = (): Promise<unknown> => master.call('task.get_status', task);
  expect(await eventually(status, (now) => now === 'cancelled')).toBe('cancelled');
  expect(existsSync(ran)).toBe(false);
  expect(appliedOn(slave)).toEqual([]);
  await expectNothingLeft(hosts, 1);
});

test('a slave that is killed while it applies: the client is told, then the pool, and it runs again only when somebody says so', async () => {
  const hosts = await startHosts();
  const { master, slave } = hosts;
  const runs = join(master.work.folder, 'runs');
  writeFileSync(runs, '');
  const words = (): string[] => readFileSync(runs, 'utf8').split('\n').slice(0, -1);
  const go = join(master.work.folder, 'go');
  const apply = `echo began >>${runs}; i=0; while [ ! -e ${go} ] && [ $i -lt 600 ]; do sleep 0.1; i=$((i+1)); done; echo ended >>${runs}`;
  const patch = await scriptPatch({ apply });
  const ref = await upload(master, patch);
  const host = await hostRef(master, 'slave');
  const applying = failureOf(master.call('pool_patch.apply', ref, host));
  await eventually(
    () => Promise.resolve(words()),
    (said) => said.includes('began'),
  );
  await slave.kill();
  expect(await applying).toMatch(/PATCH_APPLY_FAILED.*it was not seen to its end, and may have run in part/);
  expect(await waitForPbd(master, SLAVE_SR, false)).toBe(false);
  expect(await failureOf(master.call('pool_patch.apply', ref, host))).toContain('HOST_OFFLINE');
  await slave.startWith();
  await waitForSlave(master);
  const state = await eventually(
    () => hostPatches(master, ref),
    ({ length }) => length > 0,
  );
  expect(state).toMatchObject([
    { applied: false, host, other_config: { 'unfinished-since': expect.stringMatching(/^\d{4}-/) } },
  ]);
  await expectNothingLeft(hosts, 1);
  const refused = await pool(master, 'apply', patch.uuid, '--host', 'slave');
  expect(refused.exitCode).toBe(8);
  expect(refused.stderr.replaceAll(/\s+/g, ' ')).toContain('may have run in part');
  expect(words()).toEqual(['began']);
  writeFileSync(go, '');
  const again = await pool(master, 'apply', patch.uuid, '--host', 'slave', '--again');
  expect(again).toMatchObject({ exitCode: 0, stderr: '' });
  expect(words()).toEqual(['began', 'began', 'ended']);
  expect(await hostPatches(master, ref)).toMatchObject([{ applied: true, other_config: {} }]);
  await expectNothingLeft(hosts, 1);
}, 180_000);

test('a master that is killed while its slave applies: the slave ends it, and the records say so afterwards', async () => {
  const hosts = await startHosts();
  const { master, slave } = hosts;
  const [began, go] = ['began', 'go'].map((name) => join(master.work.folder, name)) as [string, string];
  const apply = `touch ${began}; i=0; while [ ! -e ${go} ] && [ $i -lt 600 ]; do sleep 0.1; i=$((i+1)); done`;
  const patch = await scriptPatch({ apply });
  const ref = await upload(master, patch);
  const applying = failureOf(master.call('pool_patch.apply', ref, await hostRef(master, 'slave')));
  await eventually(
    () => Promise.resolve(existsSync(began)),
    (isThere) => isThere,
  );
  const { port } = new URL(master.url);
  await master.kill();
  expect(await applying).not.toBe('');
  await master.startWith('--listen', `127.0.0.1:${port}`);
  await master.logIn();
  await waitForSlave(master);
  expect(await hostPatches(master, ref)).toEqual([]);
  const again = master.call('pool_patch.apply', ref, await hostRef(master, 'slave'));
  expect(await failureOf(again)).toContain('OTHER_OPERATION_IN_PROGRESS');
  writeFileSync(go, '');
  const state = await eventually(
    () => hostPatches(master, ref),
    ({ length }) => length > 0,
  );
  expect(state).toMatchObject([{ applied: true }]);
  expect(appliedOn(slave)).toEqual([patch.uuid]);
  await expectNothingLeft(hosts, 1);
}, 180_000);
