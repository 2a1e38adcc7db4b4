import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { seededRsaNumbers } from '../../src/kit/rsa.js';
import { armored } from '../../src/kit/armored.js';
import {
  DEFAULT_USER_ID,
  fingerprintText,
  makeTestKey,
  publicKeyring,
  secretKeyring,
} from '../../src/kit/test-key.js';
import { requireTool } from '../oracles/require-tool.js';
import { runJudge } from '../oracles/run-judge.js';
import { flip, OpenPgpBench } from '../signature/openpgp-bench.js';

beforeEach((context) => requireTool(context, 'gpg', 'gpgv', 'openssl'));

const benches: OpenPgpBench[] = [];
afterAll(() => benches.forEach((bench) => bench.close()));

function newBench(): OpenPgpBench {
  const bench = new OpenPgpBench();
  benches.push(bench);
  return bench;
}

const key = makeTestKey({ seed: '7' });

describe('the numbers of a key', () => {
  const { n, e, d, p, q, u } = seededRsaNumbers('7');

  test('are those of RSA with 2048 bits', () => {
    expect(n.toString(2)).toHaveLength(2048);
    expect(p * q).toBe(n);
    expect(p < q).toBe(true);
    expect((d * e) % ((p - 1n) * (q - 1n))).toBe(1n);
    expect((u * p) % q).toBe(1n);
  });

  test('openssl finds both primes prime, and one that was changed not', () => {
    const isPrime = (value: bigint): boolean => {
      const { stdout } = runJudge('openssl', ['prime', value.toString()]);
      return stdout.trim().endsWith(' is prime');
    };
    expect([isPrime(p), isPrime(q), isPrime(p + 2n * 3n * 5n)]).toEqual([true, true, false]);
  });

  test('follow from the seed: the same for ever, another for another seed', () => {
    // Pinned: a change of this line changes every suite that was made with a seed.
    expect(fingerprintText(key)).toBe('4CCEC4DDC009462E9E900F2A7E828DC383F15487');
    expect(seededRsaNumbers('7').n).toBe(n);
    expect(seededRsaNumbers('8').n).not.toBe(n);
  });
});

describe('gpg', () => {
  test('imports the public key and sees what we made', () => {
    const bench = newBench();
    bench.gpg(['--import'], publicKeyring(key, 86_400));
    const listing = bench.gpg(['--list-keys', '--with-colons', '--fixed-list-mode']).toString();
    const pub = /^pub:(.*)$/m.exec(listing)?.[1]?.split(':') ?? [];
    // GnuPG, doc/DETAILS: bits, algorithm, key ID, created, expires, ..., capabilities.
    expect(pub.slice(1, 6)).toEqual(['2048', '1', '7E828DC383F15487', '1577836800', '1577923200']);
    expect(pub[10]?.toLowerCase()).toContain('sc');
    expect(bench.fingerprints(DEFAULT_USER_ID)).toEqual([fingerprintText(key)]);
    expect(bench.gpg(['--check-sigs', '--with-colons']).toString()).toMatch(/^sig:!:/m);
  });

  test('refuses a key whose self-signature was damaged', () => {
    const bench = newBench();
    const keyring = Buffer.from(publicKeyring(key));
    // gpg exits with 0 when it skips a key.
    bench.gpg(['--import'], flip(keyring, keyring.length - 5));
    expect(bench.gpg(['--list-keys']).toString()).toBe('');
  });

  test('imports the secret key and signs with it; gpgv takes the signature with our keyring', () => {
    const bench = newBench();
    bench.gpg(['--import'], secretKeyring(key));
    const message = bench.sign('content', [{ fingerprint: fingerprintText(key), userId: key.userId }]);
    const opinion = bench.gpgv(message, bench.file(publicKeyring(key)));
    expect(opinion).toMatchObject({ exitCode: 0 });
    expect(opinion.status).toContain(`VALIDSIG ${fingerprintText(key)}`);
    const stranger = publicKeyring(makeTestKey({ seed: '8' }));
    expect(bench.gpgv(message, bench.file(stranger)).status).toContain('NO_PUBKEY');
  });

  test('takes the armour, and finds a wrong checksum', () => {
    const text = armored('PUBLIC KEY BLOCK', publicKeyring(key));
    const bench = newBench();
    bench.gpg(['--import'], text);
    expect(bench.fingerprints(DEFAULT_USER_ID)).toEqual([fingerprintText(key)]);
    const other = newBench();
    expect(() => other.gpg(['--import'], text.replace(/^=..../m, '=AAAA'))).toThrow(/CRC error/i);
  });

  test('sees a key of another time, name and seed as another key', () => {
    const bench = newBench();
    const other = makeTestKey({ seed: '7', createdAt: 1_700_000_000, userId: 'Größe 測試 "x" <a@b>' });
    bench.gpg(['--import'], publicKeyring(other));
    const listing = bench.gpg(['--list-keys', '--with-colons', '--display-charset', 'utf-8']).toString();
    expect(listing).toContain(`:${fingerprintText(other)}:`);
    expect(listing).toContain(`:${other.userId}:`);
    expect(fingerprintText(other)).not.toBe(fingerprintText(key));
  });
});

test('the same request makes the same bytes, and the secret key has the public one in it', () => {
  expect(publicKeyring(makeTestKey({ seed: '7' }))).toEqual(publicKeyring(key));
  expect(publicKeyring(key, 60)).not.toEqual(publicKeyring(key));
  const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
  expect(publicKeyring(key).length).toBeLessThan(secretKeyring(key).length);
  expect(text(secretKeyring(key))).toContain(text(publicKeyring(key)).slice(12, 200));
});

test.for([0, -1, 1.5, 2 ** 32 - 1_577_836_800])('no key expires after %d seconds', (seconds) => {
  expect(() => publicKeyring(key, seconds)).toThrow(expect.objectContaining({ kind: 'usage' }));
});

test.for(['', 'x'.repeat(256), 'a\nb', '\u0000', '\ud800'])('no key is called %j', (userId) => {
  expect(() => makeTestKey({ seed: '7', userId })).toThrow(expect.objectContaining({ kind: 'usage' }));
});
