import { afterAll, beforeAll, expect, test } from 'vitest';
import { OpenPgpBench } from '../signature/openpgp-bench.js';
import { runCli } from './cli.js';
import { MIB, uploadBytes } from './uploads.js';
import { workspace } from './workspace.js';

/*
 * The clear text is taken out into the scratch space later, so it must fit there, whatever the way in and whether the
 * length of the upload is known: 9 MiB leave 7 MiB at most in a disk of 16 MiB, less its metadata.
 */

let gpg: OpenPgpBench;
let keyring: string;
let message: Buffer;
beforeAll(() => {
  gpg = new OpenPgpBench();
  const key = gpg.key('Room <room@example.org>');
  keyring = gpg.keyring([key]);
  message = gpg.sign(uploadBytes(9 * MIB), [key], '--compress-algo', 'none');
});
afterAll(() => gpg.close());

const build = async (through: 'pipe' | 'redirection', size: string, ...args: readonly string[]) => {
  const work = workspace();
  const upload = work.input('upload', message);
  const output = args.includes('-o') ? {} : { stdout: { path: work.output('x'), through: 'pipe' as const } };
  const given = args.map((arg) => (arg === 'IMAGE' ? work.output('x') : arg));
  return await runCli(work, ['build', '-', '--keyring', keyring, '--size', size, ...given], {
    stdin: { path: upload, through },
    ...output,
  });
};

test.each([
  ['a file into a file', 'redirection', ['--format', 'raw', '-o', 'IMAGE']],
  ['a pipe into a file', 'pipe', ['--format', 'raw', '-o', 'IMAGE']],
  ['a pipe into a VHD stream', 'pipe', ['--format', 'vhd']],
  ['a pipe into a raw stream', 'pipe', ['--format', 'raw']],
] as const)('%s: a clear text without room is refused, and taken with room', async (_, through, args) => {
  const refused = await build(through, '16M', ...args);
  expect(refused.exitCode, refused.stderr).toBe(3);
  expect(refused.stderr).toContain('clear text of the signed message is too large');
  const taken = await build(through, '32M', ...args);
  expect(taken.exitCode, taken.stderr).toBe(0);
});
