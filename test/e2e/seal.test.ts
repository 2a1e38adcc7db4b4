import { copyFileSync, readFileSync, statSync, truncateSync } from 'node:fs';
import { beforeEach, expect, test } from 'vitest';
import { runCli } from './cli.js';
import { USEFUL, USELESS, usesOf } from './judges/importer.js';
import { requireImageJudges } from './judges/patch-disk.js';
import { MIB, uploadBytes } from './uploads.js';
import { buildIn, FIXED } from './ways-to-build.js';
import { workspace } from './workspace.js';

/*
 * A stream may end anywhere. Wherever that is, what came through must be of no use.
 */

beforeEach((context) => requireImageJudges(context));

const UPLOAD_BYTES = 3 * MIB + 5;

interface Row {
  readonly offset: number;
  readonly length: number;
  readonly count: number;
  readonly name: string;
  readonly sealed: boolean;
}

test('a streamed VHD that ends at any boundary of its segments, or a byte before the end', async () => {
  const work = workspace();
  const upload = work.input('upload', uploadBytes(UPLOAD_BYTES));
  const image = await buildIn(work, upload, 'vhd', ['pipe', 'pipe']);
  expect(await usesOf(image, 'vhd')).toEqual(USEFUL);

  const planned = await runCli(work, ['plan', upload, '--format', 'vhd', '--json', ...FIXED.slice(1)]);
  const { segments, outputLength } = JSON.parse(planned.stdout) as { segments: Row[]; outputLength: number };
  expect(statSync(image).size).toBe(outputLength);
  const superblock = segments.find(
    (row) => row.sealed && row.name !== 'sector bitmap' && row.name !== 'alignment',
  );
  // The block with the superblock is the last one: until its first 4 KiB are there, nothing mounts.
  const sealStart = superblock?.offset ?? 0;
  expect(sealStart).toBeGreaterThan(outputLength - 2 * MIB - 8192);

  const boundaries = [...new Set(segments.map((row) => row.offset)), sealStart + 1024];
  expect(boundaries.length).toBeGreaterThan(10);
  for (const length of boundaries.filter((offset) => offset > 0 && offset <= sealStart + 1024)) {
    const cut = work.output('cut.vhd');
    copyFileSync(image, cut);
    truncateSync(cut, length);
    expect(await usesOf(cut, 'vhd'), `${length} of ${outputLength} bytes`).toMatchObject(USELESS);
  }
});

test('a VHD without its trailing footer is not what an importer takes for complete', async () => {
  const work = workspace();
  const upload = work.input('upload', uploadBytes(UPLOAD_BYTES));
  const image = await buildIn(work, upload, 'vhd', ['file', 'pipe']);
  const bytes = readFileSync(image);
  // XAPI looks for the footer in the last 512 bytes of the announced length (design, "VHD facts to honour").
  expect(bytes.subarray(-512).equals(bytes.subarray(0, 512))).toBe(true);
  const cut = bytes.subarray(0, -512);
  expect(cut.subarray(-512).toString('latin1', 0, 8)).not.toBe('conectix');
});

test('a raw image behind a pipe: not a byte goes out before the verdict', async () => {
  const work = workspace();
  const upload = work.input('upload', uploadBytes(UPLOAD_BYTES));
  const image = work.output('x.raw');
  const args = ['build', '-', '--format', 'raw', '--content-length', String(UPLOAD_BYTES)];
  const { exitCode } = await runCli(work, [...args, '--allow-sha256', '0'.repeat(64)], {
    stdin: { path: upload, through: 'pipe' },
    stdout: { path: image, through: 'pipe' },
  });
  expect(exitCode).toBe(3);
  expect(statSync(image).size).toBe(0);
});

test('a VHD behind a pipe: all but the seal goes out before the verdict', async () => {
  const work = workspace();
  const upload = work.input('upload', uploadBytes(UPLOAD_BYTES));
  const image = work.output('x.vhd');
  const args = ['build', '-', '--format', 'vhd', '--content-length', String(UPLOAD_BYTES)];
  const { exitCode } = await runCli(work, [...args, '--allow-sha256', '0'.repeat(64)], {
    stdin: { path: upload, through: 'pipe' },
    stdout: { path: image, through: 'pipe' },
  });
  expect(exitCode).toBe(3);
  // Two blocks of payload and what stands in front of them; the upload was in them, and still nothing can be done. What
  // the pipe has not taken when the verdict comes (it holds 64 KiB) stays here.
  const all = 4096 + 2 * (4096 + 2 * MIB);
  expect(statSync(image).size).toBeLessThanOrEqual(all);
  expect(statSync(image).size).toBeGreaterThanOrEqual(all - MIB);
  expect(await usesOf(image, 'vhd')).toEqual({ converts: false, ...USELESS });
});
