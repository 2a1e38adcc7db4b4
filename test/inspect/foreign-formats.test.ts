import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { FOREIGN_START_BYTES, foreignFormat } from '../../src/inspect/foreign-formats.js';
import { openImage } from '../../src/inspect/open-image.js';
import type { PatchVdiError } from '../../src/errors.js';
import { MIB } from '../../src/units.js';
import { requireTool } from '../oracles/require-tool.js';
import { runJudge } from '../oracles/run-judge.js';
import { createSparse, readAt } from '../oracles/sample-image.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';

const run = (program: string, ...args: string[]): void => {
  const result = runJudge(program, args);
  expect(result.exitCode, result.stderr).toBe(0);
};

/** Made by the programs whose formats they are. */
const MAKERS: readonly (readonly [name: string, tools: readonly string[], make: (path: string) => void])[] = [
  ['a qcow2 image', ['qemu-img'], (path) => run('qemu-img', 'create', '-q', '-f', 'qcow2', path, '64M')],
  ['a VHDX image', ['qemu-img'], (path) => run('qemu-img', 'create', '-q', '-f', 'vhdx', path, '64M')],
  ['a VMDK image', ['qemu-img'], (path) => run('qemu-img', 'create', '-q', '-f', 'vmdk', path, '64M')],
  [
    'a VirtualBox VDI image',
    ['qemu-img'],
    (path) => run('qemu-img', 'create', '-q', '-f', 'vdi', path, '64M'),
  ],
  [
    'a gzip file',
    ['gzip'],
    (path) => {
      writeFileSync(`${path}.plain`, 'x'.repeat(100_000));
      run('gzip', `${path}.plain`);
      run('mv', `${path}.plain.gz`, path);
    },
  ],
  ['swap space', ['mkswap'], (path) => run('mkswap', createSparse(path, MIB))],
  [
    'a tar archive',
    ['tar'],
    (path) => {
      writeFileSync(`${path}.plain`, 'x'.repeat(100_000));
      run('tar', '-C', '/', '--format=ustar', '-cf', path, `${path}.plain`.slice(1));
    },
  ],
];

test.for(MAKERS)('%s', ([name, tools, make], context) => {
  requireTool(context, ...tools);
  const path = join(temporaryFolder(), 'image');
  make(path);
  expect(foreignFormat(readAt(path, 0, FOREIGN_START_BYTES))?.name).toBe(name);
});

test('an upload that is taken for the image is called one, and the error says what to do', async (context) => {
  requireTool(context, 'gpg');
  const folder = temporaryFolder();
  const home = join(folder, 'h');
  run('mkdir', '-m', '700', home);
  const gpg = ['--homedir', home, '--batch', '--quiet', '--pinentry-mode', 'loopback', '--passphrase', ''];
  run('gpg', ...gpg, '--quick-gen-key', 'somebody', 'rsa2048', 'sign', 'never');
  writeFileSync(join(folder, 'plain'), randomBytes(MIB));
  const open = async (path: string): Promise<unknown> => {
    const image = await openImage(path);
    try {
      return await image.filesystem().catch((error: unknown) => error);
    } finally {
      await image.close();
    }
  };
  for (const options of [[], ['--compress-algo', 'none'], ['--armor']]) {
    const path = join(folder, `upload-${options.length}${options[0] ?? ''}`);
    run('gpg', ...gpg, ...options, '--output', path, '--sign', join(folder, 'plain'));
    const error = await open(path);
    expect(error).toMatchObject({ kind: 'image' });
    if (options[0] === '--armor') {
      expect(error).toMatchObject({ context: { found: 'an armoured OpenPGP file' } });
    } else {
      expect(error).toMatchObject({ message: 'this is an upload, and not the image of a disk' });
      expect((error as PatchVdiError).hint).toContain('patch-vdi build');
    }
  }
  run('gpgconf', '--homedir', home, '--kill', 'all');
  // What was signed is none.
  expect(await open(join(folder, 'plain'))).not.toMatchObject({
    message: 'this is an upload, and not the image of a disk',
  });
});

test('what nobody knows has no name', () => {
  expect(foreignFormat(new Uint8Array(FOREIGN_START_BYTES))).toBeUndefined();
  expect(foreignFormat(new Uint8Array(3))).toBeUndefined();
});
