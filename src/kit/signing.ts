import { constants, createHash, privateEncrypt, type Hash } from 'node:crypto';
import { invariant } from '../errors.js';
import { TAG } from '../signature/packet-tags.js';
import {
  concatBytes,
  mpi,
  octets,
  packet,
  RSA,
  scalar,
  SHA256,
  SUBPACKET,
  subpacket,
  subpacketArea,
} from './packets.js';
import { numberOfBytes, privateKeyOf, type RsaNumbers } from './rsa.js';

/** Who signs, and when. */
export interface SigningIdentity {
  readonly numbers: RsaNumbers;
  /** 20 bytes, RFC 4880 §12.2. */
  readonly fingerprint: Uint8Array;
}

/** DigestInfo of SHA-256 without the digest, RFC 8017 §9.2, note 1. */
const SHA256_DIGEST_INFO = Buffer.from('3031300d060960864801650304020105000420', 'hex');

/** A key ID is the end of the fingerprint, RFC 4880 §12.2. */
export function keyIdOf(fingerprint: Uint8Array): Uint8Array {
  return fingerprint.subarray(-8);
}

/**
 * A version 4 Signature packet by RSA and SHA-256 (RFC 4880 §5.2.3).
 *
 * @param hashed what is signed, hashed so far; it is copied, not used up
 * @param type RFC 4880 §5.2.1
 * @param createdAt Unix seconds
 * @param subpackets more of them, to be covered by the signature
 */
function signaturePacket(
  hashed: Hash,
  type: number,
  createdAt: number,
  signer: SigningIdentity,
  subpackets: readonly Uint8Array[],
): { readonly packet: Uint8Array; readonly numberBytes: number } {
  const { numbers, fingerprint } = signer;
  const covered = concatBytes(
    octets(4, type, RSA, SHA256),
    subpacketArea(
      subpacket(SUBPACKET.issuerFingerprint, octets(4), fingerprint),
      subpacket(SUBPACKET.creationTime, scalar(createdAt, 4)),
      ...subpackets,
    ),
  );
  // The trailer of §5.2.4: what of this packet is hashed, and its length once more.
  const trailer = concatBytes(octets(4, 0xff), scalar(covered.length, 4));
  const digest = hashed.copy().update(covered).update(trailer).digest();
  const number = numberOfBytes(
    privateEncrypt(
      { key: privateKeyOf(numbers), padding: constants.RSA_PKCS1_PADDING },
      Buffer.concat([SHA256_DIGEST_INFO, digest]),
    ),
  );
  const unhashed = subpacketArea(subpacket(SUBPACKET.issuer, keyIdOf(fingerprint)));
  const made = packet(TAG.signature, covered, unhashed, digest.subarray(0, 2), mpi(number));
  return { packet: made, numberBytes: mpi(number).length };
}

/** A positive certification of a User ID (RFC 4880 §5.2.1, type 0x13) by its own key. `hashed` stays as it is. */
export function certification(
  hashed: Hash,
  createdAt: number,
  signer: SigningIdentity,
  subpackets: readonly Uint8Array[],
): Uint8Array {
  return signaturePacket(hashed, 0x13, createdAt, signer, subpackets).packet;
}

/**
 * A signature of a binary document (type 0x00). Its length is known before: one signature in 256 begins with a zero
 * byte, which an MPI leaves out, and the next attempt is then made with another number in a private subpacket.
 *
 * @param hashed the document, hashed with SHA-256; stays as it is
 */
export function documentSignature(hashed: Hash, createdAt: number, signer: SigningIdentity): Uint8Array {
  const longest = mpi(signer.numbers.n).length;
  for (let attempt = 0; attempt < 256; attempt += 1) {
    const variation = subpacket(SUBPACKET.privateUse, octets(attempt));
    const made = signaturePacket(hashed, 0x00, createdAt, signer, [variation]);
    if (made.numberBytes === longest) return made.packet;
  }
  invariant(false, 'one of 256 signatures has no leading zero byte');
}

/** Bytes of every {@link documentSignature} by that key. */
export function documentSignatureBytes(signer: SigningIdentity): number {
  return documentSignature(createHash('sha256'), 0, signer).length;
}

/** A signature of a canonical text document (RFC 4880 §5.2.1, type 0x01), as in the cleartext framework (§7). */
export function textSignature(hashed: Hash, createdAt: number, signer: SigningIdentity): Uint8Array {
  return signaturePacket(hashed, 0x01, createdAt, signer, []).packet;
}
