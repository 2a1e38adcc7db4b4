import { describe, expect, test } from 'vitest';
import * as v from 'valibot';
import { PASSWORD, ReplayError, startReplay } from '../oracles/xapi-replay.js';
import { PATCHES, SRS } from '../../src/xenapi/records.js';
import { MIB } from '../../src/units.js';
import { serveRaw } from './raw-server.js';
import { TIMEOUTS, connected, thrownBy, wordsOf } from './pools.js';

/** Answers the calls of one method with these bytes instead. */
async function answering(status: number, type: string, body: string | Buffer) {
  const pool = await startReplay();
  const connection = await connected(pool);
  pool.intercept = (request, response) => {
    request.resume();
    response.on('error', () => undefined);
    response.writeHead(status, { 'content-type': type }).end(body);
    return true;
  };
  return { pool, connection };
}

const rpc = (fields: object): string => JSON.stringify({ jsonrpc: '2.0', id: 1, ...fields });

describe('an answer that is none', () => {
  test.for<[string, number, string, string, string]>([
    ['HTML', 200, 'text/html', '<html><body>Welcome</body></html>', '<html><body>Welcome</body></html>'],
    ['nothing', 200, 'application/json', '', 'an empty answer'],
    ['half of it', 200, 'application/json', '{"jsonrpc":"2.0","id":1,"resu', '{"jsonrpc":"2.0","id":1,"resu'],
    ['no JSON-RPC', 200, 'application/json', '[1, 2]', '[1, 2]'],
    ['null', 200, 'application/json', 'null', 'null'],
    ['that of another call', 200, 'application/json', '{"id":7,"result":1}', '{"id":7,"result":1}'],
    ['no id', 200, 'application/json', '{"result":1}', '{"result":1}'],
    ['an error without a code', 200, 'application/json', rpc({ error: { message: 'oh no' } }), 'oh no'],
    ['control characters', 200, 'text/plain', '\u001b[2J\u0007', String.raw`\x1b[2J\x07`],
    ['a refusal', 401, 'text/plain', 'go away', '401 Unauthorized: go away'],
    ['a failure', 500, 'text/html', '<h1>500</h1>', '500 Internal Server Error: <h1>500</h1>'],
    ['another status of success', 204, 'text/plain', '', '204 No Content'],
  ])('%s', async ([, status, type, body, found]) => {
    const { connection } = await answering(status, type, body);
    const error = await thrownBy(connection.call('SR.get_all_records'));
    expect(error).toMatchObject({
      kind: 'sink',
      context: { path: connection.name, found: expect.stringContaining(found) as string },
      leftBehind: 'nothing was changed on the server',
    });
  });

  test.for<[string, string, string]>([
    ['a result', 'result', 'values nested 65 deep'],
    ['the words of an error', 'error', 'values nested 65 deep'],
  ])('%s that is a tower', async ([, what, found]) => {
    const tower = '['.repeat(1e6) + ']'.repeat(1e6);
    const error = `{"message":"INTERNAL_ERROR","data":[${tower}]}`;
    const body = `{"jsonrpc":"2.0","id":1,"${what}":${what === 'error' ? error : tower}}`;
    const { connection } = await answering(200, 'application/json', body);
    expect(await thrownBy(connection.call('SR.get_all_records'))).toMatchObject({
      kind: 'sink',
      message: "the server's answer is too large: SR.get_all_records",
      context: { found },
    });
  });

  test('millions of empty values, which would take gigabytes', async () => {
    const body = `{"jsonrpc":"2.0","id":1,"result":[${'{},'.repeat(2e6)}{}]}`;
    const { connection } = await answering(200, 'application/json', body);
    expect(await thrownBy(connection.call('SR.get_all_records'))).toMatchObject({
      kind: 'sink',
      context: { found: 'more than 2000000 values' },
    });
  });

  test('brackets and commas within a text are none', async () => {
    const text = `\\"${'[{,'.repeat(1e6)}\\`;
    const { connection } = await answering(200, 'application/json', rpc({ result: text }));
    expect(await connection.call('SR.get_all_records')).toBe(text);
  });

  test('a redirect is not followed', async () => {
    const other = await startReplay();
    const pool = await startReplay();
    const connection = await connected(pool);
    pool.intercept = (_request, response) => {
      response.writeHead(302, { location: `${other.url}/jsonrpc` }).end();
      return true;
    };
    expect(await thrownBy(connection.call('SR.get_all_records'))).toMatchObject({
      kind: 'sink',
      context: { found: `302 Found, ${other.url}/jsonrpc` },
    });
    expect(other.requests).toEqual([]);
  });

  test('more than 64 MiB are not read to their end', async () => {
    const pool = await startReplay();
    const connection = await connected(pool);
    let sent = 0;
    pool.intercept = (request, response) => {
      request.resume();
      response.writeHead(200, { 'content-type': 'application/json' });
      const piece = Buffer.alloc(MIB, ' ');
      const write = (): void => {
        while (!response.destroyed) {
          sent += piece.length;
          if (!response.write(piece)) {
            response.once('drain', write);
            return;
          }
        }
      };
      write();
      return true;
    };
    expect(await thrownBy(connection.call('SR.get_all_records'))).toMatchObject({
      kind: 'sink',
      message: "the server's answer is too long: SR.get_all_records",
    });
    expect(sent).toBeLessThan(128 * MIB);
    await expect.poll(() => pool.sockets.size).toBe(0);
  });

  test('a call that changes something may have been made', async () => {
    const { connection } = await answering(200, 'text/html', '<html>');
    expect(await thrownBy(connection.call('VDI.destroy', 'x'))).toMatchObject({
      leftBehind: expect.stringContaining('unknown') as string,
    });
  });
});

describe('a connection', () => {
  const HEAD = 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 60\r\n\r\n';
  const WHOLE = `${HEAD}${rpc({ result: 'x'.repeat(24) })}`;

  test('the whole answer of these tests is a good one', async () => {
    expect(WHOLE.length - HEAD.length).toBe(60);
    const url = await serveRaw((socket) => void socket.end(WHOLE));
    await connected({ url });
  });

  test('that is cut after any byte of the answer is an error of ours', async () => {
    let bytes = 0;
    const url = await serveRaw(
      (socket) => void socket.write(WHOLE.slice(0, bytes), () => socket.resetAndDestroy()),
    );
    for (bytes = 0; bytes < WHOLE.length; bytes += 7) {
      const error = await thrownBy(connected({ url }));
      expect(error).toMatchObject({
        kind: 'sink',
        message: 'the connection to the server broke: session.login_with_password',
      });
      expect(wordsOf(error)).not.toContain('battery');
    }
  });

  test('that is closed in order after any byte, too', async () => {
    let bytes = 0;
    const url = await serveRaw((socket) => void socket.end(WHOLE.slice(0, bytes)));
    for (bytes = 0; bytes < WHOLE.length; bytes += 7) {
      expect(await thrownBy(connected({ url }))).toMatchObject({ kind: 'sink' });
    }
  });

  test.for([
    '\u0000\u0001garbage\r\n\r\n',
    'SSH-2.0-OpenSSH_9.2\r\n',
    `HTTP/1.1 200 OK\r\nX: ${'y'.repeat(100_000)}`,
  ])('that answers no HTTP', async (garbage) => {
    const url = await serveRaw((socket) => void socket.end(garbage));
    expect(await thrownBy(connected({ url }))).toMatchObject({ kind: 'sink' });
  });

  test.for([
    ['says nothing', ''],
    ['drips', HEAD],
  ] as const)('whose server %s is given up', async ([, begin]) => {
    const url = await serveRaw((socket) => {
      socket.write(begin);
      // One byte now and then never is an answer.
      const timer = setInterval(() => socket.write(' '), 20);
      socket.on('close', () => clearInterval(timer));
    });
    expect(await thrownBy(connected({ url }, { timeouts: { ...TIMEOUTS, call: 300 } }))).toMatchObject({
      kind: 'sink',
    });
  });

  test('that never becomes one over TLS is given up', async () => {
    const url = await serveRaw(() => undefined);
    const error = await thrownBy(
      connected({ url: url.replace('http:', 'https:') }, { timeouts: { ...TIMEOUTS, connect: 200 } }),
    );
    expect(error).toMatchObject({
      kind: 'sink',
      message: 'the server could not be reached',
      context: { found: 'no answer for 0.2 seconds' },
    });
  });

  test('is ended by the signal, at once and with its reason', async () => {
    const pool = await startReplay();
    const stop = new AbortController();
    const connection = await connected(pool, { signal: stop.signal });
    const reason = new Error('stopped by a test');
    pool.intercept = (request) => {
      if (request.headers.connection === 'close') stop.abort(reason);
      return true;
    };
    expect(await thrownBy(connection.call('SR.get_all_records'))).toBe(reason);
    expect(await thrownBy(connection.call('SR.get_all_records'))).toBe(reason);
  });
});

describe('what a server sends', () => {
  test('is checked: records without what we need, of other types, too many', async () => {
    const pool = await startReplay();
    const connection = await connected(pool);
    const [[ref, record]] = [...pool.tables.SR] as [[string, Record<string, unknown>]];
    const found = async (value: unknown): Promise<unknown> => {
      pool.answers.set('SR.get_all_records', () => value);
      const error = await thrownBy(connection.callAs(SRS, 'SR.get_all_records'));
      expect(error).toMatchObject({
        kind: 'sink',
        message: "the server's answer makes no sense: SR.get_all_records",
      });
      return (error as { context: { found: string } }).context.found;
    };
    expect(await found({ [ref]: { ...record, uuid: undefined } })).toBe(`undefined as ${ref}.uuid`);
    expect(await found({ [ref]: { ...record, physical_size: '12' } })).toBe(`"12" as ${ref}.physical_size`);
    expect(await found({ [ref]: { ...record, physical_size: 1e300 } })).toContain('1e+300');
    expect(await found({ [ref]: { ...record, name_label: 'x'.repeat(100_000) } })).toContain('name_label');
    expect(await found('records')).toBe('"records"');
    const many = Object.fromEntries(
      Array.from({ length: 100_001 }, (_, index) => [`OpaqueRef:${index}`, record]),
    );
    expect(await found(many)).toContain('100001');
  });

  test('as names of properties does no harm', async () => {
    const pool = await startReplay();
    const connection = await connected(pool);
    pool.answers.set(
      'pool_patch.get_all_records',
      () =>
        JSON.parse(
          '{"__proto__": {"polluted": true}, "constructor": {"prototype": {"polluted": true}}}',
        ) as unknown,
    );
    const patches = await connection.callAs(PATCHES, 'pool_patch.get_all_records').catch(() => ({}));
    expect(Object.keys(patches)).toEqual([]);
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  });

  test('as errors is bounded, and has no secrets in it', async () => {
    const pool = await startReplay();
    const connection = await connected(pool);
    pool.answers.set('VDI.destroy', ([session]) => {
      throw new ReplayError(
        'SESSION_INVALID',
        String(session),
        PASSWORD,
        'x'.repeat(100_000),
        ...'y'.repeat(100),
      );
    });
    const error = (await thrownBy(connection.call('VDI.destroy', 'x'))) as { parameters: string[] };
    expect(error.parameters.slice(0, 2)).toEqual(['***', '***']);
    expect(error.parameters[2]).toHaveLength(4096);
    expect(error.parameters).toHaveLength(32);
    expect(wordsOf(error)).not.toContain('battery');
    const [session = ''] = pool.sessions;
    expect(wordsOf(error)).not.toContain(session);
  });

  test('as a session must be one that can be sent', async () => {
    const pool = await startReplay();
    for (const session of [7, '', 'a b', 'x\r\nHost: evil', 'x'.repeat(300), null]) {
      pool.answers.set('session.login_with_password', () => session);
      expect(await thrownBy(connected(pool))).toMatchObject({
        kind: 'sink',
        message: 'the server logs us in without a session',
      });
    }
  });

  test('the schemas know what they are for', () => {
    expect(v.safeParse(PATCHES, {}).success).toBe(true);
  });
});
