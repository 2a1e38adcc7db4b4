import type { Complain } from './complaint.js';
import { requireBinarySignature } from './one-pass-packet.js';

/** Subpacket types, RFC 4880 §5.2.3.1 and (33) the drafts after it, as gpg writes them. */
const SUBPACKET = { issuer: 16, issuerFingerprint: 33 } as const;

/**
 * How many MPIs make up a signature (RFC 4880 §5.2.2, RFC 6637 §5, and EdDSA as gpg writes it). Algorithms that are
 * not here make no signature that gpgv 2.2 could check, and without the count nobody knows where the packet ends.
 */
const SIGNATURE_MPIS: Readonly<Record<number, number>> = { 1: 1, 3: 1, 17: 2, 19: 2, 22: 2 };

/** Bytes of a version 3 packet from its type to its hash algorithm, RFC 4880 §5.2.2: type, time (4), key id (8), two algorithms. */
const V3_FIXED_BYTES = 15;

/** Walks one body with bounds checked; every read past the end is a complaint. */
class Cursor {
  at = 0;
  readonly #body: Uint8Array;
  readonly #fail: (message: string, found: string, expected: string) => Error;

  constructor(body: Uint8Array, fail: (message: string, found: string, expected: string) => Error) {
    this.#body = body;
    this.#fail = fail;
  }

  take(count: number, what: string): Uint8Array {
    const left = this.#body.length - this.at;
    if (count > left) {
      throw this.#fail(
        'a Signature packet whose parts do not fit into it',
        `${left} bytes for ${what}`,
        `${count} bytes`,
      );
    }
    this.at += count;
    return this.#body.subarray(this.at - count, this.at);
  }

  octet(what: string): number {
    return this.take(1, what)[0] ?? 0;
  }

  uint16(what: string): number {
    const [high = 0, low = 0] = this.take(2, what);
    return high * 256 + low;
  }

  get finished(): boolean {
    return this.at === this.#body.length;
  }

  get left(): number {
    return this.#body.length - this.at;
  }
}

/**
 * Checks the structure of a Signature packet on a document (RFC 4880 §5.2): version 3 or 4, type 0x00, all parts
 * within bounds and nothing behind them. It decides nothing about validity, that is gpgv's part: it only leaves no
 * room for bytes that no signature covers. What remains unsigned is the issuer, the first 16 bits of the digest and
 * the lengths of MPIs, and all of these only make a signature fail.
 *
 * @param body the whole body; stays the caller's
 * @param offset of the packet in its stream, for messages
 */
export function checkSignaturePacket(body: Uint8Array, offset: number, complain: Complain): void {
  const fail = (message: string, found: string, expected: string) =>
    complain(message, { offset, found, expected });
  const cursor = new Cursor(body, fail);
  const version = cursor.octet('the version');
  if (version !== 3 && version !== 4) {
    throw fail('a Signature packet of an unknown version', `version ${version}`, 'version 4 or 3');
  }
  const publicKeyAlgorithm =
    version === 4
      ? checkVersion4(cursor, offset, complain, fail)
      : checkVersion3(cursor, offset, complain, fail);
  cursor.take(2, 'the first digest bits');

  const mpis = SIGNATURE_MPIS[publicKeyAlgorithm];
  if (mpis === undefined) {
    throw fail(
      'a signature by an unknown public-key algorithm',
      `algorithm ${publicKeyAlgorithm}`,
      'RSA (1, 3), DSA (17), ECDSA (19) or EdDSA (22)',
    );
  }
  // An MPI is its length in bits and then that many bits in whole octets (RFC 4880 §3.2).
  for (let index = 0; index < mpis; index += 1) {
    cursor.take(Math.ceil(cursor.uint16('an MPI') / 8), 'an MPI');
  }
  if (!cursor.finished) {
    throw fail(
      'bytes behind the end of a signature',
      `${cursor.left} bytes`,
      'the end of the Signature packet',
    );
  }
}

type Fail = (message: string, found: string, expected: string) => Error;

/** RFC 4880 §5.2.2. Returns the public-key algorithm. */
function checkVersion3(cursor: Cursor, offset: number, complain: Complain, fail: Fail): number {
  const hashedBytes = cursor.octet('the length of the hashed material');
  if (hashedBytes !== 5) {
    throw fail('a version 3 signature of the wrong form', `${hashedBytes} hashed bytes`, '5 hashed bytes');
  }
  const fixed = cursor.take(V3_FIXED_BYTES, 'the fixed part');
  requireBinarySignature(fixed[0] ?? 0, offset, complain);
  return fixed[13] ?? 0;
}

/** RFC 4880 §5.2.3. Returns the public-key algorithm. */
function checkVersion4(cursor: Cursor, offset: number, complain: Complain, fail: Fail): number {
  const [type = 0, publicKeyAlgorithm = 0] = cursor.take(3, 'the fixed part');
  requireBinarySignature(type, offset, complain);
  const hashed = cursor.take(cursor.uint16('the hashed subpackets'), 'the hashed subpackets');
  walkSubpackets(hashed, fail, () => undefined);
  const unhashed = cursor.take(cursor.uint16('the unhashed subpackets'), 'the unhashed subpackets');
  walkSubpackets(unhashed, fail, (subpacketType, bytes) => {
    // An issuer is a key id, an issuer fingerprint a version octet and a fingerprint of 20 (v4) or 32 bytes.
    const known =
      (subpacketType === SUBPACKET.issuer && bytes === 8) ||
      (subpacketType === SUBPACKET.issuerFingerprint && (bytes === 21 || bytes === 33));
    if (known) return;
    throw complain('a signature with additions that it does not cover', {
      offset,
      found: `unhashed subpacket of type ${subpacketType} with ${bytes} bytes`,
      expected: 'no unhashed subpackets but issuer (16) and issuer fingerprint (33)',
    });
  });
  return publicKeyAlgorithm;
}

/** RFC 4880 §5.2.3.1. The critical bit (0x80) is no part of the type; the length counts the type octet. */
function walkSubpackets(
  area: Uint8Array,
  fail: Fail,
  found: (subpacketType: number, bytes: number) => void,
): void {
  const cursor = new Cursor(area, fail);
  while (!cursor.finished) {
    const first = cursor.octet('the length of a subpacket');
    let length = first;
    if (first === 255)
      length = cursor.uint16('a subpacket length') * 65536 + cursor.uint16('a subpacket length');
    else if (first >= 192) length = ((first - 192) << 8) + cursor.octet('the length of a subpacket') + 192;
    if (length === 0) throw fail('a signature subpacket without a type', 'length 0', 'at least 1 byte');
    const [typeOctet = 0] = cursor.take(length, 'a subpacket');
    found(typeOctet & 0x7f, length - 1);
  }
}
