import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { join } from 'node:path';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import { isCertificateName } from '../../src/server/certificate-names.js';
import {
  daysLeft,
  fingerprintOf,
  isCertificateFor,
  selfSignedCertificate,
  type CertificatePair,
} from '../../src/server/certificate.js';
import { requireTool } from '../oracles/require-tool.js';
import { runJudge } from '../oracles/run-judge.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';

const NOW = Date.UTC(2026, 10, 21);
const NAMES = ['pool.example', 'localhost', '127.0.0.1', '::1', '2001:db8::7'];

beforeEach((context) => requireTool(context, 'openssl', 'curl'));

async function files(now = NOW): Promise<CertificatePair & { certificate: string; key: string }> {
  const folder = temporaryFolder();
  const pair = await selfSignedCertificate({ names: NAMES, now });
  const [certificate, key] = [join(folder, 'certificate.pem'), join(folder, 'key.pem')];
  writeFileSync(certificate, pair.certificatePem);
  writeFileSync(key, pair.keyPem, { mode: 0o600 });
  return { ...pair, certificate, key };
}

function openssl(...args: readonly string[]): string {
  const { stdout, stderr } = runJudge('openssl', args);
  return `${stdout}${stderr}`;
}

test('openssl reads in it what was asked for', async () => {
  const { certificate, key } = await files();
  const text = openssl('x509', '-in', certificate, '-noout', '-text');
  for (const part of [
    'Version: 3 (0x2)',
    'sha256WithRSAEncryption',
    'Public-Key: (2048 bit)',
    'Issuer: CN = pool.example, O = patch-vdi',
    'Subject: CN = pool.example, O = patch-vdi',
    'X509v3 Basic Constraints: critical\n                CA:FALSE',
    'X509v3 Key Usage: critical\n                Digital Signature, Key Encipherment',
    'X509v3 Extended Key Usage: \n                TLS Web Server Authentication\n',
    'DNS:pool.example, DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1, ' +
      'IP Address:2001:DB8:0:0:0:0:0:7',
    'Not Before: Nov 20 00:00:00 2026 GMT',
    'Not After : Feb 18 00:00:00 2029 GMT',
  ]) {
    expect(text).toContain(part);
  }
  expect(openssl('x509', '-in', certificate, '-noout', '-pubkey')).toBe(
    openssl('pkey', '-in', key, '-pubout'),
  );
});

test('its fingerprint is that of openssl', async () => {
  const { certificate, certificatePem } = await files();
  const printed = openssl('x509', '-in', certificate, '-noout', '-fingerprint', '-sha256');
  expect(`sha256 Fingerprint=${fingerprintOf(certificatePem)}\n`).toBe(printed);
});

test.for([
  ['as it is', [], NOW, 'OK'],
  ['strictly', ['-x509_strict'], NOW, 'OK'],
  ['for its name', ['-verify_hostname', 'pool.example'], NOW, 'OK'],
  ['for its address', ['-verify_ip', '2001:db8::7'], NOW, 'OK'],
  ['for a server', ['-purpose', 'sslserver'], NOW, 'OK'],
  ['for another name', ['-verify_hostname', 'other.example'], NOW, 'hostname mismatch'],
  ['for another address', ['-verify_ip', '127.0.0.2'], NOW, 'IP address mismatch'],
  ['for a client', ['-purpose', 'sslclient'], NOW, 'nsuitable certificate purpose'],
  ['two days before', [], NOW - 2 * 86_400_000, 'certificate is not yet valid'],
  ['half a day before', [], NOW - 43_200_000, 'OK'],
  ['on its last day', [], NOW + 819 * 86_400_000, 'OK'],
  ['after 820 days', [], NOW + 820 * 86_400_000 + 1000, 'certificate has expired'],
] as const)('openssl verifies it %s', async ([, options, at, expected]) => {
  const { certificate } = await files();
  const time = ['-attime', String(at / 1000)];
  expect(openssl('verify', ...options, ...time, '-CAfile', certificate, certificate)).toContain(expected);
});

test('openssl does not verify one with a changed byte', async () => {
  const { certificate, certificatePem } = await files();
  const lines = certificatePem.split('\n');
  const line = lines.length - 5;
  const letters = lines[line] ?? '';
  lines[line] = `${letters[0] === 'A' ? 'B' : 'A'}${letters.slice(1)}`;
  const spoilt = `${certificate}.spoilt`;
  writeFileSync(spoilt, lines.join('\n'));
  const checked = openssl(
    'verify',
    '-check_ss_sig',
    '-attime',
    String(NOW / 1000),
    '-CAfile',
    spoilt,
    spoilt,
  );
  expect(checked).toContain('certificate signature failure');
});

test('it is valid for no longer than clients take, and the days that are left are known', async () => {
  const { certificatePem } = await files();
  expect(daysLeft(certificatePem, NOW)).toBe(820);
  expect(820 + 1).toBeLessThan(825);
  expect(daysLeft(certificatePem, NOW + 819.5 * 86_400_000)).toBe(0);
  expect(daysLeft(certificatePem, NOW + 820.5 * 86_400_000)).toBe(-1);
});

/** Runs a client beside the server of this process. */
function client(program: string, args: readonly string[]): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    const child = execFile(program, args, { timeout: 30_000 }, (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, output: `${stdout}${stderr}` });
    });
    child.stdin?.end('Q\n');
  });
}

async function serve({ certificatePem, keyPem }: CertificatePair): Promise<string> {
  const server = createServer({ cert: certificatePem, key: keyPem }, (_request, response) =>
    response.end('hello'),
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => void server.close(resolve));
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('a port was expected');
  return String(address.port);
}

test('curl and openssl talk to a server that has it, and to no other', async () => {
  const pair = await files(Date.now());
  const other = await files(Date.now());
  const port = await serve(pair);
  const url = `https://localhost:${port}/`;
  expect(await client('curl', ['-sS', '--noproxy', '*', '-4', '--cacert', pair.certificate, url])).toEqual({
    code: 0,
    output: 'hello',
  });
  // 60: the certificate of the peer cannot be authenticated (curl(1)).
  const stranger = await client('curl', ['-sS', '--noproxy', '*', '-4', '--cacert', other.certificate, url]);
  expect(stranger.code).toBe(60);
  const connect = [
    's_client',
    '-connect',
    `127.0.0.1:${port}`,
    '-verify_ip',
    '127.0.0.1',
    '-verify_return_error',
  ];
  const verified = await client('openssl', [...connect, '-CAfile', pair.certificate]);
  expect(verified.output).toContain('Verify return code: 0 (ok)');
  const refused = await client('openssl', [...connect, '-CAfile', other.certificate]);
  expect(refused.output).not.toContain('Verify return code: 0 (ok)');
});

test('clients that know TLS 1.2 with RSA only, such as hosts of XenServer 7, can talk to it', async () => {
  const pair = await files(Date.now());
  const port = await serve(pair);
  const suite = ['-tls1_2', '-cipher', 'ECDHE-RSA-AES128-GCM-SHA256', '-CAfile', pair.certificate];
  const { output } = await client('openssl', ['s_client', '-connect', `127.0.0.1:${port}`, ...suite]);
  expect(output).toContain('Cipher is ECDHE-RSA-AES128-GCM-SHA256');
  const [tls, , ...rest] = suite;
  const elliptic = [tls ?? '', '-cipher', 'ECDHE-ECDSA-AES128-GCM-SHA256', ...rest.slice(1)];
  const refused = await client('openssl', ['s_client', '-connect', `127.0.0.1:${port}`, ...elliptic]);
  expect(refused.output).toContain('Cipher is (NONE)');
});

test.for([
  ['pool.example', true],
  ['POOL-1.Example', true],
  ['my_host', true],
  ['localhost', true],
  ['*.pool.example', true],
  ['xn--bcher-kva.example', true],
  ['127.0.0.1', true],
  ['::1', true],
  ['::ffff:192.0.2.1', false],
  ['2001:DB8::A', true],
  ['', false],
  ['a..b', false],
  ['host.', false],
  ['-a.example', false],
  ['a-.example', false],
  ['*', false],
  ['*.example', false],
  ['a.*.example', false],
  ['300.1.1.1', false],
  ['1.2.3', false],
  ['fe80::1%eth0', false],
  ['a b', false],
  ['a,O=b', false],
  ['bücher.example', false],
  ['a\0b', false],
  [`${'a'.repeat(64)}.example`, false],
  [Array.from({ length: 64 }, () => 'abc').join('.'), false],
] as const)('a certificate can be for a name, or cannot: %j', async ([name, possible]) => {
  expect(isCertificateName(name)).toBe(possible);
  if (!possible) return;
  // … and then it is, or every start would renew it.
  const { certificatePem } = await selfSignedCertificate({ names: [name], now: NOW });
  expect(isCertificateFor(certificatePem, name)).toBe(true);
  expect(isCertificateFor(certificatePem, 'another.example')).toBe(false);
  expect(isCertificateFor(certificatePem, '192.0.2.99')).toBe(false);
});

test('a name of more than 64 characters does not become the subject', async () => {
  const long = `${'a'.repeat(60)}.example.org`;
  const { certificatePem } = await selfSignedCertificate({ names: [long], now: NOW });
  const path = join(temporaryFolder(), 'long.pem');
  writeFileSync(path, certificatePem);
  expect(openssl('x509', '-in', path, '-noout', '-subject')).toBe('subject=CN = patch-vdi, O = patch-vdi\n');
  expect(isCertificateFor(certificatePem, long)).toBe(true);
});
