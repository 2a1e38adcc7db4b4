/** Names for people and reports. What may pass is decided elsewhere: in the verdict and in the grammar. */

/** RFC 4880 §9.1; 27 and 28 are RFC 9580 §9.1. */
const PUBLIC_KEY_ALGORITHMS: Readonly<Record<number, string>> = {
  1: 'RSA',
  2: 'RSA (encrypt only)',
  3: 'RSA (sign only)',
  16: 'Elgamal',
  17: 'DSA',
  18: 'ECDH',
  19: 'ECDSA',
  22: 'EdDSA',
  27: 'Ed25519',
  28: 'Ed448',
};

/** RFC 4880 §9.4, with its text names; 12 and 14 are RFC 9580 §9.5. */
const HASH_ALGORITHMS: Readonly<Record<number, string>> = {
  1: 'MD5',
  2: 'SHA1',
  3: 'RIPEMD160',
  8: 'SHA256',
  9: 'SHA384',
  10: 'SHA512',
  11: 'SHA224',
  12: 'SHA3-256',
  14: 'SHA3-512',
};

/** `RSA`, `EdDSA`, `algorithm 99`. */
export function publicKeyAlgorithmName(algorithm: number): string {
  return PUBLIC_KEY_ALGORITHMS[algorithm] ?? `algorithm ${algorithm}`;
}

/** `SHA256`, spelt as in a verdict; `algorithm 99`. */
export function hashAlgorithmName(algorithm: number): string {
  return HASH_ALGORITHMS[algorithm] ?? `algorithm ${algorithm}`;
}
