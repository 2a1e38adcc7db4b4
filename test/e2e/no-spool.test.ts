import { beforeEach, expect, test } from 'vitest';
import { withSmallDisk } from '../oracles/kernel-mount.js';
import { requireRoot, requireTool } from '../oracles/require-tool.js';
import { runCli } from './cli.js';
import { MIB, uploadBytes } from './uploads.js';
import { workspace } from './workspace.js';

/*
 * No byte of the upload goes through a temporary file when the output is a file, or a VHD of known length: TMPDIR is a
 * disk with room for a template and not for the upload. Nor of a named file, whatever the output is.
 */

const UPLOAD_BYTES = 12 * MIB;
const SMALL_DISK_BYTES = 2 * MIB;

beforeEach((context) => {
  requireTool(context, 'mount');
  requireRoot(context);
});

/** @param named the upload is a file with a name, not what comes through a pipe */
const build = async (args: readonly string[], named = false): Promise<number | null> => {
  const work = workspace();
  const upload = work.input('upload', uploadBytes(UPLOAD_BYTES));
  const image = work.output('image');
  return await withSmallDisk(SMALL_DISK_BYTES, async (folder) => {
    const given = args.map((arg) => (arg === 'IMAGE' ? image : arg));
    const { exitCode } = await runCli(work, ['build', named ? upload : '-', '--allow-unsigned', ...given], {
      ...(named ? {} : { stdin: { path: upload, through: 'pipe' } }),
      ...(args.includes('IMAGE') ? {} : { stdout: { path: image, through: 'pipe' } }),
      env: { TMPDIR: folder },
    });
    return exitCode;
  });
};

const LENGTH = ['--content-length', String(UPLOAD_BYTES)];

test.each([
  ['raw, a file', ['--format', 'raw', '-o', 'IMAGE', ...LENGTH]],
  ['VHD, a file', ['--format', 'vhd', '-o', 'IMAGE', ...LENGTH]],
  ['fixed VHD, a file', ['--format', 'vhd-fixed', '-o', 'IMAGE', ...LENGTH]],
  ['VHD, a file, without a length', ['--format', 'vhd', '-o', 'IMAGE']],
  ['VHD, a stream', ['--format', 'vhd', ...LENGTH]],
])('%s: it is built with a TMPDIR that the upload does not fit into', async (_, args) => {
  expect(await build(args)).toBe(0);
});

test.each(['raw', 'vhd-fixed'])('%s, a stream, of a file: it is read twice instead', async (format) => {
  expect(await build(['--format', format], true)).toBe(0);
});

test('sabotage: a raw image behind a pipe is spooled, and does not get through', async () => {
  expect(await build(['--format', 'raw', ...LENGTH])).toBe(5);
});
