import { hkdfSync, randomBytes } from 'node:crypto';
import { PatchVdiError } from '../errors.js';
import { uuidText } from '../build/identity.js';

/**
 * Where everything random in the test kit comes from: the same text, the same bytes, on every machine and for ever.
 * It is no secret store: who knows the seed of a test key has the key.
 */
export type Seed = string;

/** Names this generation of the kit; another number would change every key and every patch. */
const SALT = 'patch-vdi test kit 1';

const MAX_SEED = 2 ** 53 - 1;

/** A seed that nobody can guess, 64 hexadecimal digits. */
export function randomSeed(): Seed {
  return randomBytes(32).toString('hex');
}

/**
 * A seed as the command line takes it: a whole number, or what a run without a seed printed.
 *
 * @throws PatchVdiError `usage`
 */
export function parseSeed(text: string): Seed {
  if (/^[0-9a-f]{64}$/.test(text)) return text;
  if (/^\d{1,16}$/.test(text) && Number(text) <= MAX_SEED) return String(Number(text));
  throw new PatchVdiError('usage', 'the seed cannot be used', {
    context: {
      found: JSON.stringify(text.slice(0, 64)),
      expected: `a whole number, 0 to ${MAX_SEED}, or 64 hexadecimal digits`,
    },
  });
}

/**
 * Pseudo-random bytes: HKDF-SHA256 (RFC 5869) with the seed as key material and the purpose as info, so that two
 * purposes share nothing.
 *
 * @param lengthBytes at most 8160
 */
export function seededBytes(seed: Seed, purpose: string, lengthBytes: number): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', seed, SALT, purpose, lengthBytes));
}

/** A UUID of version 4 (RFC 9562, section 5.4) whose random bits come from the seed. */
export function seededUuid(seed: Seed, purpose: string): string {
  const hex = uuidText(seededBytes(seed, `uuid: ${purpose}`, 16));
  const variant = '89ab'[Number.parseInt(hex.charAt(19), 16) % 4] ?? '8';
  return `${hex.slice(0, 14)}4${hex.slice(15, 19)}${variant}${hex.slice(20)}`;
}
