import { spawn, spawnSync, type ChildProcess, type StdioOptions } from 'node:child_process';
import { randomFillSync } from 'node:crypto';
import { chmodSync, closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { rolldown } from 'rolldown';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { GIB, MIB } from '../../src/units.js';
import { serve, serveRanges, serveSecurely } from '../e2e/http-servers.js';
import { workspace } from '../e2e/workspace.js';
import { requireTool } from '../oracles/require-tool.js';
import { runJudge } from '../oracles/run-judge.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';

/*
 * What can only be seen from outside: that a process ends by itself when it has closed what it opened, what standard
 * input is, how much memory it takes.
 */

const SCRIPT = `
import { createHash } from 'node:crypto';
import { openReader } from './open-reader.mjs';
const { place, pieces, digest, setuid, abortAfter } = JSON.parse(process.argv[2]);
if (setuid !== undefined) process.setuid(setuid);
const stop = new AbortController();
if (abortAfter !== undefined) setTimeout(() => stop.abort(new Error('stopped')), abortAfter);
const out = { read: [] };
try {
  const reader = await openReader(place, { abortSignal: stop.signal });
  out.sizeBytes = reader.sizeBytes;
  out.forwardOnly = reader.forwardOnly;
  try {
    const startRss = process.memoryUsage().rss;
    for (const [offset, length] of pieces ?? []) {
      const target = Buffer.alloc(length);
      await reader.readInto(target, offset);
      out.read.push(target.toString('hex'));
    }
    if (digest !== undefined) {
      const hash = createHash('sha256');
      const target = Buffer.alloc(1024 * 1024);
      let most = 0;
      for (let at = 0; at < digest; at += target.length) {
        const piece = target.subarray(0, Math.min(target.length, digest - at));
        await reader.readInto(piece, at);
        hash.update(piece);
        most = Math.max(most, process.memoryUsage().rss - startRss);
      }
      out.digest = hash.digest('hex');
      out.rssGrowth = most;
    }
  } finally {
    await reader.close();
  }
} catch (error) {
  out.error = { kind: error.kind, message: error.message, context: error.context, hint: error.hint };
}
process.stdout.write(JSON.stringify(out));
// No process.exit(): whatever is left open keeps the process alive, and fails the test.
`;

interface Request {
  readonly place: unknown;
  readonly pieces?: readonly (readonly [number, number])[];
  /** So many bytes, from front to back. */
  readonly digest?: number;
  readonly setuid?: number;
  readonly abortAfter?: number;
}

interface Outcome {
  readonly read: string[];
  readonly sizeBytes?: number;
  readonly forwardOnly?: boolean;
  readonly digest?: string;
  readonly rssGrowth?: number;
  readonly error?: Record<string, unknown>;
}

let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'patch-vdi-reader-'));
  const bundle = await rolldown({
    input: resolve(import.meta.dirname, '../../src/io/open-reader.ts'),
    platform: 'node',
  });
  await bundle.write({
    dir: folder,
    format: 'esm',
    entryFileNames: '[name].mjs',
    chunkFileNames: '[name].mjs',
  });
  await bundle.close();
  writeFileSync(join(folder, 'script.mjs'), SCRIPT);
  chmodSync(folder, 0o755);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const TIME_LIMIT_MILLISECONDS = 30_000;

function start(request: Request, stdin: StdioOptions, env: NodeJS.ProcessEnv = {}) {
  const args = [join(folder, 'script.mjs'), JSON.stringify(request)];
  const [input] = Array.isArray(stdin) ? stdin : [stdin];
  const child: ChildProcess = spawn(process.execPath, args, { stdio: [input, 'pipe', 'pipe'], env });
  onTestFinished(() => void child.kill('SIGKILL'));
  const outcome = new Promise<Outcome>((done, failed) => {
    const timer = setTimeout(
      () => failed(new Error('the process did not end by itself')),
      TIME_LIMIT_MILLISECONDS,
    );
    let [stdout, stderr] = ['', ''];
    child.stdout?.on('data', (bytes: Buffer) => (stdout += bytes.toString()));
    child.stderr?.on('data', (bytes: Buffer) => (stderr += bytes.toString()));
    child.on('close', (code) => {
      clearTimeout(timer);
      if (code === 0) done(JSON.parse(stdout) as Outcome);
      else failed(new Error(`exit ${code}: ${stderr}`));
    });
  });
  return { child, outcome };
}

const run = (request: Request, stdin: StdioOptions = 'ignore', env?: NodeJS.ProcessEnv): Promise<Outcome> =>
  start(request, stdin, env).outcome;

const content = randomFillSync(Buffer.alloc(2 * MIB));
const STDIN = { fd: 0, name: 'standard input' };
const hex = (offset: number, length: number): string =>
  content.subarray(offset, offset + length).toString('hex');

function image(): string {
  const path = join(temporaryFolder(), 'image');
  writeFileSync(path, content);
  return path;
}

const PIECES = [
  [1024, 64],
  [MIB, 5],
  [0, 5],
] as const;
const READ = PIECES.map(([offset, length]) => hex(offset, length));

describe('the process ends by itself after', () => {
  test('a file', async () => {
    expect(await run({ place: image(), pieces: PIECES })).toMatchObject({ read: READ, forwardOnly: false });
  });

  test('standard input from a file', async () => {
    const fd = openSync(image(), 'r');
    onTestFinished(() => closeSync(fd));
    expect(await run({ place: STDIN, pieces: PIECES }, [fd])).toEqual({
      read: READ,
      forwardOnly: false,
      sizeBytes: content.length,
    });
  });

  test("standard input from a shell's pipe, whose writer goes on for ever", (context) => {
    requireTool(context, 'sh', 'yes');
    const request = JSON.stringify({ place: STDIN, pieces: [[4096, 4]] });
    const line = `yes abc | "$0" "$1" '${request}'`;
    const ended = spawnSync('sh', ['-c', line, process.execPath, join(folder, 'script.mjs')], {
      timeout: TIME_LIMIT_MILLISECONDS,
      encoding: 'utf8',
    });
    expect(ended.stderr).toBe('');
    expect(JSON.parse(ended.stdout)).toEqual({ read: ['6162630a'], forwardOnly: true });
  });

  test('standard input from a socket, as of a child of Node, that stays silent: an abort', async () => {
    const { child, outcome } = start(
      {
        place: STDIN,
        pieces: [
          [0, 5],
          [5, 1],
        ],
        abortAfter: 300,
      },
      'pipe',
    );
    child.stdin?.write('hello');
    expect(await outcome).toMatchObject({ read: ['68656c6c6f'], error: { message: 'stopped' } });
  });

  test('standard input that is no image: /dev/null', async () => {
    expect(await run({ place: STDIN })).toMatchObject({
      error: { kind: 'usage', context: { found: 'it is a character device' } },
    });
  });

  test('a server with ranges, read here and there, and from front to back for a while', async () => {
    const { origin } = await serveRanges(content);
    const pieces = [...PIECES, [300_000, 300_000], [600_000, 300_000]] as const;
    const outcome = await run({ place: origin, pieces });
    expect(outcome.read).toEqual(pieces.map(([offset, length]) => hex(offset, length)));
  });

  test('a server without ranges that has more to say', async () => {
    const origin = await serve((_, response) => {
      response.on('error', () => undefined).writeHead(200, { 'content-length': GIB });
      response.write(content);
    });
    expect(await run({ place: origin, pieces: PIECES })).toMatchObject({ read: READ, sizeBytes: GIB });
  });

  test('an abort while a server is silent', async () => {
    const origin = await serve(() => undefined);
    expect(await run({ place: origin, abortAfter: 300 })).toMatchObject({ error: { message: 'stopped' } });
  });
});

test('over TLS: only from a server that is trusted', async (context) => {
  requireTool(context, 'openssl');
  const { handler, seen } = await serveRanges(content);
  const { origin, certificate } = await serveSecurely(workspace(), handler);
  const trusted = await run({ place: origin, pieces: PIECES }, 'ignore', {
    NODE_EXTRA_CA_CERTS: certificate,
  });
  expect(trusted).toMatchObject({ read: READ, sizeBytes: content.length });
  const requests = seen.length;
  expect(requests).toBe(2);
  expect(await run({ place: origin, pieces: PIECES })).toMatchObject({
    error: {
      kind: 'image',
      message: 'the server could not be trusted',
      hint: expect.stringContaining('NODE_EXTRA_CA_CERTS') as unknown,
    },
  });
  expect(seen).toHaveLength(requests);
});

test('a file that its user may not read: an error of kind usage, with a hint', async () => {
  const path = image();
  chmodSync(path, 0o000);
  const nobody = process.geteuid?.() === 0 ? { setuid: 65_534 } : {};
  expect(await run({ place: path, ...nobody })).toMatchObject({
    error: {
      kind: 'usage',
      message: 'the image cannot be opened',
      context: { found: expect.stringContaining('EACCES') as unknown },
      hint: expect.any(String) as unknown,
    },
  });
});

test('a gibibyte of noise through a pipe: the bytes that sha256sum sees, in less than 64 MiB', (context) => {
  requireTool(context, 'sh', 'openssl', 'head', 'tee', 'sha256sum', 'mkfifo');
  const request = JSON.stringify({ place: STDIN, digest: GIB });
  const sum = join(temporaryFolder(), 'sum');
  const fifo = `${sum}.fifo`;
  expect(runJudge('mkfifo', [fifo]).exitCode).toBe(0);
  const noise = `openssl enc -aes-128-ctr -pass pass:noise -nosalt -pbkdf2 -iter 1 -in /dev/zero 2>/dev/null | head -c ${GIB}`;
  const line = `sha256sum < '${fifo}' > '${sum}' & ${noise} | tee '${fifo}' | "$0" "$1" '${request}'; wait; echo; cat '${sum}'`;
  const ended = spawnSync('sh', ['-c', line, process.execPath, join(folder, 'script.mjs')], {
    timeout: 55_000,
    encoding: 'utf8',
  });
  const [json = '', judged = ''] = ended.stdout.split('\n');
  const outcome = JSON.parse(json) as Outcome;
  expect(outcome.digest).toBe(judged.split(' ')[0]);
  expect(outcome.digest).toMatch(/^[0-9a-f]{64}$/);
  expect(outcome.rssGrowth).toBeLessThan(64 * MIB);
  expect(outcome.rssGrowth).toBeGreaterThan(16 * MIB);
});
