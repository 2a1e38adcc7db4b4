/*
 * A pool of two hosts, started for real: the second one joins, its storage repositories are the pool's, and calls that
 * are meant for the master are not answered by it.
 */
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { MIB } from '../../src/units.js';
import { createClient } from '../interop/xen-api.js';
import { makeWorkspace } from '../e2e/workspace.js';
import { samplePatch, sha256 } from '../pool/test-pool.js';
import { runTool } from '../server/run-tool.js';
import { ServedPool } from './served-pool.js';
import {
  MASTER_SR,
  SHARED_SR,
  SLAVE_SR,
  eventually,
  masterOptions,
  recordsOf,
  refOf,
  slaveOptions,
  startTwoHosts,
  waitForPbd,
} from './two-hosts.js';

/** SHA-256 of a VDI as it is exported. */
async function digestOf(master: ServedPool, vdi: unknown, format = 'raw'): Promise<string> {
  const uuid = (await master.call('VDI.get_uuid', vdi)) as string;
  const { status, body } = await master.send('GET', `/export_raw_vdi?vdi=${uuid}&format=${format}`);
  expect(status).toBe(200);
  return sha256(body);
}

async function patchVdi(master: ServedPool, seed: string, bytes = 3 * MIB): Promise<string> {
  const patch = await samplePatch(seed, bytes);
  expect((await master.send('PUT', '/pool_patch_upload', patch.bytes)).status).toBe(200);
  const ref = await refOf(master, 'pool_patch', patch.uuid);
  return (await master.call('pool_patch.get_VDI', ref)) as string;
}

const disksIn = (slave: ServedPool): string[] =>
  readdirSync(join(slave.work.folder, 'sr-slave')).filter((name) => name !== '.patch-vdi-sr.json');

test('VDI.copy duplicates a patch to the local SR of another host, and back', async () => {
  const { master, slave } = await startTwoHosts();
  expect(slave.said).toContain(`slave of     ${master.url}`);
  expect(await waitForPbd(master, SLAVE_SR, true)).toBe(true);
  const hosts = Object.values(await recordsOf(master, 'host'));
  expect(hosts.map(({ name_label: name, enabled }) => [name, enabled])).toEqual([
    ['master', true],
    ['slave', true],
  ]);
  const vdi = await patchVdi(master, 'to another host');
  const digest = await digestOf(master, vdi);
  const slaveSr = await refOf(master, 'SR', SLAVE_SR);
  const there = await master.call('VDI.copy', vdi, slaveSr);
  const uuid = String(await master.call('VDI.get_uuid', there));
  expect(disksIn(slave)).toEqual([`${uuid}.raw`]);
  expect(await digestOf(master, there)).toBe(digest);
  const back = await master.call('VDI.copy', there, await refOf(master, 'SR', MASTER_SR));
  expect(await digestOf(master, back)).toBe(digest);
  const clone = await master.call('VDI.clone', there);
  expect(await digestOf(master, clone)).toBe(digest);
  expect(await digestOf(master, clone, 'vhd')).not.toBe(digest);
  await master.call('VDI.destroy', clone);
  await master.call('VDI.destroy', there);
  expect(disksIn(slave)).toEqual([]);
  expect(await slave.stop()).toBe(0);
  expect(await master.stop()).toBe(0);
});

test('a shared SR is one SR with two PBDs, and the master uses its own access', async () => {
  const work = makeWorkspace();
  onTestFinished(() => work.remove());
  const shared = join(work.folder, 'shared');
  mkdirSync(shared);
  const { master, slave } = await startTwoHosts(shared);
  expect(await waitForPbd(master, SHARED_SR, true)).toBe(true);
  const srs = Object.values(await recordsOf(master, 'SR')).filter(({ uuid }) => uuid === SHARED_SR);
  expect(srs).toMatchObject([{ shared: true, PBDs: [expect.any(String), expect.any(String)] }]);
  const vdi = await patchVdi(master, 'shared');
  const copy = await master.call('VDI.copy', vdi, await refOf(master, 'SR', SHARED_SR));
  await slave.kill();
  // Without the slave it is still there.
  expect(await digestOf(master, copy)).toBe(await digestOf(master, vdi));
});

test('calls that are meant for the master answer HOST_IS_SLAVE, and clients go there', async () => {
  const master = await ServedPool.start(masterOptions());
  const { port } = new URL(master.url);
  const password = ['--password-file', master.passwordFile];
  const joining = ['--join', master.url, '--ca-file', master.certificate, ...password];
  const options = { ...slaveOptions(master), arguments: joining };
  // The same port on another address, as hosts have it.
  const slave = await ServedPool.start({ ...options, listen: `{address: "::1", port: ${port}}` });
  const url = `https://[::1]:${port}`;
  // By its address: its name is the master's here.
  const curl = async (...args: readonly string[]): Promise<string> => {
    const [target = '', ...others] = args.toReversed();
    const usual = ['-sS', '--cacert', slave.certificate];
    const ended = await runTool('curl', [...usual, ...others.toReversed(), `${url}${target}`]);
    expect(ended.stderr).toBe('');
    return ended.stdout;
  };
  const answer = await curl('-X', 'POST', '-d', LOGIN, '/jsonrpc');
  expect(JSON.parse(answer)).toMatchObject({
    error: { message: 'HOST_IS_SLAVE', data: ['localhost'] },
  });
  const redirected = await curl('-D', '-', '-T', slave.certificate, '/pool_patch_upload?session_id=x');
  expect(redirected).toMatch(/^HTTP\/1.1 302/);
  expect(redirected).toContain(`Location: ${master.url}/pool_patch_upload?session_id=x`);
  expect(await curl('/health')).toBe('{"status":"ok"}\n');
  const client = createClient({
    url,
    auth: { user: 'root', password: master.password },
    debounce: 10,
    allowUnauthorized: true,
  });
  await client.connect();
  await client.objectsFetched;
  onTestFinished(() => client.disconnect().catch(() => undefined));
  const hosts = Object.values(client.objects.all).filter(({ $type }) => $type === 'host');
  expect(new Set(hosts.map(({ name_label: name }) => name))).toEqual(new Set(['master', 'slave']));
});

const LOGIN = JSON.stringify({
  jsonrpc: '2.0',
  id: 1,
  method: 'session.login_with_password',
  params: ['root', 'x'],
});

test('a slave that was killed is detached, and is back without a password; what was left is removed', async () => {
  const { master, slave } = await startTwoHosts();
  expect(await waitForPbd(master, SLAVE_SR, true)).toBe(true);
  const vdi = await patchVdi(master, 'killed', 24 * MIB);
  const slaveSr = await refOf(master, 'SR', SLAVE_SR);
  const kept = await master.call('VDI.copy', vdi, slaveSr);
  const broken = master.call('VDI.copy', vdi, slaveSr).then(
    () => 'done',
    (error: unknown) => String(error),
  );
  await eventually(
    async () => disksIn(slave).length,
    (count) => count > 1,
  );
  await slave.kill();
  expect(await broken).not.toBe('');
  expect(await waitForPbd(master, SLAVE_SR, false)).toBe(false);
  await expect(master.call('VDI.copy', kept, await refOf(master, 'SR', MASTER_SR))).rejects.toThrow(
    'SR_HAS_NO_PBDS',
  );
  await slave.startWith();
  expect(await waitForPbd(master, SLAVE_SR, true)).toBe(true);
  const vdis = async (): Promise<string[]> => {
    const all = Object.values(await recordsOf(master, 'VDI'));
    return all.filter(({ SR }) => SR === slaveSr).map(({ uuid }) => `${String(uuid)}.raw`);
  };
  const found = await eventually(vdis, (names) => names.sort().join() === disksIn(slave).sort().join());
  expect(found.sort()).toEqual(disksIn(slave).sort());
  expect(await digestOf(master, kept)).toBe(await digestOf(master, vdi));
}, 180_000);

test('a host that was ejected is forgotten, keeps its disks, and is told when it starts again', async () => {
  const { master, slave } = await startTwoHosts();
  expect(await waitForPbd(master, SLAVE_SR, true)).toBe(true);
  const slaveSr = await refOf(master, 'SR', SLAVE_SR);
  await master.call('VDI.copy', await patchVdi(master, 'ejected'), slaveSr);
  const hosts = Object.entries(await recordsOf(master, 'host'));
  const [host] = hosts.find(([, record]) => record['name_label'] === 'slave') ?? [];
  const [first] = hosts.find(([, record]) => record['name_label'] === 'master') ?? [];
  await expect(master.call('pool.eject', first)).rejects.toThrow('the master cannot be ejected');
  await master.call('pool.eject', host);
  expect(Object.keys(await recordsOf(master, 'host'))).toEqual([first]);
  expect(Object.values(await recordsOf(master, 'SR')).map(({ uuid }) => uuid)).toEqual([MASTER_SR]);
  expect(Object.values(await recordsOf(master, 'PBD'))).toHaveLength(1);
  expect(disksIn(slave)).toHaveLength(1);
  await slave.kill();
  await slave.startWith();
  const words = async (): Promise<string> =>
    await Promise.resolve(slave.log.map(({ msg }) => String(msg)).join('\n'));
  const said = await eventually(words, (text) => text.includes('SESSION_AUTHENTICATION_FAILED'));
  expect(said).toContain('this host is not of its pool any more');
});

test('who has a wrong password or certificate does not join', async () => {
  const master = await ServedPool.start(masterOptions());
  const options = slaveOptions(master);
  const work = makeWorkspace();
  onTestFinished(() => work.remove());
  const wrong = work.input('wrong', 'wrong\n');
  const args = ['--join', master.url, '--fingerprint', master.fingerprint, '--password-file', wrong];
  await expect(ServedPool.start({ ...options, arguments: args })).rejects.toThrow(/ended with 8/);
  const otherCertificate = master.fingerprint.replace(/^../, (pair) => (pair === '00' ? '01' : '00'));
  const others = ['--join', master.url, '--fingerprint', otherCertificate, ...args.slice(4)];
  await expect(ServedPool.start({ ...options, arguments: others })).rejects.toThrow(/certificate/);
  await master.logIn();
  expect(Object.values(await recordsOf(master, 'host'))).toHaveLength(1);
});
