import { spawnSync } from 'node:child_process';
import { createReadStream, readFileSync, statSync, truncateSync } from 'node:fs';
import { beforeEach, describe, expect, test } from 'vitest';
import { requireTool } from '../oracles/require-tool.js';
import { runJudge } from '../oracles/run-judge.js';
import { createSparse } from '../oracles/sample-image.js';
import { mustBuild, runCli, startCli } from './cli.js';
import { serve } from './http-servers.js';
import { MIB, uploadBytes } from './uploads.js';
import { workspace, type Workspace } from './workspace.js';

beforeEach((context) => requireTool(context, 'mke2fs'));

const UPLOAD = uploadBytes(5_000_000);

async function built(work: Workspace, format: 'raw' | 'vhd', ...more: string[]): Promise<string> {
  const image = work.output(`image.${format}`);
  await mustBuild(work, [work.input('upload', UPLOAD), '-o', image, '--allow-unsigned', ...more]);
  return image;
}

/** Counts what a server of one file sends. */
interface Served {
  readonly origin: string;
  requests: number;
  bytes: number;
}

async function serveFile(path: string, ranges: boolean): Promise<Served> {
  const size = statSync(path).size;
  const served: Served = {
    requests: 0,
    bytes: 0,
    origin: await serve((request, response) => {
      served.requests += 1;
      const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? [];
      const start = ranges && from !== undefined ? Number(from) : 0;
      const end = ranges && to !== undefined && to !== '' ? Math.min(Number(to), size - 1) : size - 1;
      const partial = ranges && from !== undefined;
      response.writeHead(partial ? 206 : 200, {
        etag: '"one"',
        'content-length': end - start + 1,
        ...(partial ? { 'content-range': `bytes ${start}-${end}/${size}` } : {}),
      });
      const stream = createReadStream(path, { start, end });
      stream.on('data', (bytes) => (served.bytes += bytes.length));
      stream.pipe(response);
      response.on('close', () => stream.destroy());
    }),
  };
  return served;
}

describe('from a web server', () => {
  test('with ranges: a VHD of 4 GiB is inspected with less than 2 MiB', async () => {
    const work = workspace();
    const image = await built(work, 'vhd', '--size', '4G');
    const served = await serveFile(image, true);
    const ended = await runCli(work, ['inspect', `${served.origin}/image.vhd`, '--json']);
    expect(ended.exitCode, ended.stdout).toBe(0);
    expect(JSON.parse(ended.stdout)).toMatchObject({
      healthy: true,
      bitmapsChecked: true,
      patch: { size: 5_000_000 },
    });
    expect(served.bytes).toBeLessThan(2 * MIB);
    expect(served.requests).toBeLessThan(20);
  });

  test('with ranges: what comes out is the upload', async () => {
    const work = workspace();
    const served = await serveFile(await built(work, 'vhd'), true);
    const ended = await runCli(work, ['extract', `${served.origin}/image.vhd`, '-o', work.output('patch')]);
    expect(ended, ended.stderr).toMatchObject({ exitCode: 0 });
    expect(readFileSync(work.output('patch')).equals(UPLOAD)).toBe(true);
    expect(served.bytes).toBeLessThan(2 * statSync(work.output('patch')).size);
  });

  test('without ranges: raw is read forward, and no further than needed', async () => {
    const work = workspace();
    const image = await built(work, 'raw', '--size', '4G');
    const served = await serveFile(image, false);
    const ended = await runCli(work, ['inspect', `${served.origin}/image.raw`, '--json']);
    expect(ended.exitCode, ended.stdout).toBe(0);
    expect(JSON.parse(ended.stdout)).toMatchObject({
      healthy: true,
      bitmapsChecked: false,
      patch: { size: 5_000_000 },
    });
    expect(served.requests).toBe(1);
    expect(served.bytes).toBeLessThan(64 * MIB);
  });

  test('without ranges: a VHD needs them', async () => {
    const work = workspace();
    const served = await serveFile(await built(work, 'vhd'), false);
    const ended = await runCli(work, ['inspect', `${served.origin}/image.vhd`]);
    expect(ended.exitCode).toBe(6);
    expect(ended.stderr).toContain('a VHD cannot be read as a stream');
  });

  test('404 is an error of kind image', async () => {
    const work = workspace();
    const origin = await serve((_request, response) => response.writeHead(404).end('no such image'));
    const ended = await runCli(work, ['inspect', `${origin}/image.vhd`]);
    expect(ended.exitCode).toBe(6);
    expect(ended.stderr).toContain('404');
  });
});

describe('from standard input', () => {
  test.for(['pipe', 'redirection'] as const)('a raw image through a %s', async (through) => {
    const work = workspace();
    const image = await built(work, 'raw');
    const stdin = { path: image, through };
    const inspected = await runCli(work, ['inspect', '-', '--json'], { stdin });
    expect(inspected.exitCode, inspected.stdout).toBe(0);
    expect(JSON.parse(inspected.stdout)).toMatchObject({ healthy: true, patch: { size: 5_000_000 } });
    const extracted = await runCli(work, ['extract', '-', '-o', work.output('patch')], { stdin });
    expect(extracted, extracted.stderr).toMatchObject({ exitCode: 0 });
    expect(readFileSync(work.output('patch')).equals(UPLOAD)).toBe(true);
    const verified = await runCli(work, ['verify', '-', '--structure-only'], { stdin });
    expect(verified, verified.stderr).toMatchObject({ exitCode: 0 });
  });

  test('a picture needs more than a stream', async () => {
    const work = workspace();
    const stdin = { path: await built(work, 'raw'), through: 'pipe' as const };
    expect(await runCli(work, ['inspect', '-', '--map'], { stdin })).toMatchObject({ exitCode: 2 });
  });
});

describe('a disk with partitions', () => {
  async function partitioned(work: Workspace, table: 'dos' | 'gpt'): Promise<string> {
    const image = await built(work, 'raw');
    const disk = createSparse(work.output('disk.raw'), 64 * MIB);
    expect(runJudge('sfdisk', ['--quiet', disk], `label: ${table}\n2048,32768,L\n`).exitCode).toBe(0);
    const copied = spawnSync('dd', [`if=${image}`, `of=${disk}`, 'bs=1M', 'seek=1', 'conv=notrunc,sparse']);
    expect(copied.status).toBe(0);
    return disk;
  }

  test.for(['dos', 'gpt'] as const)(
    '%s: is named, with the offset to use, which works',
    async (table, context) => {
      requireTool(context, 'sfdisk');
      const work = workspace();
      const disk = await partitioned(work, table);
      const refused = await runCli(work, ['inspect', disk, '--json']);
      expect(refused.exitCode).toBe(6);
      expect(JSON.parse(refused.stdout)).toMatchObject({
        findings: [{ code: 'filesystem-unreadable', hint: 'look into a partition: --offset 1048576' }],
      });
      const found = await runCli(work, ['inspect', disk, '--offset', '1M', '--json']);
      expect(found.exitCode, found.stdout).toBe(0);
      expect(JSON.parse(found.stdout)).toMatchObject({ healthy: true, patch: { size: 5_000_000 } });
      const extracted = await runCli(work, [
        'extract',
        disk,
        '--offset',
        '1048576',
        '-o',
        work.output('patch'),
      ]);
      expect(extracted, extracted.stderr).toMatchObject({ exitCode: 0 });
      expect(readFileSync(work.output('patch')).equals(UPLOAD)).toBe(true);
    },
  );
});

describe('what cannot be', () => {
  test.for([
    ['no such file', 'absent.vhd', 2],
    ['a folder', '.', 2],
    ['an empty file', 'empty', 6],
    ['text', 'text', 6],
  ] as const)('%s', async ([, name, exitCode]) => {
    const work = workspace();
    work.input('empty', '');
    work.input('text', 'this is no image\n'.repeat(1000));
    for (const command of ['inspect', 'extract', 'verify']) {
      const more =
        command === 'verify' ? ['--structure-only'] : command === 'extract' ? ['-o', work.output('x')] : [];
      const ended = await runCli(work, [command, `${work.folder}/${name}`, ...more]);
      expect(ended, `${command}: ${ended.stderr}`).toMatchObject({ exitCode });
    }
    expect(work.outputs()).toEqual([]);
  });

  test('a raw image that is cut off within the payload', async () => {
    const work = workspace();
    const image = await built(work, 'raw');
    truncateSync(image, 4 * MIB);
    const extracted = await runCli(work, ['extract', image, '-o', work.output('patch')]);
    expect(extracted.exitCode).toBe(6);
    expect(work.outputs()).toEqual(['image.raw']);
  });

  test('extracting stops at a signal and leaves nothing', async () => {
    const work = workspace();
    const image = await built(work, 'raw');
    const started = startCli(work, ['extract', '-', '-o', work.output('patch')], {
      stdin: 'pipe' as unknown as number,
    });
    // The reader stops before everything is read: that is what this test is about.
    started.child.stdin?.on('error', () => undefined);
    started.child.stdin?.write(readFileSync(image).subarray(0, 3 * MIB));
    await expect.poll(() => work.outputs().length).toBe(2);
    started.child.kill('SIGINT');
    expect(await started.ended).toMatchObject({ exitCode: 130 });
    expect(work.outputs()).toEqual(['image.raw']);
  });
});
