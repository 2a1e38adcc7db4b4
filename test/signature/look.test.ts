import { constants, deflateRawSync, deflateSync, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LOOK_BYTES, lookAtUpload, type UploadLook } from '../../src/signature/look.js';
import { MIB } from '../../src/units.js';
import {
  ATTACKS,
  compressed,
  compressedToTheEnd,
  CONTENT,
  GOOD,
  LITERAL,
  mallory,
  message,
  ONE_PASS,
  onePass,
  SIGNATURE,
} from './container-attacks.js';
import { literal, uint } from './craft.js';
import { drive } from './drive.js';
import { flip, OpenPgpBench, packet, splice, type BenchKey } from './openpgp-bench.js';

/** The judge is `gpg --list-packets`, which needs no keys either. */
let bench: OpenPgpBench;
const keys: BenchKey[] = [];
const TEXT = Buffer.from('#!/bin/sh\necho hello\n'.repeat(20_000));

beforeAll(() => {
  bench = new OpenPgpBench();
  for (const algorithm of ['ed25519', 'rsa2048', 'dsa2048', 'nistp256']) {
    keys.push(bench.key(`${algorithm} <${algorithm}@example.org>`, algorithm));
  }
});

afterAll(() => bench.close());

const look = (upload: Uint8Array, total = upload.length) =>
  lookAtUpload(upload.subarray(0, LOOK_BYTES), total);

/** RFC 4880 §9.1 and §9.4, by hand. */
const PUBLIC_KEY_NAMES: Readonly<Record<string, string>> = { 1: 'RSA', 17: 'DSA', 19: 'ECDSA', 22: 'EdDSA' };
const HASH_NAMES: Readonly<Record<string, string>> = { 2: 'SHA1', 8: 'SHA256', 9: 'SHA384', 10: 'SHA512' };
const COMPRESSION_NAMES: Readonly<Record<string, string>> = { 1: 'ZIP', 2: 'ZLIB', 3: 'BZip2' };

/** What gpg sees: the same fields, out of its own listing. */
function gpgSees(upload: Uint8Array): Pick<UploadLook, 'compression' | 'signers'> {
  const listing = bench.gpg(['--list-packets'], upload).toString();
  const algorithm = /^:compressed packet: algo=(\d+)$/m.exec(listing)?.[1];
  const onePasses = listing.matchAll(
    /^:onepass_sig packet: keyid ([0-9A-F]{16})\n\tversion 3, sigclass 0x00, digest (\d+), pubkey (\d+), last=[01]$/gm,
  );
  return {
    compression: (algorithm === undefined
      ? 'none'
      : COMPRESSION_NAMES[algorithm]) as UploadLook['compression'],
    signers: [...onePasses].map(([, keyId = '', digest = '', publicKey = '']) => ({
      keyId,
      publicKeyAlgorithm: PUBLIC_KEY_NAMES[publicKey] ?? '?',
      hashAlgorithm: HASH_NAMES[digest] ?? '?',
    })),
  };
}

describe('messages made by gpg', () => {
  const SIGNERS = [[0], [1], [2], [3], [0, 1], [3, 2, 1, 0]];
  const DIGESTS = ['SHA256', 'SHA384', 'SHA512'];

  describe.each(['none', 'zip', 'zlib'])('%s', (compression) => {
    it.each(SIGNERS.map((signers) => [signers]))('by keys %j', async (signers) => {
      const by = signers.flatMap((index) => keys[index] ?? []);
      for (const digest of DIGESTS) {
        const args = ['--compress-algo', compression, '--digest-algo', digest];
        for (const upload of [bench.sign(TEXT, by, ...args), bench.signPiped('short', by, ...args)]) {
          const seen = await look(upload);
          expect({ compression: seen.compression, signers: seen.signers }).toEqual(gpgSees(upload));
          expect(seen.signers).toHaveLength(signers.length);
          expect([seen.kind, seen.complaint]).toEqual(['signed message', undefined]);
        }
      }
    });
  });

  it('are described in words', async () => {
    const describeIt = async (...args: Parameters<OpenPgpBench['sign']>) =>
      (await look(bench.sign(...args))).description.replaceAll(/[0-9A-F]{16}/g, 'ID');
    const [ed, rsa, dsa, nist] = keys as [BenchKey, BenchKey, BenchKey, BenchKey];
    const sha256 = ['--digest-algo', 'SHA256', '--compress-algo', 'zip'];
    expect(await describeIt(TEXT, [ed], ...sha256)).toBe(
      'an OpenPGP signed message, compressed with ZIP, SHA-256, by key ID',
    );
    expect(await describeIt(TEXT, [rsa, dsa], '--compress-algo', 'none', '--digest-algo', 'SHA512')).toBe(
      'an OpenPGP signed message, not compressed, SHA-512, by keys ID and ID',
    );
    expect(await describeIt(TEXT, [rsa, dsa, nist, ed], ...sha256)).toBe(
      'an OpenPGP signed message, compressed with ZIP, SHA-256, by keys ID, ID, ID and 1 more',
    );
  });

  it('that we refuse are recognised', async () => {
    const [key] = keys as [BenchKey];
    const by = [key];
    const bzip2 = await look(bench.sign(TEXT, by, '--compress-algo', 'bzip2'));
    expect(bzip2).toMatchObject({ kind: 'not a signed message', compression: 'BZip2', signers: [] });
    expect(bzip2.description).toContain('compressed with BZip2, so it cannot be looked into');
    expect(bzip2.complaint).toContain('BZip2 (algorithm 3), expected ZIP (1) or ZLIB (2)');

    const text = await look(bench.sign('a\n', by, '--textmode'));
    expect([text.kind, text.signers.length]).toEqual(['signed message', 1]);
    expect(text.complaint).toContain('a text-mode signature');

    const unsigned = await look(bench.gpg(['--store', '--compress-algo', 'zip'], TEXT));
    expect([unsigned.kind, unsigned.compression]).toEqual(['not a signed message', 'ZIP']);
    expect(unsigned.description).toContain('with no signer to be seen');
    expect(unsigned.complaint).toContain('not a signed message at byte 0 of the decompressed data');

    const armoured = await look(bench.sign(TEXT, by, '--armor'));
    expect(armoured.description).toBe('an armoured OpenPGP message');
    const cleartext = await look(bench.gpg(['-u', key.fingerprint, '--clearsign'], 'text\n'));
    expect(cleartext.description).toBe('a cleartext-signed message');
    const detached = await look(bench.detach(TEXT, by));
    expect(detached.description).toBe('a Signature packet at its start');
  });
});

describe('the judge', () => {
  it('tells another key, digest and compression apart', async () => {
    const upload = bench.sign(TEXT, keys.slice(1, 2), '--compress-algo', 'none');
    // The header takes two octets, then version, type, hash, public-key algorithm and key id (RFC 4880 §5.4).
    for (const offset of [2 + 2, 2 + 3, 2 + 4]) {
      const { signers } = await look(flip(upload, offset, 2));
      expect(signers).not.toEqual(gpgSees(upload).signers);
    }
    expect((await look(compressed(GOOD))).compression).not.toBe(gpgSees(GOOD).compression);
  });
});

describe('what is no message', () => {
  it.each([
    ['a ZIP file', Buffer.from('PK\u0003\u0004rest')],
    ['a script without a signature', Buffer.from('#!/bin/sh\necho\n')],
    ['a gzip file', gzipSync('x')],
    ['no bytes at all', Buffer.alloc(0)],
    ['unknown data that begins with bytes 1b 5b 33 31 6d', Buffer.from('\u001b[31m')],
  ])('%s', async (description, upload) => {
    expect(await look(upload)).toMatchObject({
      kind: 'not a signed message',
      description,
      compression: undefined,
      signers: [],
    });
    expect((await look(upload)).complaint).toContain('the upload is not a binary signed message');
  });
});

describe('complaints', () => {
  /** What gpgv or the caller's limit refuses, not the grammar, and what is longer than a look. */
  const OTHERS_BUSINESS = ['one-pass with another hash', 'a literal of 4 GiB'];
  const ours = ATTACKS.filter(
    ({ name, upload }) => upload.length <= LOOK_BYTES && !OTHERS_BUSINESS.includes(name),
  );

  it.each(ours.map((attack) => [attack.name, attack] as const))(
    'about the attack: %s',
    async (_, { upload, says }) => {
      const { complaint, signers } = await look(upload);
      expect(complaint).toContain(says);
      expect(signers.length).toBeLessThan(18);
    },
  );

  it('the attacks are there', () => expect(ours.length).toBeGreaterThan(50));

  it('there are none about what the check of the whole upload accepts, also in parts', async () => {
    const keyring = bench.file(mallory.keyring());
    for (const upload of [
      GOOD,
      compressed(GOOD),
      compressedToTheEnd(GOOD),
      packet(8, 2, deflateSync(GOOD)),
    ]) {
      await drive(upload, { keyrings: [keyring] }, { temporaryFolder: bench.temporaryFolder });
      expect(await look(upload)).toMatchObject({ kind: 'signed message', complaint: undefined });
      for (let length = 1; length < upload.length; length += 1) {
        const part = upload.subarray(0, length);
        expect((await lookAtUpload(part, upload.length)).complaint).toBeUndefined();
        expect((await lookAtUpload(part, length)).complaint).not.toBeUndefined();
      }
    }
  });

  it('go with the signers that were seen before', async () => {
    const seen = await look(message(ONE_PASS, LITERAL, LITERAL, SIGNATURE));
    expect(seen).toMatchObject({ kind: 'signed message', signers: [{ hashAlgorithm: 'SHA256' }] });
    expect(seen.complaint).toContain('out of place');
    const behind = await look(message(compressed(GOOD), GOOD));
    expect(behind.signers).toHaveLength(1);
    expect(behind.complaint).toContain('something follows the signed message');
  });

  it('unknown algorithms have their numbers', async () => {
    const odd = message(onePass(3, 0, 77, 99, 1, 2, 3, 4, 5, 6, 7, 8, 1), LITERAL);
    expect((await lookAtUpload(odd, MIB)).signers).toEqual([
      { keyId: '0102030405060708', publicKeyAlgorithm: 'algorithm 99', hashAlgorithm: 'algorithm 77' },
    ]);
    const unknown = await look(packet(8, 99, GOOD));
    expect([unknown.kind, unknown.compression]).toEqual(['not a signed message', 'unknown']);
    expect(unknown.complaint).toContain('unknown (algorithm 99)');
  });
});

describe('hostile bytes', () => {
  const printableOnly = (seen: UploadLook) =>
    expect(JSON.stringify([seen.description, seen.complaint, seen.signers])).toMatch(/^[\x20-\x7e§]*$/);

  it('a bomb is not inflated', async () => {
    const header = message(ONE_PASS, Buffer.of(0xcb, 0xff), uint(2 ** 32 - 1, 4), Buffer.from('b\0\0\0\0\0'));
    const start = deflateRawSync(header, { finishFlush: constants.Z_FULL_FLUSH });
    const zeros = deflateRawSync(Buffer.alloc(MIB), { finishFlush: constants.Z_FULL_FLUSH });
    const bomb = message(Buffer.of(0xa3, 1), start, ...Array.from({ length: 100 }, () => zeros));
    const before = process.memoryUsage.rss();
    const seen = await look(bomb);
    expect(seen).toMatchObject({ kind: 'signed message', compression: 'ZIP', complaint: undefined });
    expect(process.memoryUsage.rss() - before).toBeLessThan(16 * MIB);
  });

  it('more bytes than are looked at change nothing', async () => {
    const long = message(ONE_PASS, literal(Buffer.alloc(LOOK_BYTES)), Buffer.from('rubbish'));
    expect((await lookAtUpload(long, long.length)).complaint).toBeUndefined();
    expect((await lookAtUpload(long.subarray(0, 200), 10)).complaint).toContain('ends within');
  });

  it('any bytes, and any mutation of good ones: an answer, soon, in printable words', async () => {
    const goods = [
      GOOD,
      compressed(GOOD),
      compressedToTheEnd(GOOD),
      message(mallory.onePass(0), GOOD, SIGNATURE),
    ];
    const firstOctets = fc.constantFrom(0x90, 0xa0, 0xa1, 0xa2, 0xa3, 0xc4, 0xc8);
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      fc
        .tuple(firstOctets, fc.uint8Array({ maxLength: 300 }))
        .map(([octet, rest]) => message(Buffer.of(octet), rest)),
      fc
        .tuple(fc.constantFrom(...goods), fc.nat(400), fc.uint8Array({ maxLength: 4 }), fc.nat(4))
        .map(([good, at, inserted, removed]) => splice(good, Math.min(at, good.length), inserted, removed)),
    );
    const property = async (upload: Uint8Array, total: number) => {
      const seen = await lookAtUpload(upload, total);
      printableOnly(seen);
      expect(seen.signers.length > 0).toBe(seen.kind === 'signed message');
    };
    await fc.assert(fc.asyncProperty(bytes, fc.nat(1000), property), { numRuns: 5000 });
  });

  it('every one-pass packet claims the same key', async () => {
    const seen = await look(
      message(...Array.from({ length: 40 }, () => mallory.onePass(0)), Buffer.from(CONTENT)),
    );
    expect(seen.signers).toHaveLength(17);
    expect(seen.complaint).toContain('too many signatures');
    expect(seen.description).toContain('and 14 more');
  });
});
