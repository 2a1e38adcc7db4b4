import { expect, test } from 'vitest';
import { expectCleanText, runCli } from './cli.js';
import { uploadBytes } from './uploads.js';
import { workspace } from './workspace.js';

const TRACED = { env: { NODE_DEBUG: 'patch-vdi' } };

test('NODE_DEBUG=patch-vdi shows the table of plan, every call of a tool, and the writes', async () => {
  const work = workspace();
  const upload = work.input('upload', uploadBytes(70_001));
  const fixed = ['--source-date-epoch', '1700000000'];
  const planned = await runCli(work, ['plan', upload, '--format', 'vhd', ...fixed]);
  const args = ['build', upload, '-o', work.output('x.vhd'), '--allow-unsigned', ...fixed];
  const { exitCode, stdout, stderr } = await runCli(work, args, TRACED);
  expect(exitCode).toBe(0);
  for (const row of planned.stdout.trimEnd().split('\n')) expect(stderr).toContain(row);
  expect(stderr).toMatch(/tools: \S*\/mke2fs .*-t ext4/);
  expect(stderr).toMatch(/tools: \S*\/debugfs -w/);
  expect(stderr).toMatch(/tools: \S*\/e2fsck -fn/);
  expect(stderr).toMatch(/write: patch payload \d+\+70001/);
  expect(stderr).toMatch(/sink: fsync/);
  expect(stdout).toContain('built vhd image');

  const silent = await runCli(work, [...args, '--force']);
  expect(silent.stderr).toBe('');
});

test('NODE_DEBUG=patch-vdi shows stack traces, and nothing else does', async () => {
  const work = workspace();
  const args = ['build', '/nonexistent/upload', '-o', work.output('x.vhd'), '--allow-unsigned'];
  const traced = await runCli(work, args, TRACED);
  expect(traced.exitCode).toBe(2);
  expect(traced.stderr).toMatch(/^\s+at .*:\d+:\d+\)?$/m);
  expect(traced.stderr).toContain('ENOENT');
  const plain = await runCli(work, args);
  expect(plain.exitCode).toBe(2);
  expectCleanText(plain.stderr);
});

test('keys and contents are not in the trace', async () => {
  const work = workspace();
  const upload = work.input('upload', 'secret content '.repeat(1000));
  const { stderr } = await runCli(
    work,
    ['build', upload, '-o', work.output('x.raw'), '--allow-unsigned'],
    TRACED,
  );
  expect(stderr).not.toContain('secret content');
});
