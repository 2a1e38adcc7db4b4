/* `pool hosts`, `pool cancel`, and `pool upload` from a web server, against the replay of a real pool. */
import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { serve } from './http-servers.js';
import { poolScene, uuid } from './pool-client.js';

describe('hosts', () => {
  test('are listed, the master first, with what the pool knows of them', async () => {
    const { pool, run, json } = await poolScene();
    const [[master, record] = ['', {}]] = [...pool.tables.host];
    pool.tables.host.set(master, { ...record, uuid: uuid('b'), metrics: 'OpaqueRef:m1', enabled: true });
    const second = { uuid: uuid('a'), name_label: 'a host', address: '192.0.2.7', metrics: 'OpaqueRef:m2' };
    pool.tables.host.set('OpaqueRef:h2', { ...second, enabled: true });
    pool.answers.set('host_metrics.get_all_records', () => ({
      'OpaqueRef:m1': { live: true },
      'OpaqueRef:m2': { live: false },
    }));
    expect((await run(['hosts'])).stdout.split('\n')).toEqual([
      '   UUID                                  LIVE  ADDRESS    NAME',
      `*  ${uuid('b')}  yes   127.0.0.1  xcp1`,
      `   ${uuid('a')}  NO    192.0.2.7  a host`,
      '',
    ]);
    expect(await json(['hosts'])).toMatchObject({
      ok: true,
      server: pool.url,
      hosts: [
        { uuid: uuid('b'), nameLabel: 'xcp1', address: '127.0.0.1', isMaster: true, live: true },
        { uuid: uuid('a'), nameLabel: 'a host', address: '192.0.2.7', isMaster: false, live: false },
      ],
    });
  });

  test('of a server without metrics live when they are enabled; without either nobody knows', async () => {
    const { pool, json, run } = await poolScene();
    const [[master, record] = ['', {}]] = [...pool.tables.host];
    expect(await json(['hosts'])).toMatchObject({ hosts: [{ live: null }] });
    expect((await run(['hosts'])).stdout).toMatch(/ \? +127\.0\.0\.1/);
    pool.tables.host.set(master, { ...record, enabled: false, address: '\u001b[2J' });
    const { stdout } = await run(['hosts']);
    expect(stdout).toMatch(/ NO /);
    expect(stdout).not.toMatch(/[^\P{Cc}\n]/u);
  });
});

describe('cancel', () => {
  const fields = { error_info: [], progress: 0.5, result: '', other_config: {} };
  const times = { created: '20261121T18:16:00Z', finished: '19700101T00:00:00Z' };
  const task = (digit: string, name: string, status = 'pending') => ({
    ...fields,
    ...times,
    uuid: uuid(digit),
    name_label: name,
    status,
  });

  test('tells all that are named, and only them', async () => {
    const { pool, run, json } = await poolScene();
    pool.tables.task.set('OpaqueRef:t1', task('a', 'VDI.copy'));
    pool.tables.task.set('OpaqueRef:t2', task('b', 'upload'));
    pool.tables.task.set('OpaqueRef:t3', task('c', 'other'));
    const { exitCode, stdout } = await run(['cancel', 'aaaaaaaa', 'upload']);
    expect({ exitCode, stdout }).toEqual({
      exitCode: 0,
      stdout: `told to end: ${uuid('a')}  VDI.copy\ntold to end: ${uuid('b')}  upload\n`,
    });
    const status = () => [...pool.tables.task.values()].map((one) => one['status']);
    expect(status()).toEqual(['cancelling', 'cancelling', 'pending']);
    expect(await json(['cancel', 'other'])).toMatchObject({
      ok: true,
      told: [{ uuid: uuid('c'), nameLabel: 'other' }],
    });
    expect(status()).toEqual(['cancelling', 'cancelling', 'cancelling']);
  });

  test('none is told when one is not there, or has ended', async () => {
    const { pool, run } = await poolScene();
    pool.tables.task.set('OpaqueRef:t1', task('a', 'VDI.copy'));
    pool.tables.task.set('OpaqueRef:t2', task('b', 'old', 'success'));
    for (const name of ['nothing', 'old', 'VDI.cpoy']) {
      const { exitCode, stdout, stderr } = await run(['cancel', 'VDI.copy', name]);
      expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
      expect(stderr).toContain(`there is no task that is under way called "${name}"`);
      expect(stderr.replaceAll(/\s+/g, ' ').includes('did you mean VDI.copy?')).toBe(name === 'VDI.cpoy');
    }
    expect(pool.callsOf('task.cancel')).toEqual([]);
  });
});

describe('upload by URL', () => {
  const content = randomBytes(300_001);

  test('sends what the web server has, with its length, and the headers that are wanted', async () => {
    const { pool, run } = await poolScene();
    const seen: (string | undefined)[] = [];
    const url = await serve((request, response) => {
      seen.push(request.headers['x-token']?.toString());
      response.writeHead(200, { 'Content-Length': content.length }).end(content);
    });
    const { exitCode, stderr } = await run(['upload', `${url}/hotfix.xsupdate`, '--header', 'X-Token: t1']);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    expect(seen).toEqual(['t1']);
    expect([...pool.contents.values()].map((bytes) => bytes.equals(content))).toEqual([true]);
  });

  test('one that breaks off leaves no patch', async () => {
    const { pool, run } = await poolScene();
    const url = await serve((_request, response) => {
      response.writeHead(200, { 'Content-Length': content.length });
      response.write(content.subarray(0, 100_000), () => response.destroy());
    });
    const { exitCode, stderr } = await run(['upload', `${url}/x`]);
    expect(exitCode, stderr).toBe(4);
    expect(pool.tables.pool_patch.size).toBe(0);
  });

  test('one that is not there is told, and the pool is not asked', async () => {
    const { pool, run } = await poolScene();
    const url = await serve((_request, response) => void response.writeHead(404).end());
    const { exitCode, stderr } = await run(['upload', `${url}/x`]);
    expect(exitCode).not.toBe(0);
    expect(stderr).toContain('404');
    expect(pool.calls).toEqual([]);
  });

  test('--header without a URL is refused', async () => {
    const { work, run } = await poolScene();
    const ended = await run(['upload', work.input('x', 'y'), '--header', 'A: b']);
    expect(ended.exitCode).toBe(2);
    expect(ended.stderr).toContain('--header is for http(s) URLs');
  });
});
