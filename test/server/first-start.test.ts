import { randomUUID } from 'node:crypto';
import { chmodSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import { FolderRepository } from '../../src/pool/folder-repository.js';
import { openPool, type Pool } from '../../src/pool/open-pool.js';
import { lockState } from '../../src/pool/state-lock.js';
import { prepareServer, resetPassword } from '../../src/server/first-start.js';
import { DEFAULT_SEARCH_PATH } from '../../src/tools/find.js';
import { requireTool } from '../oracles/require-tool.js';
import { runJudge } from '../oracles/run-judge.js';
import { pythonAccepts } from './scrypt-judge.js';
import { NOW, USERS, modeOf, place } from './server-place.js';

beforeEach((context) => requireTool(context, 'openssl', 'python3'));

test('the first start makes everything, open to nobody else', async () => {
  const { state, start } = place();
  const prepared = await start();
  expect(modeOf(state)).toBe('700');
  const modes = Object.fromEntries(readdirSync(state).map((name) => [name, modeOf(join(state, name))]));
  expect(modes).toEqual({
    'certificate.pem': '644',
    keyrings: '700',
    'pool-secret': '600',
    'repositories.json': '600',
    sr: '700',
    'tls.pem': '600',
    'users.json': '600',
  });
  expect(prepared.firstPassword).toMatch(/^(?:[2-9abcdefghjkmnpqrstuvwxyz]{4}-){6}[2-9a-z]{4}$/);
  const stored = readFileSync(join(state, 'users.json'), 'utf8');
  expect(stored).not.toContain(prepared.firstPassword);
  expect(JSON.parse(stored)).toEqual({
    format: 'patch-vdi users 1',
    users: [
      { name: 'root', role: 'pool-admin', password_hash: expect.any(String) as string, was_shown: true },
    ],
  });
  const hash = /"password_hash": "([^"]+)"/.exec(stored)?.[1] ?? '';
  expect(pythonAccepts(prepared.firstPassword ?? '', hash)).toBe(true);
  const account = await prepared.users.authenticate('root', prepared.firstPassword ?? '', '::1');
  expect(account).toEqual({ name: 'root', role: 'pool-admin' });
  expect(prepared.repositories).toMatchObject([
    { path: join(state, 'sr'), nameLabel: 'Local storage', uuid: prepared.defaultSrUuid, shared: false },
  ]);
  expect([...(prepared.repositories[0]?.capabilities ?? [])]).toEqual(['VDI_CLONE']);
  expect(prepared.config.host).toEqual({ nameLabel: 'host-one', address: '127.0.0.1' });
  expect(prepared.tls?.renewed).toBe('first start');
  const shown = runJudge('openssl', [
    'x509',
    '-in',
    join(state, 'certificate.pem'),
    '-noout',
    '-fingerprint',
    '-sha256',
  ]);
  expect(shown.stdout).toBe(`sha256 Fingerprint=${prepared.tls?.fingerprint}\n`);
  const names = runJudge('openssl', [
    'x509',
    '-in',
    join(state, 'tls.pem'),
    '-noout',
    '-ext',
    'subjectAltName',
  ]);
  expect(names.stdout).toContain(
    'DNS:host-one, DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1',
  );
});

/** Whatever is written anew is another file. */
function snapshot(folder: string): [string, number][] {
  return readdirSync(folder).map((name) => [name, statSync(join(folder, name)).ino]);
}

test('the second start changes nothing and shows no password', async () => {
  const { state, start } = place();
  const first = await start();
  const before = snapshot(state);
  const second = await start();
  expect(snapshot(state)).toEqual(before);
  expect(second.firstPassword).toBeUndefined();
  expect(second.tls).toEqual({ ...first.tls, renewed: undefined });
  expect(second.defaultSrUuid).toBe(first.defaultSrUuid);
  await expect(second.users.authenticate('root', first.firstPassword ?? '', '::1')).resolves.toBeDefined();
});

test('what was prepared opens a pool whose default SR it is', async () => {
  const { start } = place();
  const prepared = await start();
  let pool: Pool | undefined;
  onTestFinished(() => pool?.close());
  pool = await openPool({
    stateFolder: prepared.stateFolder,
    repositories: prepared.repositories.map((options) => FolderRepository.open(options)),
    defaultSr: prepared.defaultSrUuid,
    policy: prepared.policy,
    environment: { searchPath: DEFAULT_SEARCH_PATH },
    hostName: prepared.config.host.nameLabel,
    address: prepared.config.host.address,
    now: () => NOW,
    newUuid: () => randomUUID(),
  });
  const { default_SR: sr } = pool.database.get('pool', pool.pool);
  expect(pool.database.get('SR', sr).uuid).toBe(prepared.defaultSrUuid);
  // While it is open, nobody prepares another, and no password is reset.
  await expect(start()).rejects.toMatchObject({ kind: 'usage', message: 'the state folder is in use' });
  await expect(resetPassword(prepared.stateFolder, 'root')).rejects.toMatchObject({ kind: 'usage' });
});

test('until the password was shown the state is locked', async () => {
  const { state, start } = place();
  const options = { stateFolder: state, config: undefined, hostName: 'host-one', now: () => NOW };
  const prepared = await prepareServer(options);
  await expect(lockState(state)).rejects.toMatchObject({ kind: 'usage' });
  await Promise.all([prepared.passwordShown(), prepared.passwordShown()]);
  await (await lockState(state)).release();
  expect((await start()).firstPassword).toBeUndefined();
});

test('a lost password is replaced', async () => {
  const { state, start } = place();
  const { firstPassword = '' } = await start();
  const fresh = await resetPassword(state, 'root');
  expect(fresh).not.toBe(firstPassword);
  const { users, firstPassword: none } = await start();
  expect(none).toBeUndefined();
  await expect(users.authenticate('root', fresh, '::1')).resolves.toMatchObject({ role: 'pool-admin' });
  await expect(users.authenticate('root', firstPassword, '::1')).rejects.toMatchObject({
    code: 'SESSION_AUTHENTICATION_FAILED',
  });
  await expect(resetPassword(state, 'rot')).rejects.toMatchObject({
    kind: 'usage',
    hint: 'did you mean root?',
  });
  await expect(resetPassword(join(state, 'none'), 'root')).rejects.toMatchObject({
    message: 'there is no state folder',
  });
});

test('users of a configuration take the place of those of the state', async () => {
  const { folder, state, start, write, refused } = place();
  write('reader', 'open sesame\r\nthe rest does not count\n');
  const text = `${USERS.trimEnd().slice(0, -1)}, {name: reader, role: read-only, password_file: reader}]\n`;
  const { users, firstPassword } = await start(text);
  expect(firstPassword).toBeUndefined();
  expect(readdirSync(state)).not.toContain('users.json');
  await expect(users.authenticate('admin', 'right', '::1')).resolves.toMatchObject({ role: 'pool-admin' });
  await expect(users.authenticate('reader', 'open sesame', '::1')).resolves.toMatchObject({
    role: 'read-only',
  });
  await expect(resetPassword(state, 'admin')).rejects.toMatchObject({ kind: 'usage' });

  chmodSync(join(folder, 'reader'), 0o640);
  expect(await refused(text)).toMatchObject({
    message: 'others may read a secret',
    context: { path: join(folder, 'reader'), found: 'mode 0640', expected: 'mode 0600' },
    hint: `chmod 600 ${join(folder, 'reader')}`,
  });
  write('reader', '\nsecond line\n');
  expect((await refused(text)).context).toMatchObject({ found: 'an empty line' });
  rmSync(join(folder, 'reader'));
  expect((await refused(text)).context).toMatchObject({ found: 'no such file' });
});
