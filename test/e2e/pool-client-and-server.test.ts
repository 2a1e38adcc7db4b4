import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { requireTool } from '../oracles/require-tool.js';
import { runCli, startCli } from './cli.js';
import { workspace, type Workspace } from './workspace.js';

beforeEach((context) => requireTool(context, 'mke2fs', 'debugfs', 'e2fsck', 'gpgv'));

/* The two halves of this project together: the command line against a server started for real. */

interface Serving {
  readonly pool: (...args: readonly string[]) => Promise<Record<string, unknown>>;
  readonly stop: () => Promise<void>;
}

/** A first start: its address and password are what it prints. */
async function serving(work: Workspace, keyring: string): Promise<Serving> {
  const state = join(work.folder, 'state');
  const args = ['serve', '--state', state, '--listen', '127.0.0.1:0', '--keyring', keyring];
  const { child, ended } = startCli(work, args);
  let words = '';
  child.stderr?.on('data', (part: Buffer) => (words += part.toString('utf8')));
  await expect.poll(() => words).toMatch(/serves https:\/\/\S+:\d+/);
  const [url = ''] = /https:\/\/\S+:\d+/.exec(words) ?? [];
  const [, password = ''] = /shown only this once:\s+(\S+)/.exec(words) ?? [];
  expect(password).not.toBe('');
  return {
    async pool(...rest) {
      const { stdout } = await startCli(work, ['pool', ...rest, '--url', url, '--state', state, '--json'], {
        env: { PATCH_VDI_PASSWORD: password },
      }).ended;
      expect(stdout).not.toContain(password);
      return JSON.parse(stdout) as Record<string, unknown>;
    },
    async stop() {
      child.kill('SIGTERM');
      await ended;
    },
  };
}

test('a patch goes in, is listed, comes out, and goes away', async () => {
  const work = workspace();
  await runCli(work, ['test', 'key', '-o', join(work.folder, 'keys'), '--seed', '1']);
  const upload = join(work.folder, 'hotfix');
  const made = await runCli(work, [
    'test',
    'patch',
    '-o',
    upload,
    '--size',
    '3M',
    '--sign',
    join(work.folder, 'keys'),
  ]);
  expect(made.exitCode, made.stderr).toBe(0);
  const { pool, stop } = await serving(work, join(work.folder, 'keys/keyring.gpg'));

  expect(await pool('srs')).toMatchObject({ repositories: [{ isDefault: true }] });
  expect(await pool('upload', upload)).toMatchObject({
    ok: true,
    patch: { nameLabel: 'test-patch', sizeBytes: 3_145_728, place: { kind: 'vdi' } },
  });
  const output = work.output('back');
  expect(await pool('download', 'test-patch', '-o', output)).toMatchObject({
    ok: true,
    sizeBytes: 3_145_728,
  });
  expect(readFileSync(output).equals(readFileSync(upload))).toBe(true);

  const { vdis } = (await pool('vdis')) as { vdis: [{ uuid: string; virtualSizeBytes: number }] };
  // "A VDI will be created whose size is 4x the apparent size of the patch", of 16 MiB at least.
  expect(vdis).toMatchObject([{ virtualSizeBytes: 16_777_216, patch: { nameLabel: 'test-patch' } }]);
  const copy = await pool('vdi-copy', vdis[0].uuid, '--sr', 'Local storage');
  expect(copy).toMatchObject({ ok: true, vdi: { from: vdis[0].uuid } });
  expect((await pool('vdis'))['vdis']).toHaveLength(2);

  // The file part of `clean` has nothing to do here; `pool_clean` destroys the VDI.
  expect(await pool('clean', 'test-patch')).toMatchObject({ left: { record: true, vdi: true } });
  expect(await pool('pool-clean', 'test-patch')).toMatchObject({ left: { vdi: false } });
  const junk = work.input('junk', 'x'.repeat(100_000));
  expect(await pool('upload', junk)).toMatchObject({ ok: false, error: { kind: 'signature', exitCode: 3 } });
  expect((await pool('vdis'))['vdis']).toHaveLength(1);
  expect(await pool('tasks')).toMatchObject({ tasks: [] });
  await stop();
});
