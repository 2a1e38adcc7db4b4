import { hexBytes } from './printable.js';
import { TAG, tagName, tagOfHeaderOctet } from './packet-tags.js';

/** Enough of an upload to tell its kind, bytes; what is shorter is described as far as it goes. */
export const FIRST_BYTES = 48;

/** A volume descriptor's magic in an ISO 9660 image: sector 16 of 2048 bytes, behind its type octet (ECMA-119 §8.1). */
const ISO_MAGIC_OFFSET = 16 * 2048 + 1;

export interface FirstBytesDescription {
  /** What it seems to be, as a noun phrase. */
  readonly found: string;
  readonly hint: string;
}

const SIGN_HINT = 'make one with gpg --sign, or give a detached signature';

/** Text or magic at byte 0, what it says, and what to do. */
const KNOWN_STARTS: readonly (readonly [magic: string, found: string, hint: string])[] = [
  [
    '-----BEGIN PGP MESSAGE',
    'an armoured OpenPGP message',
    'use the binary form (gpg --dearmor makes it, or sign without --armor)',
  ],
  [
    '-----BEGIN PGP SIGNED MESSAGE',
    'a cleartext-signed message',
    'use a binary signed message (gpg --sign, not --clearsign)',
  ],
  ['-----BEGIN PGP ', 'an armoured OpenPGP file', SIGN_HINT],
  [
    'PK\u0003\u0004',
    'a ZIP file',
    'without --no-unzip the .xsupdate file inside is the upload; or give a detached signature',
  ],
  ['#!', 'a script without a signature', SIGN_HINT],
  ['\u001f\u008b', 'a gzip file', `unpack it, or ${SIGN_HINT}`],
  ['\u007fELF', 'a program without a signature', SIGN_HINT],
  ['\u00fd7zXZ\u0000', 'an xz file', `unpack it, or ${SIGN_HINT}`],
];

/** True when the octet can start a binary signed message: a Compressed Data or a One-Pass Signature packet. */
export function startsSignedMessage(octet: number): boolean {
  const tag = tagOfHeaderOctet(octet);
  return tag === TAG.compressedData || tag === TAG.onePassSignature;
}

/**
 * What an upload that is no binary signed message seems to be instead.
 *
 * @param bytes the start of the upload, best {@link FIRST_BYTES} or more of it; never printed but as hex
 */
export function describeFirstBytes(bytes: Uint8Array): FirstBytesDescription {
  const start = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (start.length === 0) return { found: 'no bytes at all', hint: SIGN_HINT };
  const text = start.toString('latin1', 0, FIRST_BYTES);
  for (const [magic, found, hint] of KNOWN_STARTS) {
    if (text.startsWith(magic)) return { found, hint };
  }
  if (start.toString('latin1', ISO_MAGIC_OFFSET, ISO_MAGIC_OFFSET + 5) === 'CD001') {
    return { found: 'an ISO image without a signature', hint: SIGN_HINT };
  }
  const tag = tagOfHeaderOctet(start[0] ?? 0);
  if (tag !== undefined && tag in NO_MESSAGE_HINTS) {
    return { found: `${tagName(tag)} at its start`, hint: NO_MESSAGE_HINTS[tag] ?? SIGN_HINT };
  }
  return { found: `bytes ${hexBytes(start)}`, hint: SIGN_HINT };
}

const NO_MESSAGE_HINTS: Readonly<Record<number, string>> = {
  [TAG.signature]: 'a detached signature is given beside the upload, not as the upload',
  [TAG.literalData]: SIGN_HINT,
  [TAG.marker]: SIGN_HINT,
  [TAG.publicKey]: 'a key is given as keyring, not as the upload',
  1: 'decrypt it first',
  3: 'decrypt it first',
};
