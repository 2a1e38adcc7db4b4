import { createHash } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { mustBuild, type Ended } from './cli.js';
import { expectPatchDisk, requireImageJudges } from './judges/patch-disk.js';
import { IN_FORCE, makeSigningBench, type SigningBench } from './signed-uploads.js';
import { MIB } from './uploads.js';
import { workspace } from './workspace.js';

let bench: SigningBench;
beforeAll(() => {
  bench = makeSigningBench();
});
afterAll(() => bench.close());

interface Accepted {
  readonly upload: Buffer;
  readonly args?: readonly string[];
  /** Primary fingerprints, in the order of the message. */
  readonly signers: readonly string[];
}

const ACCEPTED: readonly (readonly [name: string, make: () => Accepted])[] = [
  ['uncompressed', () => ({ upload: bench.plain, signers: [bench.alice.fingerprint] })],
  [
    'compressed, as gpg does by default',
    () => ({ upload: bench.gpg.sign(bench.content, [bench.alice]), signers: [bench.alice.fingerprint] }),
  ],
  [
    'bzip2 was not asked for, zlib was',
    () => ({
      upload: bench.gpg.sign(bench.content, [bench.bob], '--compress-algo', 'zlib'),
      signers: [bench.bob.fingerprint],
    }),
  ],
  [
    'from a pipe, with partial lengths',
    () => ({
      upload: bench.gpg.signPiped(bench.content, [bench.alice], '-z', '0'),
      signers: [bench.alice.fingerprint],
    }),
  ],
  [
    'from a pipe, compressed',
    () => ({ upload: bench.gpg.signPiped(bench.content, [bench.bob]), signers: [bench.bob.fingerprint] }),
  ],
  [
    'by two signers, one of them pinned',
    () => ({
      upload: bench.gpg.sign(bench.content, [bench.alice, bench.bob]),
      args: ['--signer', bench.stranger.fingerprint, '--signer', bench.bob.fingerprint.toLowerCase()],
      // The last one-pass packet belongs to the first signature.
      signers: [bench.bob.fingerprint, bench.alice.fingerprint],
    }),
  ],
  [
    'detached',
    () => ({
      upload: bench.content,
      args: ['--signature', bench.gpg.file(bench.gpg.detach(bench.content, [bench.alice]))],
      signers: [bench.alice.fingerprint],
    }),
  ],
  [
    'detached and armoured, with an armoured keyring',
    () => ({
      upload: bench.content,
      args: [
        '--signature',
        bench.gpg.file(bench.gpg.detach(bench.content, [bench.bob], '--armor')),
        '--keyring',
        bench.gpg.keyring([bench.bob], '--armor'),
      ],
      signers: [bench.bob.fingerprint],
    }),
  ],
  [
    'a key of the second keyring',
    () => ({
      upload: bench.gpg.sign(bench.content, [bench.stranger]),
      args: ['--keyring', bench.gpg.keyring([bench.stranger])],
      signers: [bench.stranger.fingerprint],
    }),
  ],
];

test.for(ACCEPTED)('%s: what was uploaded is what the disk holds', async ([, make], context) => {
  requireImageJudges(context);
  const { upload, args = [], signers } = make();
  const work = workspace();
  const path = work.input('upload', upload);
  const image = work.output('x.vhd');
  const ended = await mustBuild(
    work,
    [
      '-',
      '-o',
      image,
      '--keyring',
      bench.keyring,
      '--content-length',
      String(upload.length),
      '--json',
      ...args,
    ],
    { stdin: { path, through: 'pipe' } },
  );
  const result = JSON.parse(ended.stdout) as {
    verifiedBy: string;
    signatures: { primaryFingerprint: string }[];
  };
  expect(result.verifiedBy).toBe('signature');
  expect(result.signatures.map(({ primaryFingerprint }) => primaryFingerprint).sort()).toEqual(
    [...signers].sort(),
  );
  const virtualSize = Math.ceil((4 * upload.length) / (2 * MIB)) * 2 * MIB;
  await expectPatchDisk(image, 'vhd', path, Math.max(16 * MIB, virtualSize));
});

/** The summary for people, without --json. */
async function summary(upload: Buffer, ...args: string[]): Promise<Ended> {
  const work = workspace();
  const path = work.input('upload', upload);
  return await mustBuild(work, [path, '-o', work.output('x.raw'), '--keyring', bench.keyring, ...args]);
}

test('the summary names the signer and the fingerprint', async () => {
  const { stdout } = await summary(bench.plain, '--signer', bench.alice.fingerprint);
  expect(stdout).toContain('Alice <alice@example.org>');
  expect(stdout).toContain(bench.alice.fingerprint);
  expect(stdout).not.toContain('allowed');
});

test('the summary says that a weak digest was allowed', async () => {
  const upload = bench.gpg.sign(bench.content, [bench.bob], '--digest-algo', 'SHA1');
  const { stdout } = await summary(upload, '--allow-weak-digest');
  expect(stdout).toContain('weak digest SHA1 allowed');
});

test('the summary says that an expired key was allowed', async () => {
  const upload = bench.gpg.sign(bench.content, [bench.expired], ...IN_FORCE);
  const { stdout } = await summary(upload, '--allow-expired-key');
  expect(stdout).toContain('expired key allowed');
});

test('the right SHA-256 suffices, in either case, and goes with a signature, too', async () => {
  const sum = createHash('sha256').update(bench.plain).digest('hex');
  const work = workspace();
  const path = work.input('upload', bench.plain);
  const alone = await mustBuild(work, [
    path,
    '-o',
    work.output('1.raw'),
    '--json',
    '--allow-sha256',
    sum.toUpperCase(),
  ]);
  expect(JSON.parse(alone.stdout)).toMatchObject({ verifiedBy: 'sha256', sha256: sum, signatures: [] });
  const args = ['--allow-sha256', sum, '--keyring', bench.keyring];
  const both = await mustBuild(work, [path, '-o', work.output('2.raw'), '--json', ...args]);
  expect(JSON.parse(both.stdout)).toMatchObject({ verifiedBy: 'signature and sha256', sha256: sum });
});
