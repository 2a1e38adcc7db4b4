import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { beforeEach, expect, test } from 'vitest';
import { requireTool } from '../oracles/require-tool.js';
import { poolScene, addPatch, type PoolScene } from './pool-client.js';
import { MIB } from './uploads.js';

beforeEach((context) => requireTool(context, 'openssl', 'time'));

const SMALL = 32 * MIB;
const LARGE = 256 * MIB;

/** The peak of the Node process in bytes, from time(1); memory.test.ts shows that it sees what is used. */
async function peak({ work, run }: PoolScene, args: readonly string[]): Promise<number> {
  const report = `${work.folder}/peak`;
  const { exitCode, stderr } = await run(args, { wrapper: ['time', '-f', '%M', '-o', report] });
  expect(exitCode, stderr).toBe(0);
  return Number(readFileSync(report, 'utf8')) * 1024;
}

function expectFlat(small: number, large: number): void {
  expect(large - small).toBeLessThan(24 * MIB);
  expect(Math.max(small, large)).toBeLessThan(128 * MIB);
}

test('memory does not grow with an upload over TLS', async () => {
  const scene = await poolScene();
  const { pool, work } = scene;
  const { patch } = addPatch(pool, 'XS62ESP1', 'c');
  const received: number[] = [];
  pool.intercept = (request, response) => {
    if (request.method !== 'PUT') return false;
    response.writeContinue();
    let bytes = 0;
    request.on('data', (part: Buffer) => (bytes += part.length));
    request.on('end', () => {
      received.push(bytes);
      const task = new URL(request.url ?? '', 'http://x').searchParams.get('task_id') ?? '';
      Object.assign(pool.tables.task.get(task) ?? {}, { status: 'success', result: patch });
      response.end(patch);
    });
    return true;
  };
  const peaks: number[] = [];
  for (const bytes of [SMALL, LARGE]) {
    const path = `${work.folder}/upload-${bytes}`;
    writeFileSync(path, '');
    truncateSync(path, bytes);
    peaks.push(await peak(scene, ['upload', path]));
  }
  expect(received).toEqual([SMALL, LARGE]);
  expectFlat(peaks[0] ?? 0, peaks[1] ?? Infinity);
});

test('nor with a download', async () => {
  const scene = await poolScene();
  const { pool, work } = scene;
  pool.intercept = (request, response) => {
    if (request.method !== 'GET') return false;
    const bytes = [...pool.tables.pool_patch.values()][0]?.['size'] as number;
    response.writeHead(200, { 'content-length': String(bytes) });
    const piece = Buffer.alloc(MIB);
    let sent = 0;
    const write = (): void => {
      while (sent < bytes) {
        sent += piece.length;
        if (!response.write(piece)) {
          response.once('drain', write);
          return;
        }
      }
      response.end();
    };
    write();
    return true;
  };
  const peaks: number[] = [];
  for (const size of [SMALL, LARGE]) {
    addPatch(pool, 'XS62ESP1', 'c', { size });
    peaks.push(await peak(scene, ['download', 'XS62ESP1', '-o', work.output(`${size}`)]));
  }
  expectFlat(peaks[0] ?? 0, peaks[1] ?? Infinity);
});
