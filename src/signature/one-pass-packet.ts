import type { Complain } from './complaint.js';

/** RFC 4880 §5.4: version, signature type, hash, public-key algorithm, key id (8), "last" flag. */
const ONE_PASS_PACKET_BYTES = 13;

const KEY_ID_BYTES = 8;

/** Signature types, RFC 4880 §5.2.1. */
const SIGNATURE_TYPE_NAMES: Readonly<Record<number, string>> = {
  0x00: 'binary document (0x00)',
  0x01: 'canonical text document (0x01)',
  0x02: 'standalone (0x02)',
};

/**
 * Refuses every signature type but 0x00. A text signature (0x01) covers the text with its line endings converted
 * and so not the bytes themselves; all others are not about documents.
 */
export function requireBinarySignature(type: number, offset: number, complain: Complain): void {
  if (type === 0x00) return;
  throw complain(type === 0x01 ? 'a text-mode signature' : 'not a signature of a binary document', {
    offset,
    found: `signature type ${SIGNATURE_TYPE_NAMES[type] ?? `0x${type.toString(16).padStart(2, '0')}`}`,
    expected: SIGNATURE_TYPE_NAMES[0] ?? '',
    hint: 'sign without --textmode',
  });
}

/**
 * Checks a One-Pass Signature packet (RFC 4880 §5.4). Its key id and algorithms are only announcements, gpgv judges
 * by the signature itself, so they are not looked at.
 *
 * @param body the whole body, {@link ONE_PASS_PACKET_BYTES} bytes
 * @returns whether this is the last one: the Literal Data packet comes next, else another one-pass packet
 */
export function checkOnePassPacket(body: Uint8Array, offset: number, complain: Complain): boolean {
  if (body.length !== ONE_PASS_PACKET_BYTES) {
    throw complain('a One-Pass Signature packet of the wrong length', {
      offset,
      found: `${body.length} bytes`,
      expected: `${ONE_PASS_PACKET_BYTES} bytes`,
    });
  }
  const [version = 0, type = 0] = body;
  const last = body[ONE_PASS_PACKET_BYTES - 1] ?? 0;
  if (version !== 3) {
    throw complain('a One-Pass Signature packet of an unknown version', {
      offset,
      found: `version ${version}`,
      expected: 'version 3',
    });
  }
  requireBinarySignature(type, offset, complain);
  if (last > 1) {
    throw complain('a One-Pass Signature packet with an invalid flag', {
      offset,
      found: `nested flag ${last}`,
      expected: '0 (another one follows) or 1 (the last one)',
    });
  }
  return last === 1;
}

/** What a One-Pass Signature packet announces. Nothing has checked it. */
export interface OnePassClaim {
  /** 16 upper-case hex digits; all zeros for a signer that does not say who it is. */
  readonly keyId: string;
  /** RFC 4880 §9.1. */
  readonly publicKeyAlgorithm: number;
  /** RFC 4880 §9.4. */
  readonly hashAlgorithm: number;
}

/** Reads the claim of a version 3 packet; undefined when the body is not one. RFC 4880 §5.4. */
export function onePassClaim(body: Uint8Array): OnePassClaim | undefined {
  const [version, , hashAlgorithm = 0, publicKeyAlgorithm = 0, ...rest] = body;
  if (version !== 3 || body.length !== ONE_PASS_PACKET_BYTES) return undefined;
  const keyId = Buffer.from(rest.slice(0, KEY_ID_BYTES)).toString('hex').toUpperCase();
  return { keyId, publicKeyAlgorithm, hashAlgorithm };
}
