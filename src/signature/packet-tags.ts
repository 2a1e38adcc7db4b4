/** Packet tags, RFC 4880 §4.3. */
export const TAG = {
  signature: 2,
  onePassSignature: 4,
  secretKey: 5,
  publicKey: 6,
  secretSubkey: 7,
  compressedData: 8,
  encryptedData: 9,
  marker: 10,
  literalData: 11,
  trust: 12,
  userId: 13,
  publicSubkey: 14,
  userAttribute: 17,
  encryptedIntegrityProtectedData: 18,
} as const;

const TAG_NAMES: Readonly<Record<number, string>> = {
  0: 'a packet with the reserved tag 0',
  1: 'a Public-Key Encrypted Session Key packet',
  2: 'a Signature packet',
  3: 'a Symmetric-Key Encrypted Session Key packet',
  4: 'a One-Pass Signature packet',
  5: 'a Secret-Key packet',
  6: 'a Public-Key packet',
  7: 'a Secret-Subkey packet',
  8: 'a Compressed Data packet',
  9: 'an encrypted packet',
  10: 'a Marker packet',
  11: 'a Literal Data packet',
  12: 'a Trust packet',
  13: 'a User ID packet',
  14: 'a Public-Subkey packet',
  17: 'a User Attribute packet',
  18: 'an encrypted packet',
  19: 'a Modification Detection Code packet',
};

/** A tag for messages: `a Literal Data packet`. */
export function tagName(tag: number): string {
  return TAG_NAMES[tag] ?? `a packet with the unknown tag ${tag}`;
}

/** Only these may have partial body lengths (RFC 4880 §4.2.2.4) and, in the old format, no length at all. */
export function isDataTag(tag: number): boolean {
  return (
    tag === TAG.compressedData ||
    tag === TAG.encryptedData ||
    tag === TAG.literalData ||
    tag === TAG.encryptedIntegrityProtectedData
  );
}

/** The tag in the first octet of a packet header, or undefined when the octet starts no packet (RFC 4880 §4.2). */
export function tagOfHeaderOctet(octet: number): number | undefined {
  if ((octet & 0x80) === 0) return undefined;
  return (octet & 0x40) === 0 ? (octet >> 2) & 0x0f : octet & 0x3f;
}
