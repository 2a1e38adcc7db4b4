import { describe, expect, test } from 'vitest';
import { isPatchVdiError } from '../../src/errors.js';
import { readSecretFile } from '../../src/kit/secret-file.js';
import { fingerprintText, makeTestKey, publicKeyring, secretKeyring } from '../../src/kit/test-key.js';
import { flip } from '../signature/openpgp-bench.js';

const key = makeTestKey({ seed: '7', userId: 'Größe <a@b>' });
const file = Buffer.from(secretKeyring(key, 60));

/** The key, or the kind of the error; anything else that is thrown passes. */
function outcome(bytes: Uint8Array): string {
  try {
    return fingerprintText(readSecretFile(bytes, 'secret.pgp'));
  } catch (error) {
    if (isPatchVdiError(error)) return error.kind;
    throw error;
  }
}

test('what was written is read', () => {
  expect(readSecretFile(file, 'secret.pgp')).toEqual(key);
});

describe('refused, with kind usage:', () => {
  test('every file that is cut off', () => {
    const outcomes = new Set(Array.from({ length: file.length }, (_, at) => outcome(file.subarray(0, at))));
    expect([...outcomes]).toEqual(['usage']);
  });

  test.for([
    ['an empty file', Buffer.alloc(0)],
    ['text', Buffer.from('-----BEGIN PGP PRIVATE KEY BLOCK-----\n')],
    ['a public key', publicKeyring(key)],
    ['two keys', Buffer.concat([file, file])],
    ['a packet too large', Buffer.from('c5ff7fffffff04', 'hex')],
    ['64 KiB of 0xff', Buffer.alloc(65_536, 0xff)],
  ] as const)('%s', ([, bytes]) => expect(outcome(bytes)).toBe('usage'));
});

test('with any byte changed it is refused, or another key, never a crash', () => {
  const same = fingerprintText(key);
  const outcomes = Array.from({ length: file.length }, (_, at) => outcome(flip(file, at, 0x80)));
  expect(outcomes.filter((one) => one === 'usage').length).toBeGreaterThan(700);
  // What may change unseen is the time (another fingerprint), checksum, name and self-signature, not the numbers.
  for (const one of new Set(outcomes)) expect(one === 'usage' || /^[0-9A-F]{40}$/.test(one)).toBe(true);
  expect(outcomes).toContain(same);
});
