/*
 * Requests that are too large, too many, too slow, endless, or two in one. Raw sockets say what no client would.
 */
import { connect, type Socket } from 'node:net';
import { text as readAll } from 'node:stream/consumers';
import { describe, expect, onTestFinished, test } from 'vitest';
import { KIB, MIB } from '../../src/units.js';
import { filesOf, samplePatch } from '../pool/test-pool.js';
import { PASSWORD, ask, errorIn, testServer, type TestServer } from './test-server.js';

const BASIC = `Authorization: Basic ${Buffer.from(`root:${PASSWORD}`).toString('base64')}\r\n`;

interface Wire {
  readonly socket: Socket;
  /** All that came, when the server has closed the connection. */
  readonly closed: Promise<string>;
  /** What came until now. */
  readonly received: () => string;
}

async function wire({ port }: TestServer): Promise<Wire> {
  const socket = connect(port, '127.0.0.1');
  onTestFinished(() => void socket.destroy());
  let text = '';
  socket.on('data', (part: Buffer) => (text += part.toString('latin1')));
  socket.on('error', () => undefined);
  const closed = new Promise<string>((resolve) => socket.on('close', () => resolve(text)));
  await new Promise((resolve) => socket.once('connect', resolve));
  return { socket, closed, received: () => text };
}

/** The status of each answer on a wire. */
function statuses(text: string): number[] {
  return [...text.matchAll(/^HTTP\/1\.1 (\d{3})/gm)].map(([, status]) => Number(status));
}

describe('headers', () => {
  test('that never end are cut off', async () => {
    const server = await testServer({ limits: { headerSeconds: 0.3 } });
    const { socket, closed } = await wire(server);
    socket.write('GET /health HTTP/1.1\r\nHost: x\r\nX: ');
    const drip = setInterval(() => socket.write('a'), 50);
    expect(statuses(await closed)).toEqual([408]);
    clearInterval(drip);
  });

  test('that are too large are refused', async () => {
    const server = await testServer();
    const { socket, closed } = await wire(server);
    socket.write(`GET /health HTTP/1.1\r\nHost: x\r\nX: ${'a'.repeat(64 * KIB)}\r\n\r\n`);
    expect(statuses(await closed)).toEqual([431]);
  });

  test.for([
    ['a length and an encoding', 'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n'],
    ['two lengths', 'Content-Length: 5\r\nContent-Length: 6\r\n'],
    ['a length with a sign', 'Content-Length: +5\r\n'],
    ['a negative length', 'Content-Length: -5\r\n'],
    ['a length that is no number', 'Content-Length: 0x5\r\n'],
    ['an encoding that is not the last', 'Transfer-Encoding: chunked, identity\r\n'],
    ['a line break in a value', 'X: a\rb\r\n'],
    ['a header without a colon', 'nothing\r\n'],
    ['a space before the colon', 'X : a\r\n'],
  ])('with %s are refused, and nothing after them is read', async ([, headers]) => {
    const server = await testServer();
    const { socket, closed } = await wire(server);
    const smuggled = 'GET /health HTTP/1.1\r\nHost: x\r\n\r\n';
    socket.write(`PUT /pool_patch_upload HTTP/1.1\r\nHost: x\r\n${BASIC}${headers}\r\n0\r\n\r\n${smuggled}`);
    expect(statuses(await closed)).toEqual([400]);
    expect(server.log).toEqual([]);
    expect(filesOf(server.place)).toEqual([]);
  });

  test('with a length that no disk has: OUT_OF_SPACE or too large, and never a crash', async () => {
    const server = await testServer();
    for (const [length, status] of [
      ['9007199254740991', 507],
      ['9007199254740993', 413],
      ['99999999999999999', 413],
    ] as const) {
      const answer = await ask(server, '/pool_patch_upload', {
        method: 'PUT',
        expect: true,
        headers: { 'Content-Length': length },
      });
      expect(answer, length).toMatchObject({ status, continued: false });
    }
    expect(filesOf(server.place)).toEqual([]);
  });
});

describe('paths', () => {
  test.for([
    ['/', 404],
    ['/pool_patch_upload/', 404],
    ['/../etc/passwd', 404],
    ['/..%2f..%2fetc%2fpasswd', 404],
    ['//health', 404],
    ['/%', 404],
    ['/health%00', 404],
    ['/__proto__', 404],
    ['http://elsewhere/health', 400],
    ['*', 400],
  ] as const)('%s is not there', async ([path, status]) => {
    const server = await testServer();
    const { socket, closed } = await wire(server);
    socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
    expect(statuses(await closed)).toEqual([status]);
  });

  test('say which methods they take', async () => {
    const server = await testServer();
    const answer = await ask(server, '/pool_patch_upload', { method: 'GET' });
    expect(answer).toMatchObject({ status: 405, headers: { allow: 'PUT' } });
    expect((await ask(server, '/health', { user: '' })).status).toBe(200);
  });

  test('need credentials, all but health', async () => {
    const server = await testServer();
    for (const [method, path] of [
      ['PUT', '/pool_patch_upload'],
      ['GET', '/pool_patch_download'],
      ['PUT', '/import_raw_vdi'],
      ['GET', '/export_raw_vdi'],
    ] as const) {
      const answer = await ask(server, path, { method, user: '' });
      expect(answer.status, path).toBe(401);
    }
  });
});

describe('who is slow', () => {
  const limits = { idleSeconds: 2, idleBytes: 10 * KIB };

  test('sends nothing: 408, and nothing is left', async () => {
    const server = await testServer({ limits });
    const headers = { 'Content-Length': String(MIB) };
    const { socket, closed } = await wire(server);
    socket.write(
      `PUT /pool_patch_upload HTTP/1.1\r\nHost: x\r\n${BASIC}Content-Length: ${headers['Content-Length']}\r\n\r\n`,
    );
    // The client is told, not only cut off.
    expect(statuses(await closed)).toEqual([408]);
    await expect.poll(() => server.log.map(({ status }) => status)).toEqual([408]);
    expect(filesOf(server.place)).toEqual([]);
  });

  test('sends a byte now and then: the same', async () => {
    const server = await testServer({ limits });
    const { socket, closed } = await wire(server);
    socket.write(`PUT /pool_patch_upload HTTP/1.1\r\nHost: x\r\n${BASIC}Content-Length: ${MIB}\r\n\r\n`);
    // So few that they do not yet tell that this is no patch.
    const drip = setInterval(() => socket.write('a'), 200);
    expect(statuses(await closed)).toEqual([408]);
    clearInterval(drip);
    await expect.poll(() => server.log.map(({ status }) => status)).toEqual([408]);
    expect(server.log[0]?.bytesIn).toBeLessThan(limits.idleBytes);
    expect(filesOf(server.place)).toEqual([]);
  });

  test('reads nothing: the connection ends', async () => {
    const server = await testServer({ limits });
    const patch = await samplePatch('slow reader', 24 * MIB);
    expect((await ask(server, '/pool_patch_upload', { method: 'PUT', body: patch.bytes })).status).toBe(200);
    const { socket } = await wire(server);
    socket.pause();
    socket.write(`GET /pool_patch_download?uuid=${patch.uuid} HTTP/1.1\r\nHost: x\r\n${BASIC}\r\n`);
    await expect.poll(() => server.log.length).toBe(2);
    expect(server.log[1]?.bytesOut).toBeLessThan(patch.bytes.length);
  });
});

describe('too many', () => {
  test('requests of one client', async () => {
    const server = await testServer({ limits: { requestsPerClient: 2 } });
    const open = async (): Promise<Wire> => {
      const opened = await wire(server);
      opened.socket.write(
        `PUT /pool_patch_upload HTTP/1.1\r\nHost: x\r\n${BASIC}Content-Length: 1000\r\n\r\n`,
      );
      return opened;
    };
    const waiting = [await open(), await open()];
    await expect.poll(() => server.pool.database.getAll('VDI').length).toBe(2);
    const answer = await ask(server, '/health');
    expect(answer).toMatchObject({ status: 429, headers: { 'retry-after': '10' } });
    for (const { socket } of waiting) socket.destroy();
    await expect.poll(() => server.log.length).toBe(3);
    expect((await ask(server, '/health')).status).toBe(200);
  });

  test('uploads', async () => {
    const server = await testServer({ limits: { uploadsAtOnce: 1 } });
    const { socket } = await wire(server);
    socket.write(`PUT /pool_patch_upload HTTP/1.1\r\nHost: x\r\n${BASIC}Content-Length: 1000\r\n\r\n`);
    await expect.poll(() => server.pool.database.getAll('VDI').length).toBe(1);
    const { bytes } = await samplePatch('second');
    const refused = await ask(server, '/pool_patch_upload', { method: 'PUT', body: bytes, expect: true });
    expect(refused).toMatchObject({ status: 429, continued: false });
    expect(errorIn(refused)[0]).toBe('TOO_MANY_REQUESTS');
    socket.destroy();
    await expect.poll(() => server.log.length).toBe(2);
    expect((await ask(server, '/pool_patch_upload', { method: 'PUT', body: bytes })).status).toBe(200);
  });

  test('connections', async () => {
    const server = await testServer({ limits: { connectionsAtOnce: 3 } });
    for (let count = 0; count < 3; count += 1) await wire(server);
    const { closed } = await wire(server);
    expect(await closed).toBe('');
  });

  test('connections of one client: others are still served', async () => {
    const server = await testServer({ limits: { connectionsPerClient: 3 } });
    const first = await wire(server);
    for (let count = 1; count < 3; count += 1) await wire(server);
    const { closed } = await wire(server);
    expect(await closed).toBe('');
    const other = connect({ port: server.port, host: '127.0.0.1', localAddress: '127.0.0.2' });
    other.end('GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
    expect(await readAll(other)).toContain('200 OK');
    // What has ended is not counted.
    first.socket.destroy();
    await first.closed;
    await expect.poll(async () => (await ask(server, '/health')).status).toBe(200);
  });

  test('a client that reads no answers: the connection ends', async () => {
    const server = await testServer({ limits: { idleSeconds: 1, keepAliveSeconds: 1 } });
    const { socket, closed } = await wire(server);
    socket.pause();
    const requests = 'GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(1000);
    // Until the answers are more than both kernels hold, and the server reads no more.
    const more = setInterval(() => {
      if (socket.writableLength < MIB) socket.write(requests);
    }, 1);
    onTestFinished(() => clearInterval(more));
    await closed;
  });
});

describe('an answer in the middle of a body', () => {
  test('is seen by a client that sends on, without Expect', async () => {
    const server = await testServer({ quotaBytes: 20 * MIB });
    const { socket, closed, received } = await wire(server);
    socket.write(`PUT /pool_patch_upload HTTP/1.1\r\nHost: x\r\n${BASIC}Content-Length: ${64 * MIB}\r\n\r\n`);
    for (let sent = 0; sent < 2 * MIB; sent += 64 * KIB) socket.write(Buffer.alloc(64 * KIB));
    await expect.poll(() => statuses(received())).toEqual([507]);
    socket.destroy();
    await closed;
  });

  test('ends the connection of one that never stops', async () => {
    const server = await testServer({ quotaBytes: 20 * MIB });
    const { socket, closed } = await wire(server);
    socket.write(
      `PUT /pool_patch_upload HTTP/1.1\r\nHost: x\r\n${BASIC}Content-Length: ${512 * MIB}\r\n\r\n`,
    );
    let sent = 0;
    const send = (): void => {
      while (sent < 512 * MIB && !socket.destroyed) {
        sent += 64 * KIB;
        if (!socket.write(Buffer.alloc(64 * KIB))) return void socket.once('drain', send);
      }
    };
    send();
    await closed;
    expect(sent).toBeLessThan(64 * MIB);
  });
});

test('stopping the server stops what is under way, and leaves nothing', async () => {
  const server = await testServer();
  const { socket, closed } = await wire(server);
  socket.write(`PUT /pool_patch_upload HTTP/1.1\r\nHost: x\r\n${BASIC}Content-Length: 100000\r\n\r\nabc`);
  await expect.poll(() => server.pool.database.getAll('VDI').length).toBe(1);
  await server.close();
  expect(statuses(await closed).filter((status) => status !== 503)).toEqual([]);
  expect(server.log.map(({ status }) => status)).toEqual([503]);
  expect(filesOf(server.place)).toEqual([]);
  expect(server.pool.database.getAll('VDI')).toEqual([]);
});
