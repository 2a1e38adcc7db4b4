/* One lie of a server a test, against the same server: long, as the list of lies is. */
import { randomFillSync } from 'node:crypto';
import type { Socket } from 'node:net';
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import type { ByteReader } from '../../src/bytes.js';
import { KIB, MIB } from '../../src/units.js';
import { serve, serveRanges, serveRaw, type RangeReply } from '../e2e/http-servers.js';
import { bytesAt, opened } from './byte-readers.js';
import { eventually } from './eventually.js';

const content = randomFillSync(Buffer.alloc(8 * MIB));
const FAR = 4 * MIB;

const isSame = (found: Uint8Array, offset: number): boolean =>
  content.subarray(offset, offset + found.length).equals(found);

const text = (fragment: string): unknown => expect.stringContaining(fragment);

/** One whose first answer is good, and a later one is changed. */
async function openedThen(change: (reply: RangeReply) => void): Promise<ByteReader> {
  const { origin } = await serveRanges(content, (reply, number) => {
    if (number > 0) change(reply);
  });
  return await opened(origin);
}

const CHANGED = 'the image changed while it was read';
const OTHER_RANGE = 'the server gives another range than was asked for';

describe('the first answer', () => {
  test.for<[string, Partial<RangeReply>, string, string]>([
    ['no Content-Range', { headers: {} }, OTHER_RANGE, 'no Content-Range'],
    [
      'another start',
      { headers: { 'content-range': 'bytes 1-65536/8388608' } },
      OTHER_RANGE,
      'bytes 1-65536',
    ],
    ['another end', { headers: { 'content-range': 'bytes 0-65534/8388608' } }, OTHER_RANGE, 'bytes 0-65534'],
    ['a total below the end', { headers: { 'content-range': 'bytes 0-65535/65535' } }, OTHER_RANGE, '/65535'],
    ['a total of 0', { headers: { 'content-range': 'bytes 0-65535/0' } }, OTHER_RANGE, '/0'],
    ['no total', { headers: { 'content-range': 'bytes 0-65535/*' } }, OTHER_RANGE, '/*'],
    [
      'a total beyond numbers',
      { headers: { 'content-range': 'bytes 0-65535/9007199254740993' } },
      OTHER_RANGE,
      '/9007',
    ],
    ['a long total', { headers: { 'content-range': `bytes 0-65535/${'9'.repeat(400)}` } }, OTHER_RANGE, '9…'],
    ['other units', { headers: { 'content-range': 'pages 0-65535/8388608' } }, OTHER_RANGE, 'pages'],
    ['control characters', { headers: { 'content-range': 'bytes \u009b31m' } }, OTHER_RANGE, '\\x9b31m'],
    [
      'several parts',
      {
        headers: {
          'content-range': 'bytes 0-65535/8388608',
          'content-type': 'Multipart/byteranges; boundary=x',
        },
      },
      OTHER_RANGE,
      'Multipart/byteranges',
    ],
    [
      'packed',
      {
        headers: { 'content-range': 'bytes 0-65535/8388608', 'content-encoding': 'gzip' },
        body: gzipSync('x'),
      },
      'the server packs the image on the way',
      'gzip',
    ],
    [
      'packed, all of it',
      { status: 200, headers: { 'content-encoding': 'br' } },
      'the server packs the image on the way',
      'br',
    ],
    [
      'an empty image',
      { status: 416, headers: { 'content-range': 'bytes */0' }, body: new Uint8Array() },
      'the image is empty',
      '416',
    ],
    [
      'nothing of an image',
      { status: 416, headers: {}, body: new Uint8Array() },
      'the server does not give the image',
      '416',
    ],
    [
      'forbidden',
      { status: 403, headers: {}, body: Buffer.from('go\u001b away') },
      'the server does not give the image',
      '403 Forbidden: go\\x1b away',
    ],
    [
      'no content',
      { status: 204, headers: {}, body: new Uint8Array() },
      'the server does not give the image',
      '204',
    ],
    [
      'less than the range',
      { headers: { 'content-range': 'bytes 0-65535/8388608', 'content-length': '5' }, body: Buffer.alloc(5) },
      OTHER_RANGE,
      '5 bytes with Content-Range',
    ],
  ])('%s', async ([, answer, message, found]) => {
    const { origin } = await serveRanges(content, (reply) => Object.assign(reply, answer));
    await expect(opened(origin)).rejects.toMatchObject({
      kind: 'image',
      message,
      context: { found: text(found) },
    });
  });

  test.for<[string, (socket: Socket) => void, string]>([
    ['no HTTP', (socket) => socket.end('220 ftp.example.org ready\r\n'), 'could not be fetched'],
    [
      'a line that never ends',
      (socket) => endless(socket, 'HTTP/1.1 206 OK\r\nX: ', 'x'),
      'could not be fetched',
    ],
    [
      'headers that never end',
      (socket) => endless(socket, 'HTTP/1.1 206 OK\r\n', 'A: b\r\n'),
      'could not be fetched',
    ],
    ['nothing at all', (socket) => socket.end(), 'could not be fetched'],
    ['a reset', (socket) => void socket.resetAndDestroy(), 'could not be fetched'],
  ])('%s', async ([, answer, message]) => {
    const origin = await serveRaw(answer);
    await expect(opened(origin)).rejects.toMatchObject({ kind: 'image', message: text(message) });
  });

  test('a chunked body that is shorter or longer than its range', async () => {
    const head = `HTTP/1.1 206 OK\r\nContent-Range: bytes 0-65535/65536\r\nTransfer-Encoding: chunked\r\n\r\n`;
    const short = await serveRaw((socket) => socket.end(`${head}5\r\nhello\r\n0\r\n\r\n`));
    await expect(opened(short)).rejects.toMatchObject({
      kind: 'image',
      message: 'the image broke off',
      context: { offset: 5 },
    });
    const long = await serveRaw((socket) => endless(socket, head, `5\r\nhello\r\n`));
    const reader = await opened(long);
    expect((await bytesAt(reader, 65_530, 6)).toString()).toBe('hellohello'.slice(0, 6));
    await expect(bytesAt(reader, 65_530, 7)).rejects.toMatchObject({ kind: 'image' });
  });
});

/** Writes for as long as somebody reads. */
function endless(socket: Socket, head: string, again: string): void {
  const block = Buffer.from(again.repeat(10_000));
  const write = (): void => {
    while (!socket.destroyed) {
      if (!socket.write(block)) {
        socket.once('drain', write);
        return;
      }
    }
  };
  socket.resume();
  socket.write(head);
  write();
}

describe('a later answer', () => {
  test.for<[string, (reply: RangeReply) => void, string, string]>([
    ['another ETag', ({ headers }) => (headers['etag'] = '"version-2"'), CHANGED, 'version-2'],
    [
      'another size',
      ({ headers }) => (headers['content-range'] = `bytes ${FAR}-${FAR + 65_535}/9999999`),
      CHANGED,
      '9999999',
    ],
    [
      'all of it, in another version',
      (reply) => Object.assign(reply, { status: 200, headers: { etag: '"v2"' }, body: content }),
      CHANGED,
      'v2',
    ],
    [
      'all of it, without a version',
      (reply) => Object.assign(reply, { status: 200, headers: {}, body: content }),
      CHANGED,
      '200',
    ],
    [
      'all of it, in the same version',
      (reply) => Object.assign(reply, { status: 200, headers: { etag: '"version-1"' }, body: content }),
      'the server no longer gives ranges',
      '200',
    ],
    ['416', (reply) => Object.assign(reply, { status: 416, headers: {} }), CHANGED, '416'],
    ['412', (reply) => Object.assign(reply, { status: 412, headers: {} }), CHANGED, '412'],
    [
      '404',
      (reply) => Object.assign(reply, { status: 404, headers: {} }),
      'the server does not give the image',
      '404',
    ],
    [
      'other bytes',
      ({ headers }) => (headers['content-range'] = `bytes 0-65535/${content.length}`),
      OTHER_RANGE,
      'bytes 0-65535',
    ],
    [
      'more bytes',
      (reply) =>
        Object.assign(reply, {
          headers: { 'content-range': `bytes ${FAR}-${FAR + 65_536}/${content.length}` },
        }),
      OTHER_RANGE,
      '4259840',
    ],
    [
      'packed',
      ({ headers }) => (headers['content-encoding'] = 'gzip'),
      'the server packs the image on the way',
      'gzip',
    ],
  ])('%s', async ([, change, message, found]) => {
    const reader = await openedThen(change);
    await expect(bytesAt(reader, FAR, 10)).rejects.toMatchObject({
      kind: 'image',
      message,
      context: { found: text(found) },
    });
    // What was there before is there still.
    expect(isSame(await bytesAt(reader, 100, 1000), 100)).toBe(true);
  });

  test('a change in the middle of a long read', async () => {
    const { origin } = await serveRanges(content, (reply, number) => {
      if (number === 2) reply.cutAfter = MIB + 5;
      if (number === 3) Object.assign(reply, { status: 200, headers: { etag: '"v2"' }, body: content });
    });
    const reader = await opened(origin);
    await bytesAt(reader, MIB, MIB);
    await expect(bytesAt(reader, 2 * MIB, 4 * MIB)).rejects.toMatchObject({
      kind: 'image',
      message: CHANGED,
    });
  });

  test('Last-Modified is as good as an ETag, and a weak ETag is compared but not sent', async () => {
    const versions = [
      { 'last-modified': 'Tue, 01 Jul 2025 10:00:00 GMT' },
      { etag: 'W/"1"', 'last-modified': 'Tue, 01 Jul 2025 10:00:00 GMT' },
      // In the second in which it was made it may change again: too young to be a condition.
      { 'last-modified': new Date().toUTCString() },
    ] as const;
    const sent: unknown[] = [];
    for (const version of versions) {
      const { origin, seen } = await serveRanges(content, (reply, number) => {
        // This server does not know If-Range.
        const first = number === 0 ? 0 : FAR;
        const range = `bytes ${first}-${first + 65_535}/${content.length}`;
        Object.assign(reply, { status: 206, body: content.subarray(first, first + 65_536) });
        reply.headers = { 'content-range': range, ...version };
        if (number > 1) reply.headers['last-modified'] = 'Tue, 01 Jul 2025 10:00:01 GMT';
      });
      const reader = await opened(origin);
      expect(isSame(await bytesAt(reader, FAR, 10), FAR)).toBe(true);
      await expect(bytesAt(reader, FAR + MIB, 10)).rejects.toMatchObject({ message: CHANGED });
      sent.push(seen[1]?.headers['if-range']);
    }
    expect(sent).toEqual(['Tue, 01 Jul 2025 10:00:00 GMT', undefined, undefined]);
  });
});

describe('a connection that breaks', () => {
  test('three times: asked again, from where it broke', async () => {
    const { origin, seen } = await serveRanges(content, (reply, number) => {
      if (number === 1 || number === 3 || number === 4) reply.cutAfter = 100_000;
    });
    const reader = await opened(origin);
    expect(isSame(await bytesAt(reader, MIB, MIB), MIB)).toBe(true);
    expect(isSame(await bytesAt(reader, 2 * MIB, 5 * MIB), 2 * MIB)).toBe(true);
    const starts = seen.map(({ range }) => Number(/\d+/.exec(range ?? '')?.[0]));
    expect(starts).toHaveLength(6);
    expect(starts.slice(1)).toEqual([MIB, MIB + 100_000, 2 * MIB, 2 * MIB + 100_000, 2 * MIB + 200_000]);
  });

  test('in the first answer', async () => {
    const { origin, seen } = await serveRanges(content, (reply, number) => {
      if (number === 0) reply.cutAfter = 1000;
    });
    const reader = await opened(origin);
    expect(isSame(await bytesAt(reader, 0, 64 * KIB), 0)).toBe(true);
    expect(seen.map(({ range }) => range)).toEqual(['bytes=0-65535', 'bytes=1000-65535']);
  });

  test('always: an error after three times', async () => {
    const { origin, seen } = await serveRanges(content, (reply, number) => {
      if (number > 0) reply.cutAfter = 1000;
    });
    const reader = await opened(origin);
    await expect(bytesAt(reader, FAR, MIB)).rejects.toMatchObject({
      kind: 'image',
      message: 'the image broke off',
      context: { found: text('1000 of ') },
    });
    expect(seen).toHaveLength(5);
    await expect(bytesAt(reader, FAR, MIB)).rejects.toMatchObject({ kind: 'image' });
    expect(seen).toHaveLength(6);
  });

  test('without a version to compare: an error at once', async () => {
    const { origin, seen } = await serveRanges(content, (reply, number) => {
      delete reply.headers['etag'];
      if (number > 0) reply.cutAfter = 1000;
    });
    const reader = await opened(origin);
    await expect(bytesAt(reader, FAR, 10_000)).rejects.toMatchObject({ message: 'the image broke off' });
    expect(seen).toHaveLength(2);
  });

  test('of a server without ranges: an error, and what came can be read', async () => {
    const { origin, seen } = await serveRanges(content, (reply) => {
      Object.assign(reply, { status: 200, body: content, cutAfter: 200_000 });
    });
    const reader = await opened(origin);
    await expect(bytesAt(reader, 0, MIB)).rejects.toMatchObject({
      kind: 'image',
      message: 'the image broke off',
      context: { found: text(`200000 of ${content.length} bytes came`) },
    });
    expect(isSame(await bytesAt(reader, 1000, 100_000), 1000)).toBe(true);
    expect(seen).toHaveLength(1);
  });
});

describe('a server that is silent', () => {
  test('from the start, or in the middle', async () => {
    const silent = await serveRaw(() => undefined);
    await expect(opened(silent, { idleMilliseconds: 100 })).rejects.toMatchObject({
      kind: 'image',
      message: 'the server does not answer',
      context: { found: 'nothing for 0.1 seconds' },
    });
    const stalling = await serveRaw((socket) => {
      socket.write(`HTTP/1.1 206 OK\r\nContent-Range: bytes 0-65535/99999\r\n\r\nhello`);
    });
    await expect(opened(stalling, { idleMilliseconds: 2000 })).rejects.toMatchObject({
      kind: 'image',
      message: 'the image does not go on',
      context: { offset: 5 },
    });
  });

  test('or says "100 Continue" for ever', async () => {
    const origin = await serveRaw((socket) => {
      const timer = setInterval(() => socket.write('HTTP/1.1 102 Processing\r\n\r\n'), 20);
      socket.on('close', () => clearInterval(timer));
    });
    await expect(opened(origin, { idleMilliseconds: 200 })).rejects.toMatchObject({
      message: 'the server does not answer',
    });
  });

  test('an abort before, while it is opened, and while it is read', async () => {
    const reason = new Error('stop it');
    let connections = 0;
    const open = new Set<Socket>();
    const origin = await serveRaw((socket, head) => {
      connections += 1;
      open.add(socket);
      socket.resume().on('close', () => open.delete(socket));
      if (!head.includes('/good') || !head.includes('bytes=0-')) return;
      socket.write(`HTTP/1.1 206 OK\r\nContent-Range: bytes 0-65535/${content.length}\r\n\r\n`);
      socket.write(content.subarray(0, 65_536));
    });
    await expect(opened(origin, { abortSignal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect(connections).toBe(0);
    const stop = new AbortController();
    const opening = opened(origin, { abortSignal: stop.signal });
    await eventually(() => expect(connections).toBe(1));
    stop.abort(reason);
    await expect(opening).rejects.toBe(reason);

    const later = new AbortController();
    const reader = await opened(`${origin}/good`, { abortSignal: later.signal });
    const reading = bytesAt(reader, FAR, 10);
    const next = bytesAt(reader, 0, 10);
    await eventually(() => expect(connections).toBe(3));
    later.abort(reason);
    await expect(reading).rejects.toBe(reason);
    await expect(next).rejects.toBe(reason);
    await expect(bytesAt(reader, 0, 10)).rejects.toBe(reason);
    await eventually(() => expect(open.size).toBe(0));
  });

  test('closing ends what is under way', async () => {
    const { origin, handler } = await serveRanges(content);
    const reader = await opened(
      await serve((request, response) => {
        if (request.headers.range === 'bytes=0-65535') handler(request, response);
      }),
    );
    expect(origin).toContain('http');
    const reading = expect(bytesAt(reader, FAR, 10)).rejects.toMatchObject({
      message: 'the image is closed',
    });
    await new Promise((resolve) => setTimeout(resolve, 30));
    await reader.close();
    await reader.close();
    await reading;
    await expect(bytesAt(reader, 0, 1)).rejects.toMatchObject({ kind: 'usage' });
  });
});

test('secrets do not come back in errors', async () => {
  const origin = await serve((request, response) => {
    const words = `${request.headers.authorization} ${request.url}`;
    response.writeHead(403, words.replaceAll(/[^ -~]/g, '')).end(words);
  });
  const url = `${origin}/image?token=abcdefgh`;
  const failed: unknown = await opened({ url, headers: { Authorization: 'Bearer qwertyuiop' } }).catch(
    (error: unknown) => error,
  );
  expect(failed).toMatchObject({ kind: 'image', context: { path: `${origin}/image?…` } });
  const said = JSON.stringify([(failed as Error).message, (failed as { context: unknown }).context]);
  expect(said).not.toMatch(/abcdefgh|qwertyuiop/);
});
