/*
 * `patch-vdi serve` as whoever starts it sees it.
 */
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { ServedPool } from '../mission/served-pool.js';
import { requireTool } from '../oracles/require-tool.js';
import { runTool } from '../server/run-tool.js';
import { expectCleanText, runCli, startCli } from './cli.js';
import { workspace } from './workspace.js';

beforeEach((context) => requireTool(context, 'curl', 'openssl'));

/** The width of a terminal, but for the fingerprint, which is one word. */
function expectNarrow(text: string): void {
  for (const line of text.split('\n')) {
    if (!/[0-9A-F]{2}(?::[0-9A-F]{2}){31}/.test(line)) expect(line.length, line).toBeLessThanOrEqual(80);
  }
}

describe('the first start', () => {
  test('shows a password once, and the second does not', async () => {
    const served = await ServedPool.start();
    expect(served.password).toMatch(/^[a-z0-9]{4}(?:-[a-z0-9]{4}){6}$/);
    expectCleanText(served.said);
    expectNarrow(served.said);
    expect((await served.curl('-f', '/pool_patch_download?uuid=x')).exitCode).toBe(22);
    expect(await served.stop()).toBe(0);
    await served.start();
    expect(served.said.split(served.password)).toHaveLength(2);
    await served.logIn();
    expect(await served.call('pool_patch.get_all')).toEqual([]);
  });

  test('says the fingerprint of the certificate, as openssl does', async () => {
    const served = await ServedPool.start();
    const args = ['x509', '-in', served.certificate, '-noout', '-fingerprint', '-sha256'];
    const { stdout } = await runTool('openssl', args);
    const fingerprint = stdout.trim().split('=')[1] ?? 'none';
    expect(served.said).toContain(fingerprint);
  });

  test('writes no secret where others can read it, and none into the log', async () => {
    const served = await ServedPool.start();
    await served.logIn();
    await served.call('pool_patch.get_all');
    for (const name of ['users.json', 'tls.pem', 'state.journal']) {
      expect(statSync(join(served.state, name)).mode & 0o077, name).toBe(0);
    }
    expect(readFileSync(join(served.state, 'users.json'), 'utf8')).not.toContain(served.password);
    await expect.poll(() => served.log.length).toBeGreaterThan(1);
    expect(JSON.stringify(served.log)).not.toContain(served.password);
    expect(JSON.stringify(served.log)).not.toContain('OpaqueRef');
    expect(readFileSync(`/proc/${served.pid}/cmdline`, 'utf8')).not.toContain(served.password);
  });
});

test('--reset-password gives a new password, while the server is stopped', async () => {
  const served = await ServedPool.start();
  const work = workspace();
  const running = await runCli(work, ['serve', '--state', served.state, '--reset-password', 'root']);
  expect(running.exitCode).toBe(2);
  expect(running.stderr).toMatch(/in use|another/);
  await served.stop();
  const reset = await runCli(work, ['serve', '--state', served.state, '--reset-password', 'root']);
  expect(reset.exitCode, reset.stderr).toBe(0);
  const password = /\n\n\s+(\S+)\n/.exec(reset.stderr)?.[1] ?? '';
  expect(password).not.toBe(served.password);
  await served.start();
  await expect(served.logIn()).rejects.toThrow(/SESSION_AUTHENTICATION_FAILED/);
  const config = join(work.folder, 'curl');
  writeFileSync(config, `user = "root:${password}"\n`);
  const args = [
    '-sS',
    '-o',
    '/dev/null',
    '-w',
    '%{http_code}',
    '--config',
    config,
    '--cacert',
    served.certificate,
  ];
  const answer = await runTool('curl', [...args, `${served.url}/pool_patch_download?uuid=x`]);
  expect(answer.stdout).toBe('404');
});

test('a state that another server has is refused, and that server goes on', async () => {
  const served = await ServedPool.start();
  const second = await runCli(workspace(), ['serve', '--state', served.state, '--listen', ':0']);
  expect(second.exitCode).toBe(2);
  expectCleanText(second.stderr);
  await served.logIn();
  expect(await served.call('pool_patch.get_all')).toEqual([]);
});

test('an address that somebody has is refused', async () => {
  const served = await ServedPool.start();
  const work = workspace();
  const { host } = new URL(served.url);
  const address = host.replace('localhost', '127.0.0.1');
  const other = ['serve', '--state', join(work.folder, 'other'), '--listen'];
  const second = await runCli(work, [...other, address]);
  expect(second.exitCode).toBe(2);
  expect(second.stderr).toContain(address);
  // Whoever has read it would believe that it is good for something; the start that succeeds shows one.
  expect(second.stderr).not.toContain('password');
  const third = startCli(work, [...other, ':0']);
  let said = '';
  third.child.stderr?.on('data', (part: Buffer) => (said += part.toString()));
  await expect.poll(() => said).toMatch(/serves https:/);
  expect(said).toContain('shown only this once');
  expect(said).toMatch(/Local storage \(default\), [\d.]+ [KMGT]iB free/);
  third.child.kill('SIGTERM');
  expect((await third.ended).exitCode).toBe(0);
});

test.for([
  ['a key that nobody knows', 'listne: {port: 1}\n', /listne[^]*listen/],
  [
    'a password in the clear',
    'users: [{name: root, role: pool-admin, password: secret123}]\n',
    /password_file|password_hash/,
  ],
  ['no YAML', '{\n', /pool\.yaml:\d+:\d+/],
  ['TLS off for everybody', 'listen: {address: 0.0.0.0}\ntls: off\n', /loopback/],
] as const)('a configuration with %s is refused, with its place', async ([, text, says]) => {
  const work = workspace();
  const config = work.input('pool.yaml', text);
  const ended = await runCli(work, ['serve', '--state', join(work.folder, 'state'), '--config', config]);
  expect(ended.exitCode).toBe(2);
  expect(ended.stderr).toMatch(says);
  expect(ended.stderr).not.toContain('secret123');
  expectCleanText(ended.stderr);
});

test('without a keyring it starts, says so, and takes no upload', async () => {
  const work = workspace();
  const started = startCli(work, ['serve', '--state', join(work.folder, 'state'), '--listen', ':0']);
  let said = '';
  started.child.stderr?.on('data', (part: Buffer) => (said += part.toString()));
  await expect.poll(() => said).toMatch(/serves https:\S+[^]*no keyring/);
  expectNarrow(said);
  const url = /serves (\S+)/.exec(said)?.[1] ?? '';
  const password = /shown only this once:\n\n\s+(\S+)/.exec(said)?.[1] ?? '';
  const config = join(work.folder, 'curl');
  writeFileSync(config, `user = "root:${password}"\n`);
  const upload = work.input('upload', 'anything');
  const args = [
    '-sS',
    '--config',
    config,
    '--cacert',
    join(work.folder, 'state/certificate.pem'),
    '-T',
    upload,
  ];
  const answer = await runTool('curl', [...args, `${url}/pool_patch_upload`]);
  expect(JSON.parse(answer.stdout)).toMatchObject({ error: { code: 'INTERNAL_ERROR' } });
  expect(answer.stdout).toContain('keyring');
  started.child.kill('SIGTERM');
  expect((await started.ended).exitCode).toBe(0);
});
