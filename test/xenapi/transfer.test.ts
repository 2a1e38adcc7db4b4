/* One way for a transfer to end a test, against the same fake server: long, as the list of endings is. */
import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { beforeEach, describe, expect, test } from 'vitest';
import { PatchVdiError } from '../../src/errors.js';
import { IterableSource } from '../../src/io/iterable-source.js';
import { UNKNOWN_OUTCOME } from '../../src/xenapi/server-failure.js';
import { downloadPatch, uploadPatch } from '../../src/xenapi/transfer.js';
import { KIB, MIB } from '../../src/units.js';
import { NULL_REF, ReplayError, startReplay, type Replay } from '../oracles/xapi-replay.js';
import { TIMEOUTS, connected, thrownBy, wordsOf } from './pools.js';
import { makeCertificate } from '../oracles/certificates.js';
import { requireTool } from '../oracles/require-tool.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';

beforeEach((context) => requireTool(context, 'openssl'));

async function* chunksOf(content: Buffer, size = 64 * 1024): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < content.length; at += size) yield content.subarray(at, at + size);
}

const source = (content: Buffer, length: number | undefined = content.length): IterableSource =>
  new IterableSource('upload', chunksOf(content), length);

function uploadRequest(pool: Replay) {
  const seen = pool.requests.find(({ path }) => path === '/pool_patch_upload');
  if (seen === undefined) throw new Error('there was no upload');
  return seen;
}

/** Requests of that method get this answer; all others the pool's own. */
function intercept(
  pool: Replay,
  method: 'PUT' | 'GET',
  answer: (request: IncomingMessage, response: ServerResponse) => void,
): void {
  pool.intercept = (request, response) => {
    if (request.method !== method) return false;
    answer(request, response);
    return true;
  };
}

async function contentOf(pool: Replay, uuid: string): Promise<Buffer> {
  const connection = await connected(pool);
  return await downloadPatch(connection, uuid, async ({ chunks }) => {
    const parts: Uint8Array[] = [];
    for await (const chunk of chunks) parts.push(chunk);
    return Buffer.concat(parts);
  });
}

describe('an upload', () => {
  test.for([
    ['with its length', true],
    ['without', false],
  ])('%s goes in, as a task that is destroyed, and comes out again', async ([, withLength]) => {
    const pool = await startReplay();
    const connection = await connected(pool);
    const content = randomBytes(3 * MIB + 17);
    const [[, local]] = [...pool.tables.SR] as [[string, { uuid: string }]];
    const seenBytes: number[] = [];
    const upload = new IterableSource(
      'upload',
      chunksOf(content),
      withLength === true ? content.length : undefined,
    );
    const ref = await uploadPatch(connection, upload, {
      srUuid: local.uuid,
      onProgress: (bytes) => seenBytes.push(bytes),
    });
    const seen = uploadRequest(pool);
    expect(seen).toMatchObject({ method: 'PUT', received: content.length, complete: true });
    expect(seen.headers.expect).toBe('100-continue');
    expect(seen.headers['content-length']).toBe(withLength === true ? String(content.length) : undefined);
    expect(seen.headers['transfer-encoding']).toBe(withLength === true ? undefined : 'chunked');
    expect(seen.query.get('sr_uuid')).toBe(local.uuid);
    expect(seenBytes.at(-1)).toBe(content.length);
    expect(pool.tables.task.size).toBe(0);
    const patch = pool.tables.pool_patch.get(ref);
    expect(patch).toMatchObject({ size: content.length });
    expect((await contentOf(pool, String(patch?.['uuid']))).equals(content)).toBe(true);
  });

  test.for([
    [['OUT_OF_SPACE', 'Local storage'], { code: 'OUT_OF_SPACE', parameters: ['Local storage'] }],
    [['HOST_HAS_NO_PATCH_SR', NULL_REF], { code: 'HOST_HAS_NO_PATCH_SR' }],
    [['SESSION_INVALID', 'OpaqueRef:x'], { code: 'SESSION_INVALID' }],
  ] as const)('that is refused with %j before its body is not sent', async ([description, expected]) => {
    const pool = await startReplay();
    pool.admit = () => {
      throw new ReplayError(...description);
    };
    const connection = await connected(pool);
    const error = await thrownBy(uploadPatch(connection, source(randomBytes(MIB)), {}));
    expect(error).toMatchObject({ name: 'XenApiError', operation: 'PUT /pool_patch_upload', ...expected });
    expect(uploadRequest(pool).received).toBe(0);
    expect(pool.tables.task.size).toBe(0);
  });

  test('that is refused after its body fails with the server’s words', async () => {
    const pool = await startReplay();
    pool.judge = () => {
      throw new ReplayError('INVALID_PATCH');
    };
    const connection = await connected(pool);
    const error = await thrownBy(uploadPatch(connection, source(randomBytes(MIB)), {}));
    expect(error).toMatchObject({ name: 'XenApiError', code: 'INVALID_PATCH' });
    expect(pool.tables.pool_patch.size).toBe(0);
    expect(pool.tables.task.size).toBe(0);
  });

  test('that the server drops in its middle fails with what the task says', async () => {
    const pool = await startReplay();
    intercept(pool, 'PUT', (request, response) => {
      response.writeContinue();
      request.once('data', () => {
        for (const task of pool.tables.task.values()) {
          Object.assign(task, { status: 'failure', error_info: ['OUT_OF_SPACE', 'the state folder'] });
        }
        request.socket.destroy();
      });
    });
    const connection = await connected(pool);
    const error = await thrownBy(uploadPatch(connection, source(randomBytes(8 * MIB)), {}));
    expect(error).toMatchObject({ code: 'OUT_OF_SPACE', parameters: ['the state folder'] });
  });

  test('that is reset anywhere is an error, and leaves no task', async () => {
    const certificate = makeCertificate(temporaryFolder(), 'pool');
    const pool = await startReplay({ certificate });
    const connection = await connected(pool, { trust: { caFile: certificate.file } });
    const content = randomBytes(2 * MIB);
    let cutAfter = 0;
    intercept(pool, 'PUT', (request, response) => {
      if (cutAfter === 0) request.socket.destroy();
      else response.writeContinue();
      let received = 0;
      request.on('data', (part: Buffer) => {
        received += part.length;
        if (received >= cutAfter) request.socket.destroy();
      });
    });
    // Bytes of the body; the last ones are cut when everything is there but the answer.
    for (cutAfter of [0, 1, 65_537, 1_000_003, 2 * MIB - 1, 2 * MIB]) {
      expect(await thrownBy(uploadPatch(connection, source(content), {}))).toMatchObject({ kind: 'sink' });
      expect(pool.tables.task.size).toBe(0);
    }
  });

  test('that is refused in its middle fails with the server’s words, though the connection breaks', async () => {
    const certificate = makeCertificate(temporaryFolder(), 'pool');
    const pool = await startReplay({ certificate });
    const connection = await connected(pool, { trust: { caFile: certificate.file } });
    intercept(pool, 'PUT', (request, response) => {
      response.writeContinue();
      request.once('data', () => {
        for (const task of pool.tables.task.values()) {
          Object.assign(task, { status: 'failure', error_info: ['INVALID_PATCH'] });
        }
        const error = { code: 'INVALID_PATCH', parameters: [] };
        response.writeHead(400, { 'content-type': 'application/json', connection: 'close' });
        response.end(JSON.stringify({ error }), () => request.socket.destroy());
      });
    });
    for (let round = 0; round < 5; round += 1) {
      const error = await thrownBy(uploadPatch(connection, source(randomBytes(8 * MIB)), {}));
      expect(error).toMatchObject({ name: 'XenApiError', code: 'INVALID_PATCH' });
    }
  });

  test.for([
    ['before the body', true],
    ['in its middle', false],
  ] as const)('that gets a good answer %s is none', async ([, early]) => {
    const pool = await startReplay();
    const connection = await connected(pool);
    intercept(pool, 'PUT', (request, response) => {
      if (early) response.end('OpaqueRef:x');
      else {
        response.writeContinue();
        request.once('data', () => response.end('OpaqueRef:x'));
      }
    });
    expect(await thrownBy(uploadPatch(connection, source(randomBytes(8 * MIB)), {}))).toMatchObject({
      kind: 'sink',
      message: 'the server answered before it had everything',
    });
  });

  test('is one, also when the server answers the last byte before the source says that it was the last', async () => {
    const pool = await startReplay();
    const connection = await connected(pool);
    const content = randomBytes(MIB);
    const answered = new Promise<void>((resolve) => {
      pool.intercept = (request, response) => {
        if (request.method !== 'PUT') return false;
        response.once('finish', () => setTimeout(resolve, 100));
        return false;
      };
    });
    const slow = async function* (): AsyncGenerator<Uint8Array> {
      yield* chunksOf(content);
      await answered;
    };
    const upload = new IterableSource('upload', slow(), content.length);
    expect(await uploadPatch(connection, upload, {})).toMatch(/^OpaqueRef:/);
  });

  test('that is longer than announced fails, also when the server has taken what was announced', async () => {
    const pool = await startReplay();
    const connection = await connected(pool);
    const longer = source(randomBytes(MIB + 64 * KIB), MIB);
    expect(await thrownBy(uploadPatch(connection, longer, {}))).toMatchObject({
      kind: 'upload',
      message: 'the upload is longer than announced',
      leftBehind: 'unknown: whether the server did what was asked, it did not say',
    });
    const overshooting = new IterableSource('upload', chunksOf(randomBytes(MIB + 1), MIB + 1), MIB);
    expect(await thrownBy(uploadPatch(connection, overshooting, {}))).toMatchObject({
      kind: 'upload',
      leftBehind: 'no patch: the server has refused a body that is not complete',
    });
  });

  test('that is sent elsewhere is not sent there', async () => {
    const [pool, other] = [await startReplay(), await startReplay()];
    const connection = await connected(pool);
    intercept(pool, 'PUT', (request, response) => {
      response.writeHead(302, { location: `${other.url}${request.url}` }).end();
    });
    const error = await thrownBy(uploadPatch(connection, source(randomBytes(MIB)), {}));
    expect(error).toMatchObject({
      kind: 'sink',
      context: { found: expect.stringContaining(`302 Found, ${other.url}`) as string },
    });
    // The session is in the URL that the server repeats.
    for (const session of pool.sessions) expect(wordsOf(error)).not.toContain(session);
    expect(other.requests).toEqual([]);
  });

  test('whose task fails after a good answer has failed', async () => {
    const pool = await startReplay();
    const connection = await connected(pool);
    intercept(pool, 'PUT', (request, response) => {
      response.writeContinue();
      request.resume().on('end', () => {
        for (const task of pool.tables.task.values()) {
          Object.assign(task, { status: 'failure', error_info: ['VDI_IO_ERROR', 'Device I/O errors'] });
        }
        response.end('OpaqueRef:x');
      });
    });
    const error = await thrownBy(uploadPatch(connection, source(randomBytes(MIB)), {}));
    expect(error).toMatchObject({ code: 'VDI_IO_ERROR', parameters: ['Device I/O errors'] });
  });

  test('whose task never ends is given up, and cancelled', async () => {
    const pool = await startReplay();
    const connection = await connected(pool, { timeouts: { ...TIMEOUTS, stall: 300, farewell: 200 } });
    pool.answers.set('task.cancel', () => '');
    intercept(pool, 'PUT', (request, response) => {
      response.writeContinue();
      request.resume().on('end', () => response.end('OpaqueRef:x'));
    });
    const error = await thrownBy(uploadPatch(connection, source(randomBytes(MIB)), {}));
    expect(error).toMatchObject({
      kind: 'sink',
      message: 'the task does not go on: PUT /pool_patch_upload',
    });
    expect(pool.callsOf('task.cancel')).toHaveLength(1);
  });

  test('that the server drops without a word is cancelled', async () => {
    const pool = await startReplay();
    intercept(pool, 'PUT', (request, response) => {
      response.writeContinue();
      request.once('data', () => request.socket.destroy());
    });
    const connection = await connected(pool);
    const error = await thrownBy(uploadPatch(connection, source(randomBytes(8 * MIB)), {}));
    expect(error).toMatchObject({
      kind: 'sink',
      message: 'the connection to the server broke: PUT /pool_patch_upload',
      leftBehind: expect.stringContaining('unknown') as string,
    });
    expect(pool.callsOf('task.cancel')).toHaveLength(1);
    expect(pool.callsOf('task.destroy')).toHaveLength(1);
  });

  test.for([
    ['shorter', 100],
    ['longer', -100],
  ] as const)('that is %s than announced never is complete', async ([word, difference]) => {
    const pool = await startReplay();
    const connection = await connected(pool);
    const content = randomBytes(MIB);
    const error = await thrownBy(uploadPatch(connection, source(content, content.length + difference), {}));
    expect(error).toMatchObject({ kind: 'upload', message: `the upload is ${word} than announced` });
    expect(uploadRequest(pool).complete).toBe(false);
    expect(pool.tables.pool_patch.size).toBe(0);
  });

  test('that is stopped is cancelled on the server, which is left before its error is told', async () => {
    const pool = await startReplay();
    const stop = new AbortController();
    const connection = await connected(pool, { signal: stop.signal });
    const reason = new Error('stopped by a test');
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (let count = 0; ; count += 1) {
        if (count === 40) stop.abort(reason);
        yield new Uint8Array(64 * 1024);
      }
    }
    const error = await thrownBy(
      uploadPatch(connection, new IterableSource('upload', endless(), undefined), {}),
    );
    expect(error).toBe(reason);
    const methods = pool.calls.map(({ method }) => method);
    expect(methods.slice(-3)).toEqual(['task.cancel', 'task.get_record', 'task.destroy']);
    expect(pool.tables.pool_patch.size).toBe(0);
  });

  test('of a source that breaks fails with the source’s error', async () => {
    const pool = await startReplay();
    const connection = await connected(pool);
    async function* broken(): AsyncGenerator<Uint8Array> {
      yield new Uint8Array(1000);
      throw new Error('the disk is gone');
    }
    const error = await thrownBy(uploadPatch(connection, new IterableSource('upload', broken(), 5000), {}));
    expect(error).toMatchObject({ kind: 'upload', context: { found: 'the disk is gone' } });
    expect(uploadRequest(pool).complete).toBe(false);
  });

  test('of a source that breaks behind its last byte may be there: that is not denied', async () => {
    const pool = await startReplay();
    const connection = await connected(pool);
    const taken = new Promise<void>((resolve) => {
      intercept(pool, 'PUT', (request, response) => {
        response.writeContinue();
        request.resume().once('end', resolve);
      });
    });
    async function* broken(): AsyncGenerator<Uint8Array> {
      yield* chunksOf(Buffer.alloc(MIB));
      await taken;
      throw new PatchVdiError('upload', 'the archive is damaged', { leftBehind: 'nothing mountable' });
    }
    const upload = new IterableSource('upload', broken(), MIB);
    expect(await thrownBy(uploadPatch(connection, upload, {}))).toMatchObject({
      message: 'the archive is damaged',
      leftBehind: UNKNOWN_OUTCOME,
    });
  });

  test('to a server that does not read on stops after a while', async () => {
    const pool = await startReplay();
    intercept(pool, 'PUT', (_request, response) => {
      response.writeContinue();
    });
    const connection = await connected(pool, { timeouts: { ...TIMEOUTS, stall: 200 } });
    const error = await thrownBy(uploadPatch(connection, source(randomBytes(16 * MIB)), {}));
    expect(error).toMatchObject({ kind: 'sink', message: 'the server does not go on with the upload' });
  });

  test('to a server that never asks for the body stops after a while, and sent none', async () => {
    const pool = await startReplay();
    intercept(pool, 'PUT', () => undefined);
    const connection = await connected(pool, { timeouts: { ...TIMEOUTS, stall: 200 } });
    const error = await thrownBy(uploadPatch(connection, source(randomBytes(MIB)), {}));
    expect(error).toMatchObject({ message: 'the server does not go on with the upload' });
    expect(uploadRequest(pool).received).toBe(0);
  });

  const startRefusal = (response: ServerResponse): void => {
    response.writeHead(400, { 'content-length': '100' }).write('and then');
  };

  // A body of one small write is handed over, and ended, before the connection says that it has taken it.
  test.for<[string, number, number, (request: IncomingMessage, response: ServerResponse) => void]>([
    [
      'never answers a small body',
      1000,
      1000,
      (request, response) => {
        response.writeContinue();
        request.resume();
      },
    ],
    ['stops within its refusal before the body', MIB, MIB, (_request, response) => startRefusal(response)],
    [
      'stops within its refusal in the middle of the body, which it reads',
      16 * MIB,
      8 * MIB,
      (request, response) => {
        response.writeContinue();
        request.once('data', () => startRefusal(response));
        request.resume();
      },
    ],
    [
      'says that it is good, and does not take the rest',
      16 * MIB,
      16 * MIB,
      (_request, response) => {
        response.writeContinue();
        setTimeout(() => response.writeHead(200, { 'content-length': '11' }).write('OpaqueRef:x'), 50);
      },
    ],
  ])('to a server that %s stops after a while', async ([, length, chunk, answer]) => {
    const pool = await startReplay();
    intercept(pool, 'PUT', (request, response) => {
      answer(request, response);
    });
    const connection = await connected(pool, { timeouts: { ...TIMEOUTS, stall: 300 } });
    const whole = new IterableSource('upload', chunksOf(Buffer.alloc(length), chunk), length);
    expect(await thrownBy(uploadPatch(connection, whole, {}))).toMatchObject({
      kind: 'sink',
      message: 'the server does not go on with the upload',
    });
  });

  test('that gets a good answer from a server which leaves before it took all is none', async () => {
    const pool = await startReplay();
    const connection = await connected(pool);
    intercept(pool, 'PUT', (request, response) => {
      response.writeContinue();
      setTimeout(() => response.end('OpaqueRef:x', () => request.socket.destroy()), 50);
    });
    const atOnce = new IterableSource('upload', chunksOf(Buffer.alloc(16 * MIB), 16 * MIB), 16 * MIB);
    expect(await thrownBy(uploadPatch(connection, atOnce, {}))).toMatchObject({ kind: 'sink' });
  });

  test('of a source that does not end is refused when the server says so, not later', async () => {
    const pool = await startReplay();
    const connection = await connected(pool);
    intercept(pool, 'PUT', (request, response) => {
      response.writeContinue();
      request.resume().on('end', () => {
        // Unlike ours it keeps the connection.
        const words = JSON.stringify({ error: { code: 'INVALID_PATCH', parameters: [] } });
        response.writeHead(400, { 'content-length': String(words.length) }).write(words);
      });
    });
    async function* open(): AsyncGenerator<Uint8Array> {
      yield* chunksOf(Buffer.alloc(MIB));
      await new Promise(() => undefined);
    }
    const error = await thrownBy(uploadPatch(connection, new IterableSource('upload', open(), MIB), {}));
    expect(error).toMatchObject({ code: 'INVALID_PATCH' });
  });
});

describe('a download', () => {
  async function stored(pool: Replay, content: Buffer): Promise<string> {
    const connection = await connected(pool);
    const ref = await uploadPatch(connection, source(content), {});
    return String(pool.tables.pool_patch.get(ref)?.['uuid']);
  }

  test('of what is not there fails with the server’s words', async () => {
    const pool = await startReplay();
    expect(await thrownBy(contentOf(pool, 'nothing'))).toMatchObject({ code: 'CANNOT_FIND_PATCH' });
  });

  test.for([
    ['in its middle', 500_000],
    ['after its head', 0],
    ['before its last byte', MIB - 1],
  ] as const)('that breaks off %s is no success', async ([, bytes]) => {
    const pool = await startReplay();
    intercept(pool, 'GET', (request, response) => {
      response.writeHead(200, { 'content-length': String(MIB) });
      response.flushHeaders();
      response.write(Buffer.alloc(bytes), () => setTimeout(() => request.socket.destroy(), 20));
    });
    expect(await thrownBy(contentOf(pool, 'any'))).toMatchObject({
      kind: 'sink',
      message: 'the download broke off',
      context: { found: expect.stringMatching(new RegExp(`^${bytes} of ${MIB} bytes came`)) as string },
    });
  });

  test('of a length that no number can tell is refused before its bytes', async () => {
    const pool = await startReplay();
    intercept(pool, 'GET', (_request, response) => {
      response.writeHead(200, { 'content-length': '99999999999999999' }).write('abc');
    });
    expect(await thrownBy(contentOf(pool, 'any'))).toMatchObject({
      kind: 'sink',
      message: expect.stringMatching(/^the server announces an unusable length/) as string,
      context: { found: '99999999999999999', expected: 'a number of bytes' },
    });
  });

  test('that does not go on stops after a while', async () => {
    const pool = await startReplay();
    intercept(pool, 'GET', (_request, response) => {
      response.writeHead(200, { 'content-length': '100' }).write('abc');
    });
    const connection = await connected(pool, { timeouts: { ...TIMEOUTS, stall: 200 } });
    const reading = downloadPatch(connection, 'any', async ({ chunks }) => {
      for await (const chunk of chunks) expect(chunk.length).toBe(3);
    });
    expect(await thrownBy(reading)).toMatchObject({ kind: 'sink', message: 'the download does not go on' });
  });

  test('whose reader stops closes the connection', async () => {
    const pool = await startReplay();
    const uuid = await stored(pool, randomBytes(4 * MIB));
    const connection = await connected(pool);
    await downloadPatch(connection, uuid, async ({ chunks }) => {
      for await (const chunk of chunks) {
        expect(chunk.length).toBeGreaterThan(0);
        break;
      }
    });
    await expect.poll(() => pool.sockets.size).toBe(0);
  });

  test('that is stopped ends with the reason', async () => {
    const pool = await startReplay();
    const uuid = await stored(pool, randomBytes(8 * MIB));
    const stop = new AbortController();
    const connection = await connected(pool, { signal: stop.signal });
    const reason = new Error('stopped by a test');
    const reading = downloadPatch(connection, uuid, async ({ chunks }) => {
      for await (const chunk of chunks) {
        if (chunk.length > 0) stop.abort(reason);
      }
    });
    expect(await thrownBy(reading)).toBe(reason);
  });
});
