// Longer than 300 lines: one table of ways to log in, with one server that plays them all.
import { beforeEach, describe, expect, test } from 'vitest';
import { makeCertificate, type Certificate } from '../oracles/certificates.js';
import { requireTool } from '../oracles/require-tool.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { PASSWORD, ReplayError, startReplay } from '../oracles/xapi-replay.js';
import { serveRaw } from './raw-server.js';
import { LOGIN, TIMEOUTS, connected, thrownBy, wordsOf } from './pools.js';
import { connectPool } from '../../src/xenapi/connect.js';

beforeEach((context) => requireTool(context, 'openssl', 'curl'));

describe('a session', () => {
  test('is opened with the name of this program, used, and closed', async () => {
    const pool = await startReplay();
    const connection = await connected(pool);
    expect(pool.sessions.size).toBe(1);
    await connection.call('SR.get_all_records');
    await connection.close();
    expect(pool.sessions.size).toBe(0);
    expect(pool.calls.map(({ method }) => method)).toEqual([
      'session.login_with_password',
      'SR.get_all_records',
      'session.logout',
    ]);
    expect(pool.calls[0]?.params.slice(0, 2)).toEqual(['root', PASSWORD]);
  });

  test('that is somebody else’s is used and not closed', async () => {
    const pool = await startReplay();
    pool.sessions.add('OpaqueRef:theirs');
    const connection = await connected(pool, { credentials: { sessionRef: 'OpaqueRef:theirs' } });
    await connection.call('SR.get_all_records');
    await connection.close();
    expect([...pool.sessions]).toEqual(['OpaqueRef:theirs']);
  });

  test('that has ended is opened again for a call that only reads, once', async () => {
    const pool = await startReplay();
    const connection = await connected(pool);
    pool.sessions.clear();
    expect(Object.keys((await connection.call('SR.get_all_records')) as object)).toHaveLength(2);
    expect(pool.callsOf('session.login_with_password')).toHaveLength(2);
    pool.answers.set('SR.get_all_records', () => {
      throw new ReplayError('SESSION_INVALID', 'OpaqueRef:x');
    });
    expect(await thrownBy(connection.call('SR.get_all_records'))).toMatchObject({ code: 'SESSION_INVALID' });
    expect(pool.callsOf('session.login_with_password')).toHaveLength(3);
  });

  test('that has ended is not opened again for a call that changes something', async () => {
    const pool = await startReplay();
    const connection = await connected(pool);
    pool.sessions.clear();
    expect(await thrownBy(connection.call('VDI.destroy', 'x'))).toMatchObject({ code: 'SESSION_INVALID' });
    expect(pool.callsOf('session.login_with_password')).toHaveLength(1);
  });

  test('is refused with a wrong password', async () => {
    const pool = await startReplay();
    const credentials = { user: 'root', password: 'wrong password' };
    const error = await thrownBy(connectPool({ url: pool.url, credentials, timeouts: TIMEOUTS }));
    expect(error).toMatchObject({ name: 'XenApiError', code: 'SESSION_AUTHENTICATION_FAILED' });
    expect(wordsOf(error)).not.toContain('wrong password');
  });
});

describe('a slave', () => {
  test('sends to its master, on the same port unless it names one', async () => {
    const master = await startReplay();
    const slave = await startReplay({ slaveOf: () => `127.0.0.1:${master.port}` });
    const connection = await connected(slave);
    expect(connection.name).toBe(`http://127.0.0.1:${master.port}`);
    expect(master.sessions.size).toBe(1);
  });

  test('that is its own master is asked no third time', async () => {
    const slave = await startReplay({ slaveOf: () => '127.0.0.1' });
    const error = await thrownBy(connected(slave));
    expect(error).toMatchObject({
      kind: 'sink',
      message: 'one slave names another one as its master',
      context: { found: `${slave.url} names ${slave.url}, which names 127.0.0.1` },
    });
    expect(slave.callsOf('session.login_with_password')).toHaveLength(2);
  });

  test('is not followed without TLS to another machine', async () => {
    const slave = await startReplay({ slaveOf: () => '192.0.2.1' });
    expect(await thrownBy(connected(slave))).toMatchObject({
      kind: 'usage',
      message: 'a password is not sent over plain http to another machine',
    });
  });

  test.for(['', 'http://127.0.0.1', 'evil.example/x?', 'a b', 'host:0', 'host:70000', '[::1', '\u001b[2J'])(
    'that names %j as its master is not followed',
    async (named) => {
      const slave = await startReplay({ slaveOf: () => named });
      const error = await thrownBy(connected(slave));
      expect(error).toMatchObject({ message: 'the server is a slave, and names no usable master' });
      expect(wordsOf(error)).not.toContain('\u001b');
    },
  );

  test('and its master have certificates of their own: both fingerprints are given', async () => {
    const folder = temporaryFolder();
    const [one, other] = [makeCertificate(folder, 'one'), makeCertificate(folder, 'other')];
    const master = await startReplay({ certificate: other });
    const slave = await startReplay({ certificate: one, slaveOf: () => `127.0.0.1:${master.port}` });
    const trust = { fingerprint: [one.fingerprint, other.fingerprint] };
    const connection = await connected(slave, { trust });
    expect(connection.name).toBe(master.url);
    expect(master.sessions.size).toBe(1);
  });

  test('and its master have one certificate to trust: another one is refused before the password', async () => {
    const folder = temporaryFolder();
    const [one, other] = [makeCertificate(folder, 'one'), makeCertificate(folder, 'other')];
    const master = await startReplay({ certificate: other });
    const slave = await startReplay({ certificate: one, slaveOf: () => `127.0.0.1:${master.port}` });
    const error = await thrownBy(connected(slave, { trust: { fingerprint: one.fingerprint } }));
    expect(error).toMatchObject({
      message: 'the server could not be trusted: its certificate is another one',
      context: { path: master.url, found: other.fingerprint, expected: one.fingerprint },
      hint: expect.stringContaining('--fingerprint may be given once for each') as string,
    });
    expect(master.requests).toEqual([]);
  });
});

describe('a certificate', () => {
  test('is trusted by its file, and by its fingerprint in any form', async () => {
    const certificate = makeCertificate(temporaryFolder(), 'pool');
    const pool = await startReplay({ certificate });
    const plain = certificate.fingerprint.replaceAll(':', '');
    const forms = [
      { caFile: certificate.file },
      { fingerprint: certificate.fingerprint },
      { fingerprint: certificate.fingerprint.toLowerCase() },
      { fingerprint: plain },
      { fingerprint: plain.toLowerCase() },
      { fingerprint: `sha256 Fingerprint=${certificate.fingerprint}` },
      { fingerprint: `SHA256:${plain}` },
    ];
    for (const trust of forms) await connected(pool, { trust });
    expect(pool.callsOf('session.login_with_password')).toHaveLength(forms.length);
  });

  test('curl trusts the same one and no other', async () => {
    const folder = temporaryFolder();
    const certificate = makeCertificate(folder, 'pool');
    const pool = await startReplay({ certificate });
    // In another process, while this one serves: no judge that blocks.
    const { execa } = await import('execa');
    const args = ['-s', '--noproxy', '*', '-o', '/dev/null', '-w', '%{http_code}', `${pool.url}/nothing`];
    const trusted = await execa('curl', ['--cacert', certificate.file, ...args], { reject: false });
    expect({ code: trusted.exitCode, status: trusted.stdout }).toEqual({ code: 0, status: '404' });
    const other = makeCertificate(folder, 'other');
    const refused = await execa('curl', ['--cacert', other.file, ...args], { reject: false });
    // 60: the certificate could not be verified.
    expect(refused.exitCode).toBe(60);
  });

  test.for([
    ['is not known to this machine', {}, 'system', /self-signed certificate/],
    [
      'is for another name',
      { subjectAltName: 'DNS:other.example' },
      'file',
      /IP: 127.0.0.1 is not in the cert/,
    ],
    ['has ended', { days: -1 }, 'file', /certificate has expired/],
  ] as const)('that %s is refused before anything is sent', async ([, options, kind, words]) => {
    const certificate = makeCertificate(temporaryFolder(), 'pool', options);
    const pool = await startReplay({ certificate });
    const trust = kind === 'system' ? 'system' : { caFile: certificate.file };
    const error = await thrownBy(connected(pool, { trust }));
    expect(error).toMatchObject({
      kind: 'sink',
      message: 'the server could not be trusted',
      context: { path: pool.url, found: expect.stringMatching(words) as string },
    });
    expect(pool.requests).toEqual([]);
  });

  test('that has ended, or is for another name, is trusted by its fingerprint', async () => {
    const folder = temporaryFolder();
    for (const options of [{ days: -1 }, { subjectAltName: 'DNS:other.example' }]) {
      const certificate = makeCertificate(folder, 'pool', options);
      const pool = await startReplay({ certificate });
      await connected(pool, { trust: { fingerprint: certificate.fingerprint } });
      expect(pool.sessions.size).toBe(1);
    }
  });

  test('with another fingerprint is refused before anything is sent', async () => {
    const folder = temporaryFolder();
    const [one, other] = [makeCertificate(folder, 'one'), makeCertificate(folder, 'other')];
    const pool = await startReplay({ certificate: one });
    expect(await thrownBy(connected(pool, { trust: { fingerprint: other.fingerprint } }))).toMatchObject({
      kind: 'sink',
      message: 'the server could not be trusted: its certificate is another one',
      context: { found: one.fingerprint, expected: other.fingerprint },
    });
    expect(pool.requests).toEqual([]);
  });

  test('is trusted with one fingerprint of several, and with none of them refused', async () => {
    const folder = temporaryFolder();
    const [one, two, three] = ['one', 'two', 'three'].map((name) => makeCertificate(folder, name)) as [
      Certificate,
      Certificate,
      Certificate,
    ];
    const pool = await startReplay({ certificate: two });
    await connected(pool, { trust: { fingerprint: [one.fingerprint, two.fingerprint] } });
    const { length } = pool.requests;
    const fingerprint = [one.fingerprint, three.fingerprint];
    expect(await thrownBy(connected(pool, { trust: { fingerprint } }))).toMatchObject({
      context: { found: two.fingerprint, expected: `${one.fingerprint} or ${three.fingerprint}` },
    });
    expect(await thrownBy(connected(pool, { trust: { fingerprint: [] } }))).toMatchObject({ kind: 'sink' });
    expect(pool.requests).toHaveLength(length);
  });

  test.for(['', 'abcd', `${'ab'.repeat(31)}zz`, 'ab'.repeat(33), 'SHA1:00'])(
    'cannot have the fingerprint %j',
    async (fingerprint) => {
      const error = await thrownBy(connected({ url: 'https://127.0.0.1:9' }, { trust: { fingerprint } }));
      expect(error).toMatchObject({ kind: 'usage', message: 'the fingerprint cannot be used' });
    },
  );
});

describe('a URL', () => {
  test.for([
    ['non sense', 'a text that is no URL'],
    ['xcp1:8443', 'a name without https:// before it'],
    ['ftp://host', 'ftp:'],
    ['https://root:hunter22@host', 'a URL with a name or a password in it'],
    ['https://host/path', 'a URL with a path'],
    ['https://host/?token=hunter22', 'a URL with a path'],
  ])('%s is refused', async ([url, found]) => {
    const error = await thrownBy(connected({ url: url ?? '' }));
    expect(error).toMatchObject({ kind: 'usage', context: { found } });
    expect(wordsOf(error)).not.toContain('hunter22');
  });

  test('of another machine without TLS is refused', async () => {
    for (const url of [
      'http://192.0.2.1',
      'http://example.org',
      'http://127.0.0.1.example.org',
      'http://[::2]',
    ]) {
      expect(await thrownBy(connected({ url }))).toMatchObject({
        message: 'a password is not sent over plain http to another machine',
      });
    }
  });
});

describe('a server that is none', () => {
  test('where nobody listens', async () => {
    const pool = await startReplay();
    // A port that was free a moment ago, and of this machine only.
    const error = await thrownBy(connected({ url: 'http://127.0.0.1:1' }));
    expect(error).toMatchObject({
      kind: 'sink',
      message: 'the server could not be reached',
      context: { path: 'http://127.0.0.1:1', found: expect.stringContaining('ECONNREFUSED') as string },
      hint: expect.stringContaining('patch-vdi serve') as string,
    });
    expect(pool.requests).toEqual([]);
  });

  test('that speaks plain http where TLS is wanted, with words or by closing', async () => {
    const urls = [await startReplay().then(({ url }) => url), await serveRaw((socket) => socket.destroy())];
    for (const url of urls) {
      const error = await thrownBy(connected({ url: url.replace('http:', 'https:') }));
      expect(error).toMatchObject({ kind: 'sink', message: 'no TLS connection could be made to the server' });
    }
  });

  test('credentials are in no error of any of them', async () => {
    const pool = await startReplay();
    pool.intercept = (request, response) => {
      const parts: Buffer[] = [];
      request
        .on('data', (part: Buffer) => parts.push(part))
        .on('end', () => {
          response.writeHead(500, { 'content-type': 'text/plain' }).end(Buffer.concat(parts));
        });
      return true;
    };
    const error = await thrownBy(connected(pool));
    expect(error).toMatchObject({ kind: 'sink' });
    // As it was sent: the test proves something only if it came back.
    expect(wordsOf(error)).toContain('session.login_with_password');
    expect(wordsOf(error)).not.toContain(LOGIN.password);
    expect(wordsOf(error)).not.toContain('battery');
  });
});
