import { invariant } from '../errors.js';
import { bytesOfNumber } from './rsa.js';

/*
 * Writing OpenPGP (RFC 4880): numbers, packets, subpackets. Everything is put together from front to back, so there
 * is no offset anywhere.
 */

/** Subpacket types, RFC 4880 §5.2.3.1; 33 is from the drafts after it, as gpg writes it. */
export const SUBPACKET = {
  creationTime: 2,
  keyExpirationTime: 9,
  issuer: 16,
  preferredHashAlgorithms: 21,
  keyFlags: 27,
  issuerFingerprint: 33,
  /** 100 to 110 are for private use. */
  privateUse: 101,
} as const;

/** RFC 4880 §9.1, §9.4. */
export const RSA = 1;
export const SHA256 = 8;

export const concatBytes = (...parts: readonly Uint8Array[]): Uint8Array => {
  return new Uint8Array(Buffer.concat(parts));
};

export const octets = (...values: readonly number[]): Uint8Array => Uint8Array.from(values);

export const utf8 = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'utf8'));

/** A scalar number, big-endian (RFC 4880 §3.1). */
export function scalar(value: number, octetCount: 2 | 4): Uint8Array {
  invariant(value >= 0 && value < 2 ** (8 * octetCount), `${value} fits in ${octetCount} octets`);
  const bytes = Buffer.alloc(octetCount);
  bytes.writeUIntBE(value, 0, octetCount);
  return new Uint8Array(bytes);
}

/** A multiprecision integer: its length in bits, then the number (RFC 4880 §3.2). */
export function mpi(value: bigint): Uint8Array {
  return concatBytes(scalar(value.toString(2).length, 2), bytesOfNumber(value));
}

/** A packet header in the new format with a five-octet length (RFC 4880 §4.2.2.3): its size depends on nothing. */
export function packetHeader(tag: number, bodyBytes: number): Uint8Array {
  return concatBytes(octets(0xc0 + tag), definiteLength(bodyBytes));
}

/** RFC 4880 §4.2.2.3. */
export function definiteLength(bodyBytes: number): Uint8Array {
  return concatBytes(octets(255), scalar(bodyBytes, 4));
}

export function packet(tag: number, ...body: readonly Uint8Array[]): Uint8Array {
  const content = concatBytes(...body);
  return concatBytes(packetHeader(tag, content.length), content);
}

/** A signature subpacket with a one-octet length, which counts the type (RFC 4880 §5.2.3.1). */
export function subpacket(type: number, ...body: readonly Uint8Array[]): Uint8Array {
  const content = concatBytes(...body);
  invariant(content.length + 1 < 192, 'a subpacket is short');
  return concatBytes(octets(content.length + 1, type), content);
}

/** A subpacket area: its length in octets, then the subpackets (RFC 4880 §5.2.3). */
export function subpacketArea(...subpackets: readonly Uint8Array[]): Uint8Array {
  const content = concatBytes(...subpackets);
  return concatBytes(scalar(content.length, 2), content);
}
