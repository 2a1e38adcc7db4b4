import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { beforeEach, expect, test } from 'vitest';
import { requireTool } from '../oracles/require-tool.js';
import { OpenPgpBench } from '../signature/openpgp-bench.js';
import { mustBuild, type RunOptions } from './cli.js';
import { MIB } from './uploads.js';
import { workspace, type Workspace } from './workspace.js';

/*
 * Memory does not grow with the upload. Uploads of zeros: what is in them does not matter here, and they cost nothing
 * to make.
 */

beforeEach((context) => requireTool(context, 'time'));

const SMALL = 64 * MIB;
const LARGE = 512 * MIB;

function sparse(work: Workspace, bytes: number): string {
  const path = `${work.folder}/upload-${bytes}`;
  writeFileSync(path, '');
  truncateSync(path, bytes);
  return path;
}

/** The peak of the Node process in bytes, from time(1). */
async function peak(work: Workspace, args: readonly string[], options: RunOptions): Promise<number> {
  const report = `${work.folder}/peak`;
  await mustBuild(work, args, { ...options, wrapper: ['time', '-f', '%M', '-o', report] });
  return Number(readFileSync(report, 'utf8')) * 1024;
}

async function expectFlat(measure: (work: Workspace, bytes: number) => Promise<number>): Promise<void> {
  const work = workspace();
  const [small, large] = [await measure(work, SMALL), await measure(work, LARGE)];
  expect(large - small).toBeLessThan(20 * MIB);
  expect(Math.max(small, large)).toBeLessThan(90 * MIB);
}

test('from a pipe into a VHD file', () =>
  expectFlat((work, bytes) =>
    peak(
      work,
      ['-', '-o', work.output(`${bytes}.vhd`), '--allow-unsigned', '--content-length', String(bytes)],
      {
        stdin: { path: sparse(work, bytes), through: 'pipe' },
      },
    ),
  ));

test('from a file into a VHD behind a pipe', () =>
  expectFlat((work, bytes) =>
    peak(work, [sparse(work, bytes), '--format', 'vhd', '--allow-unsigned'], {
      stdout: { path: '/dev/null', through: 'pipe' },
    }),
  ));

test('from a pipe into a VHD file, with gpgv beside it', async () => {
  const gpg = new OpenPgpBench();
  try {
    const keyring = gpg.keyring([gpg.key('Alice <alice@example.org>')]);
    await expectFlat((work, bytes) => {
      const upload = sparse(work, bytes);
      const signature = gpg.file(gpg.gpg(['--detach-sign', '-o', '-', upload]));
      const verify = ['--keyring', keyring, '--signature', signature];
      return peak(
        work,
        ['-', '-o', work.output(`${bytes}.vhd`), ...verify, '--content-length', String(bytes)],
        {
          stdin: { path: upload, through: 'pipe' },
        },
      );
    });
  } finally {
    gpg.close();
  }
});

test('time(1) sees what a process has used', async () => {
  const work = workspace();
  const upload = work.input('upload', 'x');
  const use = (bytes: number) =>
    peak(work, [upload, '-o', work.output(`${bytes}.raw`), '--allow-unsigned'], {
      env: { NODE_OPTIONS: `--import=data:text/javascript,globalThis.used=Buffer.alloc(${bytes},1)` },
    });
  expect((await use(200 * MIB)) - (await use(1))).toBeGreaterThan(190 * MIB);
});
