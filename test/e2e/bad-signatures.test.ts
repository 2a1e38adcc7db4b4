import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { flip, splice } from '../signature/openpgp-bench.js';
import { runCli } from './cli.js';
import { expectNoOutput, expectUselessOutput } from './judges/nothing-usable.js';
import { requireImageJudges } from './judges/patch-disk.js';
import { IN_FORCE, makeSigningBench, type SigningBench } from './signed-uploads.js';
import { uploadBytes } from './uploads.js';
import { workspace } from './workspace.js';

let bench: SigningBench;
beforeAll(() => {
  bench = makeSigningBench();
});
afterAll(() => bench.close());

interface Refused {
  readonly upload: Buffer;
  readonly args?: readonly string[];
  /** All of these must be in the message. */
  readonly says: readonly (string | RegExp)[];
}

const at = (offset: number): Buffer => flip(bench.plain, offset);
const clearTextStart = (): number => bench.plain.indexOf(bench.content.subarray(0, 64));
const clearTextEnd = (): number => clearTextStart() + bench.content.length;
/** The body of the signature packet follows a header of two octets (old format, one-octet length). */
const signatureStart = (): number => clearTextEnd() + 2;
const detached = (content: Uint8Array, ...args: string[]): string =>
  bench.gpg.file(bench.gpg.detach(content, [bench.alice], ...args));
const BAD = [/BAD signature/, 'Alice <alice@example.org>'];

const REFUSED: readonly (readonly [name: string, make: () => Refused])[] = [
  ['first byte of the clear text changed', () => ({ upload: at(clearTextStart()), says: BAD })],
  [
    'a middle byte of the clear text changed',
    () => ({ upload: at(clearTextStart() + 1_500_000), says: BAD }),
  ],
  ['last byte of the clear text changed', () => ({ upload: at(clearTextEnd() - 1), says: BAD })],
  ['first byte of the signature changed', () => ({ upload: at(signatureStart()), says: [/signature/] })],
  [
    'a middle byte of the signature changed',
    () => ({ upload: at(signatureStart() + 60), says: [/signature/i] }),
  ],
  [
    'last byte of the signature changed',
    () => ({ upload: at(bench.plain.length - 1), says: [/signature/i] }),
  ],
  [
    'a byte of the compressed data changed',
    () => {
      const upload = bench.gpg.sign(bench.content, [bench.alice]);
      return { upload: flip(upload, upload.length >> 1), says: [/signature|compressed|decompress|inflate/i] };
    },
  ],
  ['cut off in the clear text', () => ({ upload: bench.plain.subarray(0, 2_000_000), says: [/end/] })],
  ['cut off in the signature', () => ({ upload: bench.plain.subarray(0, -1), says: [/end/] })],
  ['no signature packet', () => ({ upload: bench.plain.subarray(0, clearTextEnd()), says: [/signature/i] })],
  [
    'an unknown key',
    () => ({
      upload: bench.gpg.sign(bench.content, [bench.stranger]),
      says: [bench.stranger.fingerprint.slice(-16), /not in the keyring/],
    }),
  ],
  [
    'one of two keys is unknown',
    () => ({
      upload: bench.gpg.sign(bench.content, [bench.alice, bench.stranger]),
      says: [/not in the keyring/],
    }),
  ],
  [
    'an expired key',
    () => ({
      upload: bench.gpg.sign(bench.content, [bench.expired], ...IN_FORCE),
      says: ['Expired <expired@example.org>', 'has expired', '--allow-expired-key'],
    }),
  ],
  [
    'a revoked key, whatever is allowed',
    () => ({
      upload: bench.byRevoked,
      args: ['--allow-expired-key', '--allow-weak-digest'],
      says: ['Revoked <revoked@example.org>', 'was revoked'],
    }),
  ],
  [
    'SHA-1',
    () => ({
      upload: bench.gpg.sign(bench.content, [bench.bob], '--digest-algo', 'SHA1'),
      says: ['SHA1', 'weak digest', '--allow-weak-digest'],
    }),
  ],
  [
    'MD5, whatever is allowed',
    () => ({
      upload: bench.gpg.sign(bench.content, [bench.bob], '--digest-algo', 'MD5', '--allow-weak-digest-algos'),
      args: ['--allow-weak-digest'],
      says: ['MD5'],
    }),
  ],
  [
    'a wrong pinned signer',
    () => ({
      upload: bench.plain,
      args: ['--signer', bench.bob.fingerprint],
      says: ['not signed by a pinned signer', bench.alice.fingerprint, bench.bob.fingerprint],
    }),
  ],
  ['bytes before', () => ({ upload: splice(bench.plain, 0, '\0'), says: [/not a binary signed message/] })],
  [
    'bytes after',
    () => ({ upload: splice(bench.plain, bench.plain.length, '\0'), says: [/no OpenPGP packet/] }),
  ],
  ['a second message', () => ({ upload: Buffer.concat([bench.plain, bench.plain]), says: [/follows/] })],
  [
    'armoured',
    () => ({
      upload: bench.gpg.sign(bench.content, [bench.alice], '--armor'),
      says: ['armoured', '--dearmor'],
    }),
  ],
  [
    'not signed at all',
    () => ({ upload: Buffer.from('#!/bin/sh\n'), says: ['a script without a signature'] }),
  ],
  [
    'a ZIP archive that is the upload itself',
    () => ({
      upload: Buffer.concat([Buffer.from('PK\x03\x04'), bench.content]),
      args: ['--no-unzip'],
      says: ['ZIP', 'unzip'],
    }),
  ],
  [
    'a detached signature for another file',
    () => ({ upload: bench.content, args: ['--signature', detached(uploadBytes(1000))], says: BAD }),
  ],
  [
    'a detached signature, and one byte more',
    () => ({
      upload: Buffer.concat([bench.content, Buffer.of(0)]),
      args: ['--signature', detached(bench.content)],
      says: BAD,
    }),
  ],
  [
    'a message instead of a detached signature',
    () => ({
      upload: bench.content,
      args: ['--signature', bench.gpg.file(bench.gpg.sign('small', [bench.alice]))],
      says: ['not a detached signature'],
    }),
  ],
  [
    'an empty detached signature',
    () => ({
      upload: bench.content,
      args: ['--signature', bench.gpg.file('')],
      says: ['not a detached signature'],
    }),
  ],
  [
    'a good signature and a wrong SHA-256',
    () => ({
      upload: bench.plain,
      args: ['--allow-sha256', '0'.repeat(64)],
      says: ['another SHA-256', '0'.repeat(64)],
    }),
  ],
];

describe('what is not signed as it must be', () => {
  beforeEach((context) => requireImageJudges(context));

  test.for(REFUSED)('%s: no file with -o, nothing of use behind >', async ([, make]) => {
    const { upload, args = [], says } = make();
    const work = workspace();
    const path = work.input('upload', upload);
    const verify = ['--keyring', bench.keyring, ...args];

    const toFile = await runCli(work, ['build', path, '-o', work.output('x.vhd'), ...verify]);
    expect(toFile.exitCode, toFile.stderr).toBe(3);
    for (const words of says) expect(oneLine(toFile.stderr)).toMatch(words);
    expect(toFile.stderr).toContain('left behind');
    expect(toFile.stdout).toBe('');
    expectNoOutput(work);

    for (const format of ['vhd', 'raw'] as const) {
      const image = work.output(`stdout.${format}`);
      const { exitCode, stderr } = await runCli(
        work,
        ['build', '-', '--content-length', String(upload.length), '--format', format, ...verify],
        { stdin: { path, through: 'pipe' }, stdout: { path: image, through: 'redirection' } },
      );
      expect(exitCode, stderr).toBe(3);
      await expectUselessOutput(image, format);
    }
  });
});

/** Long lines are wrapped; what is looked for may be cut in two. */
function oneLine(text: string): string {
  return text.replaceAll(/\n\s*/g, ' ');
}

const REFUSED_UNTOUCHED: readonly (readonly [
  name: string,
  exitCode: number,
  args: () => string[],
  says: string,
])[] = [
  ['nothing says how to verify', 3, () => [], 'nothing says how to verify the upload'],
  [
    'allowed unsigned beside a keyring',
    2,
    () => ['--allow-unsigned', '--keyring', bench.keyring],
    'both verified and allowed unsigned',
  ],
  [
    'allowed unsigned beside a SHA-256',
    2,
    () => ['--allow-unsigned', '--allow-sha256', '0'.repeat(64)],
    'both verified and allowed unsigned',
  ],
  ['a SHA-256 that is none', 2, () => ['--allow-sha256', 'abc'], '64 hexadecimal digits'],
  ['a signer without a keyring', 2, () => ['--signer', bench.alice.fingerprint], '--signer needs a keyring'],
  [
    'a short signer',
    2,
    () => ['--keyring', bench.keyring, '--signer', bench.alice.fingerprint.slice(-16)],
    'full fingerprint',
  ],
  [
    'a detached signature without a keyring',
    2,
    () => ['--signature', bench.keyring],
    '--signature needs a keyring',
  ],
  ['a missing keyring', 2, () => ['--keyring', '/nonexistent/keys.gpg'], '/nonexistent/keys.gpg'],
  ['an empty keyring', 2, () => ['--keyring', bench.gpg.file('')], 'the keyring is empty'],
  [
    'a keyring that is none',
    2,
    () => ['--keyring', bench.gpg.file('no keys here')],
    'not a file of OpenPGP public keys',
  ],
  [
    'a keyring with secret keys',
    2,
    () => ['--keyring', bench.gpg.file(bench.gpg.gpg(['--export-secret-keys', bench.alice.fingerprint]))],
    'secret key',
  ],
  [
    'a missing detached signature',
    2,
    () => ['--keyring', bench.keyring, '--signature', '/nonexistent/x.sig'],
    '/nonexistent/x.sig',
  ],
];

test.for(REFUSED_UNTOUCHED)('%s: exit code %i, nothing was written', async ([, exitCode, args, says]) => {
  const work = workspace();
  const path = work.input('upload', bench.plain);
  const toFile = await runCli(work, ['build', path, '-o', work.output('x.vhd'), ...args()]);
  expect(toFile).toMatchObject({ exitCode, stdout: '' });
  expect(oneLine(toFile.stderr)).toContain(says);
  expectNoOutput(work);
  const toStdout = await runCli(work, ['build', path, '--format', 'vhd', ...args()]);
  expect(toStdout).toMatchObject({ exitCode, stdout: '' });
});

test('a wrong SHA-256 alone', async (context) => {
  requireImageJudges(context);
  const work = workspace();
  const path = work.input('upload', bench.content);
  const verify = ['--allow-sha256', 'f'.repeat(64)];
  const toFile = await runCli(work, ['build', path, '-o', work.output('x.raw'), ...verify]);
  expect(toFile.exitCode).toBe(3);
  expect(oneLine(toFile.stderr)).toContain('another SHA-256');
  expectNoOutput(work);
  const image = work.output('stdout.vhd');
  const redirected = await runCli(work, ['build', path, '--format', 'vhd', ...verify], {
    stdout: { path: image, through: 'redirection' },
  });
  expect(redirected.exitCode).toBe(3);
  await expectUselessOutput(image, 'vhd');
});
