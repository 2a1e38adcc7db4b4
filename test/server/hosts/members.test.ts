import { createHash, randomUUID } from 'node:crypto';
import { existsSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { HELLO, PING, type JoinRequest } from '../../../src/server/hosts/host-calls.js';
import { HostLink } from '../../../src/server/hosts/host-link.js';
import { DEFAULT_TIMEOUTS } from '../../../src/xenapi/exchange.js';
import { parseServerUrl } from '../../../src/xenapi/server-address.js';
import { parseFingerprint } from '../../../src/xenapi/trust.js';
import { refused } from '../../pool/test-pool.js';
import {
  MASTER_SR,
  SLAVE_SR,
  isAttached,
  masterHere,
  poolOfTwo,
  slaveHere,
  until,
  type MasterHere,
} from './pool-of-two.js';

const token = (text: string): string => createHash('sha256').update(text).digest('hex');

const request = (change: Partial<JoinRequest> = {}): JoinRequest => ({
  hostUuid: randomUUID(),
  joinToken: token('one'),
  nameLabel: 'liar',
  hostname: 'liar',
  address: '127.0.0.1',
  // Nothing listens there.
  url: 'https://127.0.0.1:1',
  certificate: token('certificate'),
  srs: [],
  ...change,
});

const srOf = (uuid: string, shared = false): JoinRequest['srs'][number] => ({
  uuid,
  nameLabel: 'mine',
  type: 'folder',
  capabilities: [],
  shared,
  deviceConfig: { path: '/x' },
});

function hostsOf({ pool }: MasterHere): readonly string[] {
  return pool.database.all('host').map(([, { uuid }]) => uuid);
}

/** As a slave with that key talks to the master. */
function linkTo(master: MasterHere, hostUuid: string, key: Uint8Array, sender: 'slave' | 'master' = 'slave') {
  return new HostLink(() => ({
    server: {
      address: parseServerUrl(master.url),
      trust: { kind: 'certificate', sha256: parseFingerprint(master.fingerprint) },
      timeouts: DEFAULT_TIMEOUTS,
    },
    sender,
    hostUuid,
    key,
  }));
}

test('nobody takes the place of the master or of another host, but who asks again is the same', async () => {
  const master = await masterHere();
  const { members, pool } = master;
  const uuid = pool.database.get('host', pool.host).uuid;
  expect((await refused(members?.join(request({ hostUuid: uuid })) ?? Promise.resolve())).code).toBe(
    'VALUE_NOT_SUPPORTED',
  );
  expect(
    (await refused(members?.join(request({ hostUuid: uuid, joinToken: '' })) ?? Promise.resolve())).code,
  ).toBe('VALUE_NOT_SUPPORTED');
  const one = request();
  const key = await members?.join(one);
  expect(key).toMatch(/^[0-9a-f]{64}$/);
  const other = { ...one, joinToken: token('two') };
  expect((await refused(members?.join(other) ?? Promise.resolve())).code).toBe('VALUE_NOT_SUPPORTED');
  expect(await members?.join(one)).toBe(key);
  expect(hostsOf(master)).toEqual([uuid, one.hostUuid]);
});

test("nobody brings an SR that is somebody else's", async () => {
  const { master, slave } = await poolOfTwo();
  const { members } = master;
  const before = JSON.stringify(master.pool.database.all('SR'));
  for (const srs of [[srOf(MASTER_SR)], [srOf(MASTER_SR, true)], [srOf(SLAVE_SR)], [srOf(SLAVE_SR, true)]]) {
    const error = await refused(members?.join(request({ srs })) ?? Promise.resolve());
    expect(error.parameters.slice(0, 2)).toEqual(['SR', srs[0]?.uuid]);
  }
  expect(hostsOf(master)).toHaveLength(2);
  // Nor later; what is its own is taken nevertheless.
  const one = request({ srs: [srOf(randomUUID())] });
  const key = Buffer.from((await members?.join(one)) ?? '', 'hex');
  const { hostUuid, joinToken: _token, ...announcement } = one;
  const srs = [srOf(SLAVE_SR), srOf(MASTER_SR), ...one.srs];
  await linkTo(master, hostUuid, key).call(HELLO, { ...announcement, srs });
  const host = master.pool.database.getByUuid('host', hostUuid);
  const pbds = master.pool.database.all('PBD').filter(([, pbd]) => pbd.host === host);
  expect(pbds).toHaveLength(1);
  const others = master.pool.database.all('SR').filter(([, { uuid }]) => uuid !== one.srs[0]?.uuid);
  const known = (JSON.parse(before) as [string, { uuid: string; name_label: string }][]).map(
    ([ref, { uuid, name_label: name }]) => [ref, uuid, name],
  );
  expect(others.map(([ref, { uuid, name_label: name }]) => [ref, uuid, name])).toEqual(known);
  await slave.close();
});

test("who has no key, another host's key, or is ejected, is refused", async () => {
  const { master, slave } = await poolOfTwo();
  const one = request();
  const { hostUuid, joinToken: _token, ...announcement } = one;
  const key = Buffer.from((await master.members?.join(one)) ?? '', 'hex');
  const hello = (uuid: string, with_: Uint8Array, sender?: 'master'): Promise<unknown> =>
    linkTo(master, uuid, with_, sender).call(HELLO, announcement);
  await hello(hostUuid, key);
  for (const call of [
    () => hello(slave.hostUuid, key),
    () => hello(randomUUID(), key),
    () => hello(hostUuid, Buffer.alloc(32)),
    () => hello(hostUuid, key, 'master'),
  ]) {
    // The code of it is not passed on.
    expect((await refused(call())).parameters[0]).toContain('SESSION_AUTHENTICATION_FAILED');
  }
  await master.members?.eject(master.pool.database.getByUuid('host', hostUuid));
  expect((await refused(hello(hostUuid, key))).parameters[0]).toContain('SESSION_AUTHENTICATION_FAILED');
  // Who joins again with another token has another key.
  const again = await master.members?.join({ ...one, joinToken: token('again') });
  expect(again).not.toBe(key.toString('hex'));
  expect((await refused(hello(hostUuid, key))).code).toBe('INTERNAL_ERROR');
});

test('a slave does what nobody but its master asks', async () => {
  const { master, slave } = await poolOfTwo();
  const file = join(master.folder, 'state-slave', 'membership.json');
  expect(statSync(file).mode % 0o1000).toBe(0o600);
  const membership = JSON.parse(readFileSync(file, 'utf8')) as Record<string, string>;
  const key = Buffer.from(membership['key'] ?? '', 'hex');
  const certificate = parseFingerprint(
    readFileSync(join(master.folder, 'state-slave', 'certificate.pem'), 'utf8').length > 0
      ? master.pool.database
          .all('host')
          .map(([, host]) => host.certificate_sha256)
          .join('')
      : '',
  );
  const link = (with_: Uint8Array, sender: 'master' | 'slave', uuid = slave.hostUuid) =>
    new HostLink(() => ({
      server: {
        address: parseServerUrl(slave.url),
        trust: { kind: 'certificate', sha256: certificate },
        timeouts: DEFAULT_TIMEOUTS,
      },
      sender,
      hostUuid: uuid,
      key: with_,
    }));
  const ping = { certificate: parseFingerprint(master.fingerprint) };
  expect((await link(key, 'master').call(PING, ping)).srs).toHaveLength(1);
  for (const other of [
    link(key, 'slave'),
    link(Buffer.alloc(32), 'master'),
    link(key, 'master', randomUUID()),
  ]) {
    expect((await refused(other.call(PING, ping))).parameters[0]).toContain('SESSION_AUTHENTICATION_FAILED');
    const place = { sr: SLAVE_SR, vdi: randomUUID(), start: 0, end: 1 };
    const read = async (): Promise<void> => {
      for await (const _run of other.readRuns(place));
    };
    expect((await refused(read())).parameters[0]).toContain('SESSION_AUTHENTICATION_FAILED');
  }
});

test('eject forgets a host and what only it had; not the master, not while it works', async () => {
  const { master, slave } = await poolOfTwo();
  const { pool, members } = master;
  expect((await refused(members?.eject(pool.host) ?? Promise.resolve())).code).toBe('VALUE_NOT_SUPPORTED');
  const sr = pool.database.getByUuid('SR', SLAVE_SR);
  const vdi = await pool.vdis.create({ sr, nameLabel: 'kept', virtualSize: 2 ** 20 });
  const { uuid } = pool.database.get('VDI', vdi);
  const host = pool.database.getByUuid('host', slave.hostUuid);
  const begun = await pool.vdis.begin({ sr, nameLabel: 'busy', virtualSize: 512 });
  expect((await refused(members?.eject(host) ?? Promise.resolve())).code).toBe('OTHER_OPERATION_IN_PROGRESS');
  await pool.vdis.remove(begun.ref);
  await members?.eject(host);
  expect(hostsOf(master)).toHaveLength(1);
  expect([pool.database.findByUuid('SR', SLAVE_SR), pool.database.findByUuid('VDI', uuid)]).toEqual([
    undefined,
    undefined,
  ]);
  expect(pool.repositories.has(SLAVE_SR)).toBe(false);
  // The disk is the host's.
  expect(existsSync(join(slave.folder, `${uuid}.raw`))).toBe(true);
});

test('a slave that is away is detached; when it is back, what was left is put in order', async () => {
  const { master, slave } = await poolOfTwo();
  const { pool } = master;
  const sr = pool.database.getByUuid('SR', SLAVE_SR);
  const kept = await pool.vdis.create({ sr, nameLabel: 'kept', virtualSize: 2 ** 20 });
  const lost = await pool.vdis.create({ sr, nameLabel: 'lost', virtualSize: 2 ** 20 });
  const half = await pool.vdis.create({ sr, nameLabel: 'half', virtualSize: 2 ** 20 });
  await slave.close();
  await until(() => !isAttached(master));
  const host = pool.database.getByUuid('host', slave.hostUuid);
  expect(pool.database.get('host', host).enabled).toBe(false);
  expect((await refused(pool.vdis.create({ sr, nameLabel: '', virtualSize: 512 }))).code).toBe(
    'SR_HAS_NO_PBDS',
  );
  // As a master that was killed leaves it.
  await pool.database.change((draft) => draft.update('VDI', half, { state: 'creating' }));
  const [keptUuid, lostUuid] = [kept, lost].map((ref) => pool.database.get('VDI', ref).uuid);
  rmSync(join(slave.folder, `${lostUuid}.raw`));
  writeFileSync(join(slave.folder, `.${keptUuid}.part`), 'x');
  const back = await slaveHere(master, { join: undefined });
  await until(
    () => isAttached(master) && pool.database.all('VDI').filter(([, { SR }]) => SR === sr).length === 1,
  );
  expect(back.hostUuid).toBe(slave.hostUuid);
  const disks = readdirSync(slave.folder).filter((name) => name !== '.patch-vdi-sr.json');
  expect(disks).toEqual([`${keptUuid}.raw`]);
  await until(() => master.lines.filter(({ msg }) => msg === 'recovered').length === 1);
});

test('what is under way is left alone when a slave is looked through', async () => {
  const { master, slave } = await poolOfTwo();
  const { pool } = master;
  const sr = pool.database.getByUuid('SR', SLAVE_SR);
  const begun = await pool.vdis.begin({ sr, nameLabel: 'busy', virtualSize: 2 ** 20 });
  const facts = { uuid: begun.uuid, nameLabel: 'busy', virtualSize: 2 ** 20 };
  await begun.repository.createVdi(facts);
  const seen = master.lines.length;
  await master.members?.hello(slave.hostUuid, {
    nameLabel: 'slave',
    hostname: 'slave',
    address: '127.0.0.1',
    url: slave.url,
    certificate: pool.database.get('host', pool.database.getByUuid('host', slave.hostUuid))
      .certificate_sha256,
    srs: [srOf(SLAVE_SR)],
  });
  await new Promise((done) => setTimeout(done, 500));
  expect(master.lines.slice(seen).filter(({ msg }) => msg === 'recovered')).toEqual([]);
  expect(existsSync(join(slave.folder, `${begun.uuid}.raw`))).toBe(true);
  expect(pool.database.find('VDI', begun.ref)?.state).toBe('creating');
  await pool.vdis.remove(begun.ref);
});

test('a slave that has a new certificate says so; so does a master', async () => {
  const { master, slave } = await poolOfTwo();
  await slave.close();
  await until(() => !isAttached(master));
  rmSync(join(master.folder, 'state-slave', 'tls.pem'));
  const again = await slaveHere(master, { join: undefined });
  await until(() => isAttached(master));
  // The master starts again, elsewhere, with another certificate, and finds its slave.
  await master.close();
  rmSync(join(master.folder, 'state-master', 'tls.pem'));
  const renewed = await masterHere(master.folder);
  expect(renewed.fingerprint).not.toBe(master.fingerprint);
  await until(() => isAttached(renewed));
  await until(() => again.lines.some(({ msg }) => msg === 'the master has a new certificate'));
  await again.close();
  const moved = await slaveHere(renewed, { join: undefined, masterUrl: renewed.url });
  await until(() => moved.lines.some(({ msg }) => String(msg).endsWith('knows that this host is there')));
});

test('a master does not join, and nobody joins through a slave', async () => {
  const { master, slave } = await poolOfTwo();
  const other = await masterHere();
  await other.close();
  await expect(
    slaveHere({ ...master, folder: other.folder }, { name: 'master', sr: MASTER_SR }),
  ).rejects.toMatchObject({
    kind: 'usage',
    message: 'this host is the master of a pool already',
  });
  const file = join(master.folder, 'state-slave', 'certificate.pem');
  const { fingerprintOf } = await import('../../../src/server/certificate.js');
  const fingerprint = fingerprintOf(readFileSync(file, 'utf8'));
  const through = slaveHere({ ...master, url: slave.url, fingerprint }, { name: 'third', sr: randomUUID() });
  await expect(through).rejects.toMatchObject({ code: 'HOST_IS_SLAVE' });
});
