import { checkPrimeSync, createPrivateKey, type KeyObject } from 'node:crypto';
import { invariant } from '../errors.js';
import { seededBytes, type Seed } from './seed.js';

/**
 * The numbers of an RSA key as OpenPGP stores them (RFC 4880 §5.5.3): n = p·q, p < q, d·e = 1 mod (p-1)(q-1),
 * u = 1/p mod q.
 */
export interface RsaNumbers {
  readonly n: bigint;
  readonly e: bigint;
  readonly d: bigint;
  readonly p: bigint;
  readonly q: bigint;
  readonly u: bigint;
}

/** gnupg 1.4 and 2.0, as in old hosts, know no elliptic curves; 2048 bits are what hotfixes are signed with. */
const PRIME_BITS = 1024;
const PUBLIC_EXPONENT = 65_537n;

/** An unsigned number, most significant byte first, without leading zero bytes. */
export function bytesOfNumber(value: bigint): Uint8Array {
  const hex = value.toString(16);
  return Uint8Array.from(Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex'));
}

/** The number that these bytes are, most significant byte first. */
export function numberOfBytes(bytes: Uint8Array): bigint {
  return BigInt(`0x0${Buffer.from(bytes).toString('hex')}`);
}

/** 1/value mod modulus by the extended Euclidean algorithm; undefined when there is none. */
export function inverse(value: bigint, modulus: bigint): bigint | undefined {
  let [remainder, next] = [modulus, value % modulus];
  let [coefficient, nextCoefficient] = [0n, 1n];
  while (next !== 0n) {
    const quotient = remainder / next;
    [remainder, next] = [next, remainder - quotient * next];
    [coefficient, nextCoefficient] = [nextCoefficient, coefficient - quotient * nextCoefficient];
  }
  if (remainder !== 1n) return undefined;
  return coefficient < 0n ? coefficient + modulus : coefficient;
}

/**
 * The first usable prime at or after a seeded number with its two top bits set, so that the product of two has
 * exactly 2048 bits. Usable: p - 1 is not a multiple of the exponent. One number in about 355 odd ones is prime.
 */
function seededPrime(seed: Seed, purpose: string): bigint {
  const random = numberOfBytes(seededBytes(seed, purpose, PRIME_BITS / 8));
  let candidate = random | (3n << BigInt(PRIME_BITS - 2)) | 1n;
  while (!checkPrimeSync(candidate) || candidate % PUBLIC_EXPONENT === 1n) candidate += 2n;
  return candidate;
}

/** An RSA key of 2048 bits that is a function of the seed. Takes about a tenth of a second. */
export function seededRsaNumbers(seed: Seed): RsaNumbers {
  const one = seededPrime(seed, 'rsa prime 1');
  const two = seededPrime(seed, 'rsa prime 2');
  const [p, q] = one < two ? [one, two] : [two, one];
  const d = inverse(PUBLIC_EXPONENT, (p - 1n) * (q - 1n));
  const u = inverse(p, q);
  invariant(d !== undefined && u !== undefined, 'two different primes, neither 1 mod e, have both inverses');
  return { n: p * q, e: PUBLIC_EXPONENT, d, p, q, u };
}

/** The key for Node's crypto. It puts the larger prime first, which makes OpenPGP's u its `qi` (RFC 7518 §6.3.2). */
export function privateKeyOf({ n, e, d, p, q, u }: RsaNumbers): KeyObject {
  const text = (value: bigint): string => Buffer.from(bytesOfNumber(value)).toString('base64url');
  return createPrivateKey({
    format: 'jwk',
    key: {
      kty: 'RSA',
      n: text(n),
      e: text(e),
      d: text(d),
      p: text(q),
      q: text(p),
      dp: text(d % (q - 1n)),
      dq: text(d % (p - 1n)),
      qi: text(u),
    },
  });
}
