import { createHash, randomFillSync } from 'node:crypto';
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { once } from 'node:events';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { GIB, KIB, MIB } from '../../src/units.js';
import { DEFAULT_SEARCH_PATH, findProgram } from '../../src/tools/find.js';
import { serve, serveRanges } from '../e2e/http-servers.js';
import { requireTool } from '../oracles/require-tool.js';
import { runJudge } from '../oracles/run-judge.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { allBytes, bytesAt, opened, scattered } from './byte-readers.js';
import { eventually } from './eventually.js';

let content: Buffer;
beforeAll(() => {
  content = randomFillSync(Buffer.alloc(64 * MIB + 777));
});

const isSame = (found: Uint8Array, offset: number): boolean =>
  content.subarray(offset, offset + found.length).equals(found);

/** sha256sum(1), of a file with those bytes. */
function digestOf(bytes: Uint8Array): string {
  const path = join(temporaryFolder(), 'content');
  writeFileSync(path, bytes);
  return runJudge('sha256sum', [path]).stdout.split(' ')[0] ?? '';
}

async function digestThrough(pieces: AsyncIterable<Buffer>): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of pieces) hash.update(piece);
  return hash.digest('hex');
}

describe('a server with ranges', () => {
  test('gives the size, and what was asked for', async () => {
    const { origin, seen } = await serveRanges(content);
    const reader = await opened(`${origin}/image`);
    expect(reader).toMatchObject({
      sizeBytes: content.length,
      forwardOnly: false,
      name: `${origin}/image`,
    });
    for (const [offset, length] of [
      [0, 1],
      [1000, 100_000],
      [content.length - 1, 1],
      [content.length - 70_000, 70_000],
      [64 * KIB - 1, 2],
      [content.length, 0],
      [5 * MIB + 1, 3 * MIB],
    ] as const) {
      const found = await bytesAt(reader, offset, length);
      expect(isSame(found, offset), `${offset}, ${length}`).toBe(true);
    }
    expect(seen[0]?.headers).toMatchObject({ range: 'bytes=0-65535', 'accept-encoding': 'identity' });
    expect(seen[0]?.headers).not.toHaveProperty('if-range');
    for (const { headers } of seen.slice(1)) expect(headers['if-range']).toBe('"version-1"');
  });

  test.each([1, 100, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1])('an image of %d bytes', async (size) => {
    const { origin, seen } = await serveRanges(content.subarray(0, size));
    const reader = await opened(origin);
    expect(reader.sizeBytes).toBe(size);
    expect(isSame(await bytesAt(reader, 0, size), 0)).toBe(true);
    expect(seen).toHaveLength(size > 64 * KIB ? 2 : 1);
    await expect(bytesAt(reader, size - 1, 2)).rejects.toMatchObject({
      kind: 'image',
      context: { found: `1 bytes: it ends at ${size}`, expected: '2 bytes' },
    });
    expect(seen.length).toBeLessThanOrEqual(2);
  });

  test('twenty small pieces here and there: a page each, and the same ones again for nothing', async () => {
    const { origin, seen, totalSent } = await serveRanges(content);
    const reader = await opened(origin);
    const places = scattered(20, 4 * KIB, content.length);
    for (const _ of [1, 2]) {
      for (const place of places) expect(isSame(await bytesAt(reader, place, 4 * KIB), place)).toBe(true);
      expect(seen.length).toBeLessThanOrEqual(22);
    }
    await reader.close();
    await eventually(() => expect(seen.every(({ ended }) => ended)).toBe(true));
    expect(totalSent()).toBeLessThan(2 * MIB);
  });

  test('reads that overlap in time give what they should, and ask once for each page', async () => {
    const { origin, seen } = await serveRanges(content);
    const reader = await opened(origin);
    const places = Array.from({ length: 64 }, (_, index) => MIB + (index % 16) * 4 * KIB + 1);
    const found = await Promise.all(places.map((place) => bytesAt(reader, place, 3000)));
    for (const [index, place] of places.entries()) {
      expect(isSame(found[index] ?? Buffer.alloc(1), place)).toBe(true);
    }
    expect(seen).toHaveLength(2);
  });

  test('a run of missing pages is one request, around pages that are there', async () => {
    const { origin, seen } = await serveRanges(content);
    const reader = await opened(origin);
    await bytesAt(reader, 10 * MIB + 70_000, 1);
    await bytesAt(reader, 10 * MIB, 250 * KIB);
    expect(seen.map(({ range }) => range)).toEqual([
      'bytes=0-65535',
      `bytes=${10 * MIB + 65_536}-${10 * MIB + 131_071}`,
      `bytes=${10 * MIB}-${10 * MIB + 65_535}`,
      `bytes=${10 * MIB + 131_072}-${10 * MIB + 262_143}`,
    ]);
  });

  test.each([KIB * 4 + 1, 64 * KIB, MIB, 5 * MIB])(
    'from front to back in pieces of %d bytes: a handful of requests, each byte sent once or twice',
    async (pieceBytes) => {
      const { origin, seen, totalSent } = await serveRanges(content);
      const reader = await opened(origin);
      const digest = await digestThrough(allBytes(reader, content.length, pieceBytes));
      expect(digest).toBe(digestOf(content));
      expect(seen.length).toBeLessThanOrEqual(7);
      expect(totalSent()).toBeLessThan(content.length + 6 * MIB);
    },
  );

  test('from front to back with small reads in between, as of a file with its extents', async () => {
    const { origin, seen } = await serveRanges(content);
    const reader = await opened(origin);
    for (let at = MIB; at + MIB < content.length; at += MIB + 512) {
      expect(isSame(await bytesAt(reader, at, MIB), at)).toBe(true);
      expect(isSame(await bytesAt(reader, 4096, 1024), 4096)).toBe(true);
      expect(isSame(await bytesAt(reader, at + MIB, 512), at + MIB)).toBe(true);
    }
    expect(seen.length).toBeLessThanOrEqual(4);
  });

  test('a long read here and there sends little that nobody reads', async () => {
    const { origin, seen, totalSent } = await serveRanges(content);
    const reader = await opened(origin);
    const places = scattered(10, 300 * KIB, content.length);
    for (const place of places) expect(isSame(await bytesAt(reader, place, 300 * KIB), place)).toBe(true);
    await reader.close();
    expect(seen).toHaveLength(11);
    expect(totalSent()).toBe(10 * 300 * KIB + 64 * KIB);
  });

  test('a jump away from an answer with an open end ends it', async () => {
    const { origin, seen } = await serveRanges(content);
    const reader = await opened(origin);
    await bytesAt(reader, MIB, MIB);
    await bytesAt(reader, 2 * MIB, MIB);
    const open = seen.at(-1);
    expect(open?.range).toBe(`bytes=${2 * MIB}-`);
    await bytesAt(reader, 50 * MIB, MIB);
    await eventually(() => expect(open?.ended).toBe(true));
    // What the sockets of both sides hold has gone out, but not all of it.
    expect(open?.sent).toBeLessThan(40 * MIB);
  });

  test('memory: pages beyond 2 MiB are forgotten, the oldest first', async () => {
    const { origin, seen } = await serveRanges(content);
    const reader = await opened(origin);
    const page = (number: number): Promise<Buffer> => bytesAt(reader, number * 128 * KIB, 10);
    for (let number = 0; number < 33; number += 1) await page(number);
    expect(seen).toHaveLength(33);
    await page(32);
    await page(1);
    expect(seen).toHaveLength(33);
    await page(0);
    expect(seen).toHaveLength(34);
    // Page 3 is the oldest now: in use, it stays when the one behind it comes.
    const place = 3 * 128 * KIB;
    expect(isSame(await bytesAt(reader, place, 100 * KIB), place)).toBe(true);
    expect(seen.at(-1)?.range).toBe(`bytes=${place + 65_536}-${place + 131_071}`);
    expect(seen).toHaveLength(35);
  });

  test('behind a redirect: asked where it led, and the headers that were given stay with their origin', async () => {
    const { origin: far, seen } = await serveRanges(content);
    const origins: (string | undefined)[] = [];
    const near = await serve((request, response) => {
      origins.push(request.headers['x-token']?.toString());
      response.writeHead(302, { location: `${far}/there?signature=secret` }).end();
    });
    const reader = await opened({ url: `${near}/here`, headers: { 'X-Token': 'abcdef' } });
    expect(isSame(await bytesAt(reader, 20 * MIB, 10), 20 * MIB)).toBe(true);
    expect(origins).toEqual(['abcdef']);
    expect(seen.map(({ url, headers }) => [url, headers['x-token']])).toEqual([
      ['/there?signature=secret', undefined],
      ['/there?signature=secret', undefined],
    ]);
  });

  test('what a redirect led to expires: asked for again at the place that was given', async () => {
    let round = 0;
    const { origin: far, seen } = await serveRanges(content, (reply, number) => {
      if (number === 2) Object.assign(reply, { status: 403, headers: {}, body: Buffer.from('expired') });
    });
    const near = await serve((_, response) => {
      round += 1;
      response.writeHead(307, { location: `${far}/${round}` }).end();
    });
    const reader = await opened(near);
    for (const place of [10 * MIB, 20 * MIB, 30 * MIB]) {
      expect(isSame(await bytesAt(reader, place, 10), place)).toBe(true);
    }
    expect(seen.map(({ url }) => url)).toEqual(['/1', '/1', '/1', '/2', '/2']);
    expect(round).toBe(2);
  });

  test('credentials of the URL go with every request, and into no name', async () => {
    const { origin, seen } = await serveRanges(content);
    const reader = await opened(origin.replace('//', '//user:p%40ssword@'));
    await bytesAt(reader, 20 * MIB, 10);
    const basic = `Basic ${Buffer.from('user:p@ssword').toString('base64')}`;
    expect(seen.map(({ headers }) => headers.authorization)).toEqual([basic, basic]);
    expect(reader.name).toBe(`${origin}/`);
    await expect(bytesAt(reader, content.length, 1)).rejects.toMatchObject({
      context: { path: `${origin}/` },
    });
  });
});

describe('a server without ranges', () => {
  test('is read forward, from the first answer on, and closed early', async () => {
    let sent = 0;
    let requests = 0;
    let isOver = false;
    const origin = await serve((_, response) => {
      requests += 1;
      response.on('close', () => (isOver = true)).on('error', () => undefined);
      response.writeHead(200, { 'content-length': GIB });
      const write = (): void => {
        for (;;) {
          if (response.destroyed) return;
          const at = sent % (64 * MIB);
          sent += 16 * KIB;
          if (!response.write(content.subarray(at, at + 16 * KIB))) {
            response.once('drain', write);
            return;
          }
        }
      };
      write();
    });
    const reader = await opened(origin);
    expect(reader).toMatchObject({ sizeBytes: GIB, forwardOnly: true });
    for (const place of [1024, 5 * MIB, 2 * MIB, 7 * MIB, 0]) {
      expect(isSame(await bytesAt(reader, place, 4 * KIB), place)).toBe(true);
    }
    await reader.close();
    await eventually(() => expect(isOver).toBe(true));
    expect(requests).toBe(1);
    expect(sent).toBeLessThan(64 * MIB);
  });

  test('without a length', async () => {
    const origin = await serve((_, response) => {
      response.write(content.subarray(0, 1000));
      response.end(content.subarray(1000, 3000));
    });
    const reader = await opened(origin);
    expect(reader.sizeBytes).toBeUndefined();
    expect(isSame(await bytesAt(reader, 0, 3000), 0)).toBe(true);
    await expect(bytesAt(reader, 2999, 2)).rejects.toMatchObject({
      kind: 'image',
      context: { found: '1 bytes: it ends at 3000' },
    });
  });

  test("Python's", async (context) => {
    requireTool(context, 'python3', 'sha256sum');
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'image'), content.subarray(0, 8 * MIB + 3));
    const python = findProgram('python3', DEFAULT_SEARCH_PATH) ?? '';
    const args = ['-u', '-m', 'http.server', '0', '--bind', '127.0.0.1', '--directory', folder];
    const child = spawn(python, args, { stdio: ['ignore', 'pipe', 'ignore'] });
    onTestFinished(() => void child.kill());
    const [line] = (await once(child.stdout, 'data')) as [Buffer];
    const port = /port (\d+)/.exec(line.toString())?.[1];
    const reader = await opened(`http://127.0.0.1:${port}/image`);
    expect(reader).toMatchObject({ sizeBytes: 8 * MIB + 3, forwardOnly: true });
    const digest = await digestThrough(allBytes(reader, 8 * MIB + 3, 100_000));
    expect(digest).toBe(runJudge('sha256sum', [join(folder, 'image')]).stdout.split(' ')[0]);
    await expect(opened(`http://127.0.0.1:${port}/not-there`)).rejects.toMatchObject({
      kind: 'image',
      message: 'the server does not give the image',
      context: { found: expect.stringContaining('404') as unknown },
    });
  });
});
