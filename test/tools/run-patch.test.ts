import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { geteuid } from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { DEFAULT_SEARCH_PATH } from '../../src/tools/find.js';
import { NOBODY, runPatch, type PatchRun, type RunPatchOptions } from '../../src/tools/run-patch.js';
import { requireRoot } from '../oracles/require-tool.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';

const root = geteuid?.() === 0;

function script(text: string): string {
  const folder = temporaryFolder();
  writeFileSync(join(folder, 'patch'), `#!/bin/sh\n${text}\n`);
  chmodSync(join(folder, 'patch'), 0o555);
  chmodSync(folder, 0o711);
  return folder;
}

function run(text: string, options: Partial<RunPatchOptions> = {}): Promise<PatchRun> {
  return runPatch({
    folder: script(text),
    file: 'patch',
    command: 'info',
    environment: { searchPath: DEFAULT_SEARCH_PATH },
    user: root ? NOBODY : undefined,
    timeoutMilliseconds: 20_000,
    outputLimitBytes: 64 * 1024,
    ...options,
  });
}

/** Whether a process with that text in its command line lives. */
async function lives(pid: number): Promise<boolean> {
  for (let tries = 0; tries < 50; tries += 1) {
    if (!existsSync(`/proc/${pid}/cmdline`) || readFileSync(`/proc/${pid}/cmdline`).length === 0)
      return false;
    await sleep(20);
  }
  return true;
}

test('it gets its command and a clean environment, and its outputs and exit code come back', async () => {
  process.env['PATCH_VDI_SECRET'] = 'secret';
  const ended = await run('echo "$0 $*"; env; pwd >&2; exit 3');
  delete process.env['PATCH_VDI_SECRET'];
  expect(ended).toMatchObject({ exitCode: 3, signal: undefined, stopped: undefined });
  const [first, ...variables] = ended.stdout.trim().split('\n');
  expect(first).toBe('./patch info');
  const names = variables.map((line) => line.split('=')[0] ?? '').sort();
  expect(names.filter((name) => name !== '_')).toEqual(['HOME', 'LC_ALL', 'PATH', 'PWD', 'SHELL', 'TZ']);
});

test('as root it runs as nobody, in no other group, and cannot write beside itself', async (context) => {
  requireRoot(context);
  const ended = await run(
    'id -u; id -g; id -G; touch x 2>/dev/null || echo cannot; echo y >>patch || echo neither',
    {
      user: NOBODY,
    },
  );
  expect(ended.stdout).toBe('65534\n65534\n65534\ncannot\nneither\n');
});

test('as root it runs in a folder whose parents are closed to it', async (context) => {
  requireRoot(context);
  const parent = temporaryFolder();
  chmodSync(parent, 0o700);
  const folder = join(parent, 'inner');
  mkdirSync(folder);
  writeFileSync(join(folder, 'patch'), '#!/bin/sh\ncat patch | tail -1; ls .. 2>/dev/null || echo closed\n');
  chmodSync(join(folder, 'patch'), 0o555);
  chmodSync(folder, 0o711);
  chownSync(folder, 0, 0);
  expect(statSync(parent).mode % 0o1000).toBe(0o700);
  const ended = await run('', { folder, user: NOBODY });
  expect(ended.stdout).toMatch(/closed\n$/);
});

test('after the time limit all of its group is dead, also what ignores SIGTERM and was started in the background', async () => {
  const ended = await run(`trap '' TERM INT HUP; sleep 300 & echo $!; wait; sleep 300`, {
    timeoutMilliseconds: 3000,
  });
  expect(ended).toMatchObject({ stopped: 'timeout', signal: 'SIGKILL' });
  expect(await lives(Number(ended.stdout))).toBe(false);
});

test('what it leaves in the background is dead when it has ended', async () => {
  const ended = await run('sleep 300 & echo $!; exit 0');
  expect(ended).toMatchObject({ exitCode: 0, stopped: undefined });
  expect(await lives(Number(ended.stdout))).toBe(false);
});

test('a process that leaves the group and holds the pipes does not hold us', async () => {
  // It sleeps longer than the time limit.
  const ended = await run('setsid sleep 60 & echo done');
  expect(ended).toMatchObject({ exitCode: 0, stdout: 'done\n', stopped: undefined });
});

test('output without end is stopped at the limit', async () => {
  const ended = await run('yes');
  expect(ended).toMatchObject({ stopped: 'output', signal: 'SIGKILL' });
  expect(Buffer.byteLength(ended.stdout)).toBe(64 * 1024);
});

test('both outputs count together', async () => {
  const ended = await run('head -c 40000 /dev/zero; head -c 40000 /dev/zero >&2');
  expect(ended.stopped).toBe('output');
  expect(ended.stdout.length + ended.stderr.length).toBe(64 * 1024);
});

test('no interpreter: error of kind tool', async () => {
  const folder = temporaryFolder();
  writeFileSync(join(folder, 'patch'), '#!/no/such/shell\n', { mode: 0o555 });
  await expect(run('', { folder })).rejects.toMatchObject({ name: 'PatchVdiError', kind: 'tool' });
});

test('an abort stops it', async () => {
  const stop = new AbortController();
  setTimeout(() => stop.abort(new Error('enough')), 200);
  await expect(run('sleep 300', { abortSignal: stop.signal })).rejects.toMatchObject({ kind: 'interrupted' });
});
