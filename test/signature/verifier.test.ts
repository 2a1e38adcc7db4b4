import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SignaturePolicy } from '../../src/signature/policy.js';
import { drive, refusal, words, type DriveOptions } from './drive.js';
import { OpenPgpBench, type BenchKey } from './openpgp-bench.js';

let bench: OpenPgpBench;
let alice: BenchKey;
let bob: BenchKey;
let carol: BenchKey;
let policy: SignaturePolicy;
const CONTENT = Buffer.from('#!/bin/sh\necho hello\r\n\0\x1a\xff tail'.repeat(3), 'latin1');

beforeAll(() => {
  bench = new OpenPgpBench();
  alice = bench.key('Alice <alice@example.org>');
  bob = bench.key('Bob <bob@example.org>', 'rsa3072');
  carol = bench.key('Carol <carol@example.org>');
  bench.gpg(['--quick-add-key', carol.fingerprint, 'ed25519', 'sign', 'never']);
  policy = { keyrings: [bench.keyring()] };
});

afterAll(() => bench.close());

function check(
  upload: Uint8Array,
  changes: Partial<SignaturePolicy> = {},
  options: Partial<DriveOptions> = {},
) {
  return drive(upload, { ...policy, ...changes }, { temporaryFolder: bench.temporaryFolder, ...options });
}

async function refused(upload: Uint8Array, changes: Partial<SignaturePolicy> = {}): Promise<string> {
  const error = await refusal(check(upload, changes));
  expect(error.kind).toBe('signature');
  return words(error);
}

describe('good messages', () => {
  const forms: readonly (readonly [string, (content: Buffer) => Buffer])[] = [
    ['compressed by default', (content) => bench.sign(content, [alice])],
    ['uncompressed', (content) => bench.sign(content, [alice], '--compress-algo', 'none')],
    ['zip', (content) => bench.sign(content, [alice], '--compress-algo', 'zip')],
    ['zlib', (content) => bench.sign(content, [alice], '--compress-algo', 'zlib')],
    ['by RSA', (content) => bench.sign(content, [bob], '--compress-algo', 'none')],
    ['from a pipe', (content) => bench.signPiped(content, [alice], '--compress-algo', 'none')],
    ['from a pipe, compressed', (content) => bench.signPiped(content, [alice])],
    ['by a subkey', (content) => bench.sign(content, [carol], '--compress-algo', 'none')],
    ['by two', (content) => bench.sign(content, [alice, bob], '--compress-algo', 'none')],
    ['by two, compressed', (content) => bench.sign(content, [alice, bob])],
    ['with a notation', (content) => bench.sign(content, [alice], '--set-notation', 'a@b.c=more words')],
  ];

  it.each(forms)('%s, fed whole, byte by byte and in odd chunks', async (_, sign) => {
    const upload = sign(CONTENT);
    for (const chunks of [upload.length, 1, [1, 2, 3, 5, 7, 11, 13], 64]) {
      const { signatures } = await check(upload, {}, { chunks });
      expect(signatures[0]).toMatchObject({ weakDigest: false, expiredKey: false });
    }
  });

  it.each(forms)('%s, 3 MiB of content in chunks of 64 KiB', async (_, sign) => {
    const content = Buffer.concat([randomBytes(2 << 20), Buffer.alloc(1 << 20)]);
    const { signatures } = await check(sign(content), {}, { chunks: 65536 });
    expect(signatures.length).toBeGreaterThan(0);
  });

  it('the verdict names the signer', async () => {
    const before = Math.floor(Date.now() / 1000) - 1;
    const { signatures } = await check(bench.sign(CONTENT, [bob]));
    const [signature] = signatures;
    expect(signatures).toEqual([
      {
        primaryFingerprint: bob.fingerprint,
        signingFingerprint: bob.fingerprint,
        userId: bob.userId,
        createdAt: signature?.createdAt,
        hashAlgorithm: 'SHA512',
        weakDigest: false,
        expiredKey: false,
      },
    ]);
    expect(signature?.createdAt).toBeGreaterThan(before);
  });

  it('two signers make two signatures', async () => {
    const { signatures } = await check(bench.sign(CONTENT, [alice, bob]));
    expect(signatures.map((signature) => signature.primaryFingerprint).toSorted()).toEqual(
      [alice.fingerprint, bob.fingerprint].toSorted(),
    );
  });
});

describe('who signed', () => {
  it('a subkey is pinned by its primary key', async () => {
    const [primary = '', subkey = ''] = bench.fingerprints(carol.userId);
    const upload = bench.sign(CONTENT, [carol]);
    const { signatures } = await check(upload, {
      signers: [primary.toLowerCase().replace(/(.{4})/g, '$1 ')],
    });
    expect(signatures).toMatchObject([{ primaryFingerprint: primary, signingFingerprint: subkey }]);
    expect(await refused(upload, { signers: [subkey] })).toContain('not signed by a pinned signer');
  });

  it('another pinned signer refuses, and the message names both', async () => {
    const text = await refused(bench.sign(CONTENT, [alice]), { signers: [bob.fingerprint] });
    expect(text).toContain(alice.fingerprint);
    expect(text).toContain(bob.fingerprint);
  });

  it('an unknown key is named', async () => {
    const text = await refused(bench.sign(CONTENT, [alice]), { keyrings: [bench.keyring([bob])] });
    expect(text).toContain(`signed by key ${alice.fingerprint}, which is not in the keyring`);
  });

  it('one known signer of two is not enough', async () => {
    const text = await refused(bench.sign(CONTENT, [alice, bob]), { keyrings: [bench.keyring([bob])] });
    expect(text).toContain('not in the keyring');
  });
});
