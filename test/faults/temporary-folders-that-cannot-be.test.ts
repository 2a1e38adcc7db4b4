import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { runCli, type RunOptions } from '../e2e/cli.js';
import { expectNoOutput } from '../e2e/judges/nothing-usable.js';
import { workspace, type Workspace } from '../e2e/workspace.js';
import { CraftedKey } from '../signature/craft.js';
import { withSmallDisk } from '../oracles/kernel-mount.js';
import { requireRoot } from '../oracles/require-tool.js';

/** A plain build, one that needs a private home for gpgv, and one that keeps the upload first. */
const BUILDS: readonly (readonly [string, (work: Workspace) => [string[], RunOptions]])[] = [
  [
    'a build',
    (work) => [['build', work.input('u', 'x'), '-o', work.output('x.vhd'), '--allow-unsigned'], {}],
  ],
  [
    'a build with a keyring',
    (work) => {
      const keyring = work.input('keys.gpg', new CraftedKey('Mallory').keyring());
      return [['build', work.input('u', 'x'), '-o', work.output('x.vhd'), '--keyring', keyring], {}];
    },
  ],
  [
    'a raw image for a pipe',
    (work) => [
      ['build', '-', '--content-length', '1', '--format', 'raw', '--allow-unsigned'],
      {
        stdin: { path: work.input('u', 'x'), through: 'pipe' },
        stdout: { path: '/dev/null', through: 'pipe' },
      },
    ],
  ],
  ['a plan', (work) => [['plan', work.input('u', 'x'), '--format', 'raw'], {}]],
];

test.for(BUILDS)('%s without a temporary folder', async ([, make]) => {
  const work = workspace();
  const [args, options] = make(work);
  for (const folder of [`${work.folder}/missing`, work.input('file', 'x')]) {
    const { exitCode, stderr } = await runCli(work, args, { ...options, env: { TMPDIR: folder } });
    expect(exitCode, stderr).toBe(2);
    expect(stderr).toContain(folder);
    expect(stderr).toContain('set TMPDIR to another folder');
    expectNoOutput(work);
  }
});

test.for(BUILDS)('%s with a temporary folder that is read-only', async ([, make], context) => {
  requireRoot(context);
  const work = workspace();
  const [args, options] = make(work);
  await withSmallDisk(
    1 << 20,
    async (folder) => {
      const { exitCode, stderr } = await runCli(work, args, { ...options, env: { TMPDIR: folder } });
      expect(exitCode, stderr).toBe(2);
      expect(stderr).toContain('TMPDIR');
      expectNoOutput(work);
    },
    'ro',
  );
});

test.for(BUILDS)('%s with a temporary folder that is full', async ([, make], context) => {
  requireRoot(context);
  const work = workspace();
  const [args, options] = make(work);
  await withSmallDisk(1 << 16, async (folder) => {
    expect(() => writeFileSync(join(folder, 'filler'), Buffer.alloc(1 << 17))).toThrow('ENOSPC');
    const { exitCode, stderr } = await runCli(work, args, { ...options, env: { TMPDIR: folder } });
    expect(exitCode, stderr).toBe(5);
    expect(stderr).toContain('TMPDIR');
    expectNoOutput(work);
  });
});
