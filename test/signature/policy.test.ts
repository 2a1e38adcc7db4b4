import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { normalFingerprint, validatePolicy, type SignaturePolicy } from '../../src/signature/policy.js';
import { CraftedKey, literal, notation, subpacket, uint } from './craft.js';
import { drive, refusal, words } from './drive.js';
import { OpenPgpBench, type BenchKey } from './openpgp-bench.js';

let bench: OpenPgpBench;
let alice: BenchKey;
let bob: BenchKey;
let expired: BenchKey;
let revoked: BenchKey;
let ring: string;
const CONTENT = Buffer.from('echo content\n');

beforeAll(() => {
  bench = new OpenPgpBench();
  alice = bench.key('Alice <alice@example.org>');
  bob = bench.key('Bob <bob@example.org>', 'rsa2048');
  expired = bench.key('Expired <expired@example.org>', 'ed25519', '30d', '20200101T000000!');
  revoked = bench.key('Revoked <revoked@example.org>');
  ring = bench.keyring();
});

afterAll(() => bench.close());

const verify = (upload: Uint8Array, changes: Partial<SignaturePolicy> = {}) =>
  drive(upload, { keyrings: [ring], ...changes }, { temporaryFolder: bench.temporaryFolder });

async function refused(upload: Uint8Array, changes: Partial<SignaturePolicy> = {}): Promise<string> {
  const error = await refusal(verify(upload, changes));
  expect(error.kind).toBe('signature');
  return words(error);
}

describe('keys that are not in force', () => {
  it('an expired key is refused, unless allowed: gpgv exits with 0', async () => {
    const upload = bench.sign(CONTENT, [expired], '--faked-system-time', '20200105T000000!');
    expect(await refused(upload)).toContain('"Expired <expired@example.org>" (key ');
    expect(await refused(upload)).toContain('has expired');
    const { signatures } = await verify(upload, { allowExpiredKey: true });
    expect(signatures).toMatchObject([
      { primaryFingerprint: expired.fingerprint, expiredKey: true, weakDigest: false },
    ]);
    const { exitCode, status } = bench.gpgv(upload, ring);
    expect(exitCode).toBe(0);
    expect(status).toMatch(/KEYEXPIRED[^]*EXPKEYSIG[^]*VALIDSIG/);
  });

  it('a revoked key is always refused: gpgv exits with 0', async () => {
    const upload = bench.sign(CONTENT, [revoked]);
    await verify(upload);
    bench.revoke(revoked);
    const keyrings = [bench.keyring()];
    const changes = { keyrings, allowExpiredKey: true, allowWeakDigest: true };
    expect(await refused(upload, changes)).toMatch(/"Revoked <.*was revoked/);
    const { exitCode, status } = bench.gpgv(upload, keyrings[0] ?? '');
    expect(exitCode).toBe(0);
    expect(status).toMatch(/REVKEYSIG[^]*VALIDSIG/);
  });

  it('an expired signature is always refused', async () => {
    const late = ['--faked-system-time', '20200105T000000!', '--default-sig-expire', '1d'];
    const upload = bench.sign(CONTENT, [expired], ...late);
    expect(await refused(upload, { allowExpiredKey: true })).toContain('signature by "Expired');
  });
});

describe('weak digests', () => {
  it.each(['SHA1', 'RIPEMD160'])('%s is refused, unless allowed', async (digest) => {
    const upload = bench.sign(CONTENT, [bob], '--digest-algo', digest);
    expect(await refused(upload)).toContain(`weak digest algorithm | ${digest}`);
    const { signatures } = await verify(upload, { allowWeakDigest: true });
    expect(signatures).toMatchObject([{ hashAlgorithm: digest, weakDigest: true, expiredKey: false }]);
  });

  it('MD5 is always refused', async () => {
    const upload = bench.sign(CONTENT, [bob], '--digest-algo', 'MD5', '--allow-weak-digest-algos');
    expect(await refused(upload, { allowWeakDigest: true })).toContain('the signature uses MD5');
    expect(bench.gpgv(upload, ring).status).toMatch(/ERRSIG \w+ 1 1 00 \d+ 5 /);
  });

  it.each(['SHA224', 'SHA256', 'SHA384', 'SHA512'])('%s is good', async (digest) => {
    const { signatures } = await verify(bench.sign(CONTENT, [bob], '--digest-algo', digest));
    expect(signatures).toMatchObject([{ hashAlgorithm: digest, weakDigest: false }]);
  });
});

describe('what signers and keys say about themselves', () => {
  const evil = '\n[GNUPG:] VALIDSIG \u001b[31m %41 \u202e';
  const mallory = new CraftedKey(`Mallory${evil}`);

  it('never reaches a terminal as it is', async () => {
    const keyrings = [bench.file(mallory.keyring())];
    const clean = (text: string) => {
      expect(text).not.toMatch(/[\p{Cc}\p{Cf}]/u);
      return text;
    };
    const make = (hashed: Buffer) =>
      Buffer.concat([mallory.onePass(), literal(CONTENT, evil), mallory.version4(CONTENT, { hashed })]);
    for (const type of [26, 28]) {
      const { signatures } = await verify(make(subpacket(type, Buffer.from(evil))), { keyrings });
      expect(signatures).toHaveLength(1);
      expect(clean(signatures[0]?.userId ?? '')).toContain('Mallory\\x0a[GNUPG:] VALIDSIG \\x1b[31m %41 ');
    }
    expect((await verify(make(notation('a@b', evil)), { keyrings })).signatures).toHaveLength(1);
    const expiring = make(subpacket(3, uint(10, 4)));
    clean(await refused(expiring, { keyrings }));
  });

  it('a signature from the future is accepted: clocks differ, and the key is what counts', async () => {
    const upload = bench.sign(CONTENT, [alice], '--faked-system-time', '20370101T000000!');
    const { signatures } = await verify(upload);
    expect(signatures[0]?.createdAt).toBe(Date.UTC(2037, 0, 1) / 1000);
  });
});

describe('the policy itself', () => {
  const good: SignaturePolicy = { keyrings: ['/a'] };
  const fingerprint = '0123456789abcdef0123456789ABCDEF01234567';

  it.each<readonly [string, SignaturePolicy, string]>([
    ['no keyring', { keyrings: [] }, 'no keyring'],
    ['an empty path', { keyrings: [''] }, 'empty path'],
    ['an empty detached path', { ...good, detachedSignature: '' }, 'empty path'],
    ['nobody pinned', { ...good, signers: [] }, 'empty list'],
    ['a short key id', { ...good, signers: ['89ABCDEF01234567'] }, 'full fingerprint'],
    ['a prefix', { ...good, signers: [`0x${fingerprint}`] }, 'full fingerprint'],
    ['one digit too many', { ...good, signers: [`${fingerprint}0`] }, 'full fingerprint'],
    ['a control character', { ...good, signers: [`\u001b${fingerprint}`] }, '\\x1b'],
  ])('%s is refused', async (_, policy, says) => {
    const error = await refusal(Promise.resolve().then(() => validatePolicy(policy)));
    expect(error.kind).toBe('usage');
    expect(words(error)).toContain(says);
  });

  it('fingerprints are read as people write them', () => {
    validatePolicy({ ...good, signers: [fingerprint, fingerprint.repeat(2).slice(0, 64)] });
    expect(normalFingerprint(`${fingerprint.slice(0, 20)}  ${fingerprint.slice(20)}`)).toBe(
      fingerprint.toUpperCase(),
    );
  });
});
