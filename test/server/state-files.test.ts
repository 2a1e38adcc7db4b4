import { chmodSync, chownSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { prepareServer } from '../../src/server/first-start.js';
import { defaultServeConfig } from '../../src/server/serve-config.js';
import { requireRoot, requireTool } from '../oracles/require-tool.js';
import { runJudge } from '../oracles/run-judge.js';
import { NOW, USERS, modeOf, place } from './server-place.js';

/** Somebody who is not root, and not us. */
const STRANGER = 12_345;

beforeEach((context) => requireTool(context, 'openssl', 'python3'));

test.for([
  ['users.json', 0o640, 'others may read a secret', 'chmod 600'],
  ['users.json', 0o604, 'others may read a secret', 'chmod 600'],
  ['tls.pem', 0o644, 'others may read a secret', 'chmod 600'],
  ['tls.pem', 0o620, 'others may read a secret', 'chmod 600'],
  ['repositories.json', 0o644, 'others may read a secret', 'chmod 600'],
  ['certificate.pem', 0o666, 'everybody may change the file', 'chmod o-w'],
  ['.', 0o777, 'others may change the folder', 'chmod go-w'],
  ['.', 0o770, 'others may change the folder', 'chmod go-w'],
] as const)('%s with mode %o is refused, and the advice helps', async ([name, mode, message, command]) => {
  const { state, start, refused } = place();
  await start();
  const path = join(state, name);
  chmodSync(path, mode);
  const error = await refused();
  expect(error).toMatchObject({ kind: 'usage', message, context: { path } });
  expect(error.hint).toBe(`${command} ${path}`);
  const [program = '', ...args] = error.hint?.split(' ') ?? [];
  expect(runJudge(program, args).exitCode).toBe(0);
  await start();
});

test.for(['users.json', 'tls.pem', 'repositories.json', '.'])(
  'what belongs to somebody else is refused: %s',
  async (name, context) => {
    requireRoot(context);
    const { state, start, refused } = place();
    await start();
    chownSync(join(state, name), STRANGER, STRANGER);
    expect(await refused()).toMatchObject({
      message: 'the file belongs to somebody else',
      context: { found: `user ${STRANGER}` },
    });
  },
);

test('a state folder that others may look into is no fault: systemd makes such', async () => {
  const { state, start } = place();
  mkdirSync(state);
  chmodSync(state, 0o755);
  await start();
  expect(modeOf(state)).toBe('755');
});

test.for([
  ['users.json', '', 'the file of users is damaged'],
  ['users.json', '{}', 'the file of users is damaged'],
  ['users.json', '{"format": "patch-vdi users 2", "users": []}', 'the file of users is damaged'],
  ['users.json', '{"format": "patch-vdi users 1", "users": []}', 'the file of users is damaged'],
  [
    'users.json',
    '{"format": "patch-vdi users 1", "users": [{"name": "a", "role": "pool-admin", "password_hash": "x", "was_shown": true}]}',
    'the file of users is damaged',
  ],
  ['users.json', '['.repeat(1_000_000), 'the file of users is damaged'],
  ['users.json', 'x'.repeat(1_048_577), 'a file cannot be used'],
  ['tls.pem', '', 'the server cannot use this certificate or key'],
  ['tls.pem', 'x', 'the server cannot use this certificate or key'],
  [
    'tls.pem',
    '-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\n-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n',
    'the server cannot use this certificate or key',
  ],
  ['repositories.json', '{}', 'the file of repositories is damaged'],
  ['repositories.json', 'null', 'the file of repositories is damaged'],
] as const)('a damaged file is refused: %s (%#)', async ([name, text, message]) => {
  const { state, start, refused } = place();
  await start();
  writeFileSync(join(state, name), text);
  const error = await refused();
  expect(error.message).toBe(message);
  expect(error.context.path).toBe(join(state, name));
  // The advice is to remove it: then there is a new one.
  rmSync(join(state, name));
  const prepared = await start();
  expect(prepared.firstPassword === undefined).toBe(name !== 'users.json');
});

test('a folder or a FIFO in the place of a file is refused, and nobody waits', async () => {
  const { state, start, refused } = place();
  await start();
  rmSync(join(state, 'users.json'));
  expect(runJudge('mkfifo', ['-m', '600', join(state, 'users.json')]).exitCode).toBe(0);
  expect((await refused()).context).toMatchObject({ found: 'not a regular file' });
  rmSync(join(state, 'users.json'));
  mkdirSync(join(state, 'users.json'), { mode: 0o700 });
  expect((await refused()).context).toMatchObject({ found: 'not a regular file' });
});

test('keyrings of the state folder are taken when the configuration names none', async () => {
  const { folder, state, start, write, refused } = place();
  const none = await start(USERS);
  expect(none.policy).toEqual({ keyrings: [] });
  expect(none.warnings.join('\n')).toContain(`no upload can be taken`);
  expect(none.warnings.join('\n')).toContain(join(state, 'keyrings'));
  for (const name of ['b.asc', 'a.gpg', 'c.kbx', 'a.gpg~', '.hidden.gpg', 'README', '.gpg']) {
    write(join('state', 'keyrings', name), 'x', 0o644);
  }
  const some = await start(`${USERS}signature: {allow_weak_digest: true}\n`);
  expect(some.policy).toEqual({
    keyrings: ['a.gpg', 'b.asc', 'c.kbx'].map((name) => join(state, 'keyrings', name)),
    allowWeakDigest: true,
  });
  expect(some.warnings).toEqual([]);
  write('named.gpg', 'x', 0o664);
  const named = `${USERS}signature: {keyrings: [named.gpg]}\n`;
  expect((await start(named)).policy).toEqual({ keyrings: [join(folder, 'named.gpg')] });
  chmodSync(join(folder, 'named.gpg'), 0o666);
  expect((await refused(named)).message).toBe('everybody may change the file');
  rmSync(join(folder, 'named.gpg'));
  expect((await refused(named)).message).toBe('a keyring cannot be read');
});

test('what a killed start left unfinished is removed', async () => {
  const { state, start, write } = place();
  await start(USERS);
  for (const name of ['users.json', 'tls.pem', 'certificate.pem', 'repositories.json']) {
    write(join('state', `${name}.new`), 'half of');
  }
  await start(USERS);
  expect(readdirSync(state).filter((name) => name.endsWith('.new'))).toEqual([]);
});

test('a state folder that cannot be made is said', async () => {
  const { folder, write } = place();
  write('file', '');
  const stateFolder = join(folder, 'file', 'state');
  const config = defaultServeConfig();
  await expect(prepareServer({ stateFolder, config, hostName: 'x', now: () => NOW })).rejects.toMatchObject({
    kind: 'sink',
    context: { path: stateFolder },
  });
});
