import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { CLI, runCli, type Ended } from '../e2e/cli.js';
import { uploadBytes } from '../e2e/uploads.js';
import { workspace, type Workspace } from '../e2e/workspace.js';
import { clean } from '../oracles/e2fsck.js';
import { requireTool, unavailable } from '../oracles/require-tool.js';

/** The user and group "nobody". */
const NOBODY = 65_534;
const asNobody = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'];
/** Whoever is not root needs no disguise. */
const wrapper = process.getuid?.() === 0 ? asNobody : [];

beforeEach((context) => {
  if (wrapper.length === 0) return;
  requireTool(context, 'setpriv');
  const seen = spawnSync('setpriv', [...asNobody.slice(1), process.execPath, CLI, '--version']);
  if (seen.status !== 0) unavailable(context, `nobody may not read ${CLI}`);
});

function build(work: Workspace, image: string): Promise<Ended> {
  const upload = work.input('upload', uploadBytes(10_000));
  chmodSync(work.folder, 0o755);
  chmodSync(work.tmp, 0o777);
  return runCli(work, ['build', upload, '-o', image, '--allow-unsigned'], { wrapper });
}

test('a build needs no root', async () => {
  const work = workspace();
  chmodSync(work.out, 0o777);
  const { exitCode, stderr } = await build(work, work.output('x.raw'));
  expect(exitCode, stderr).toBe(0);
  clean(work.output('x.raw'));
  if (wrapper.length > 0) expect(statSync(work.output('x.raw')).uid).toBe(NOBODY);
});

test('a folder that the caller may not write to', async () => {
  const work = workspace();
  const folder = work.output('folder');
  mkdirSync(folder);
  chmodSync(folder, 0o555);
  const { exitCode, stderr } = await build(work, join(folder, 'x.raw'));
  expect(exitCode).toBe(2);
  expect(stderr).toContain('choose a folder that you may write to');
  expect(stderr).toContain('nothing was touched');
});

test('an upload that the caller may not read', async () => {
  const work = workspace();
  const secret = work.input('secret', 'x');
  chmodSync(secret, 0);
  chmodSync(work.folder, 0o755);
  const args = ['build', secret, '-o', work.output('x.raw'), '--allow-unsigned'];
  const { exitCode, stderr } = await runCli(work, args, { wrapper });
  expect(exitCode).toBe(2);
  expect(stderr).toContain('EACCES');
});
