import { chmodSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { requireRoot, requireTool } from '../oracles/require-tool.js';
import { runJudge } from '../oracles/run-judge.js';
import { DAY, NOW, USERS, place } from './server-place.js';

beforeEach((context) => requireTool(context, 'openssl', 'python3'));

test('the certificate is renewed when it ends soon, and not before', async () => {
  const { state, start } = place();
  const first = await start(USERS);
  const later = await start(USERS, NOW + 790 * DAY);
  expect(later.tls).toMatchObject({ fingerprint: first.tls?.fingerprint, renewed: undefined });
  const renewed = await start(USERS, NOW + 791 * DAY);
  expect(renewed.tls?.renewed).toBe('it ends soon');
  expect(renewed.tls?.fingerprint).not.toBe(first.tls?.fingerprint);
  expect(renewed.tls?.keyPem).not.toBe(first.tls?.keyPem);
  expect(readFileSync(join(state, 'certificate.pem'), 'utf8')).toBe(renewed.tls?.certificatePem);
  const at = String((NOW + 1600 * DAY) / 1000);
  const path = join(state, 'certificate.pem');
  expect(runJudge('openssl', ['verify', '-attime', at, '-CAfile', path, path]).stdout).toContain('OK');
});

test('the certificate is renewed for a name that it lacks, and not for one less', async () => {
  const { start } = place();
  const named = (names: string): string => `${USERS}tls: {self_signed: {names: [${names}]}}\n`;
  const first = await start(named('a.example, "*.b.example", 192.0.2.1'));
  const fewer = await start(named('192.0.2.1, A.example, x.b.example'));
  expect(fewer.tls).toMatchObject({ fingerprint: first.tls?.fingerprint, renewed: undefined });
  const more = await start(named('a.example, 192.0.2.2'));
  expect(more.tls?.renewed).toBe('other names');
});

test('a copy of the certificate that is gone comes back', async () => {
  const { state, start } = place();
  const { tls } = await start(USERS);
  rmSync(join(state, 'certificate.pem'));
  await start(USERS);
  expect(readFileSync(join(state, 'certificate.pem'), 'utf8')).toBe(tls?.certificatePem);
});

/** A key and a certificate made by openssl. */
function opensslPair(folder: string, name: string, days = 3650): void {
  const [key, certificate] = [join(folder, `${name}.key`), join(folder, `${name}.pem`)];
  const args = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  const made = runJudge('openssl', [
    ...args,
    '-days',
    String(days),
    '-subj',
    '/CN=a.example',
    '-keyout',
    key,
    '-out',
    certificate,
  ]);
  if (made.exitCode !== 0) throw new Error(made.stderr);
  chmodSync(key, 0o600);
}

test('certificate and key of a configuration', async () => {
  const { folder, state, start, refused } = place();
  opensslPair(folder, 'a');
  opensslPair(folder, 'b');
  const files = (certificate: string, key: string): string =>
    `${USERS}tls: {certificate: ${certificate}, key: ${key}}\n`;
  const { tls } = await start(files('a.pem', 'a.key'));
  const shown = runJudge('openssl', [
    'x509',
    '-in',
    join(folder, 'a.pem'),
    '-noout',
    '-fingerprint',
    '-sha256',
  ]);
  expect(shown.stdout).toBe(`sha256 Fingerprint=${tls?.fingerprint}\n`);
  expect(tls?.renewed).toBeUndefined();
  expect(readdirSync(state)).not.toContain('tls.pem');

  expect((await refused(files('a.pem', 'b.key'))).context).toMatchObject({
    found: 'the key of another certificate',
  });
  expect((await refused(files('a.key', 'a.key'))).context).toMatchObject({ found: 'no certificate' });
  expect((await refused(files('a.pem', 'a.pem'))).message).toBe('others may read a secret');
  expect((await refused(files('none.pem', 'a.key'))).context).toMatchObject({ found: 'no such file' });
  expect((await refused(files('a.pem', 'none.key'))).context).toMatchObject({ found: 'no such file' });

  const locked = join(folder, 'locked.key');
  runJudge('openssl', [
    'pkey',
    '-in',
    join(folder, 'a.key'),
    '-aes256',
    '-passout',
    'pass:x',
    '-out',
    locked,
  ]);
  chmodSync(locked, 0o600);
  expect(await refused(files('a.pem', 'locked.key'))).toMatchObject({
    context: { found: 'a key with a passphrase' },
    hint: 'take the passphrase off: openssl pkey -in KEY -out NEW',
  });
});

test('a key that a group may read is taken when it is root’s, as Debian’s ssl-cert has it', async (context) => {
  requireRoot(context);
  const { folder, start, refused } = place();
  opensslPair(folder, 'a');
  chmodSync(join(folder, 'a.key'), 0o640);
  await start(`${USERS}tls: {certificate: a.pem, key: a.key}\n`);
  for (const mode of [0o644, 0o660]) {
    chmodSync(join(folder, 'a.key'), mode);
    expect((await refused(`${USERS}tls: {certificate: a.pem, key: a.key}\n`)).message).toBe(
      'others may read a secret',
    );
  }
});

test('a certificate of somebody that ends or has ended is said', async () => {
  const { folder, start } = place();
  opensslPair(folder, 'a', 20);
  const text = `${USERS}tls: {certificate: a.pem, key: a.key}\n`;
  const now = Date.now();
  expect((await start(text, now)).warnings.join('\n')).toMatch(/the certificate ends in (?:19|20) days/);
  expect((await start(text, now + 21 * DAY)).warnings.join('\n')).toContain('the certificate has ended');
});

test('TLS that is off makes no certificate', async () => {
  const { state, start } = place();
  const { tls } = await start(`${USERS}tls: off\n`);
  expect(tls).toBeUndefined();
  expect(readdirSync(state)).not.toContain('tls.pem');
});
