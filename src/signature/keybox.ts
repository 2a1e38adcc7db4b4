import { describeBytes } from '../units.js';
import type { Complain } from './complaint.js';

/*
 * The keybox file of gpg 2.1 and later, `pubring.kbx` (GnuPG, kbx/keybox-blob.c): blobs one after the other, each with
 * its length (4 octets, big-endian) and type (1 octet) in front. The first is the header blob, with the magic.
 */
const MAGIC = { text: 'KBXf', offset: 8 } as const;
/** In the header blob: two octets, of which bit 1 says that gpg itself keeps its keys here. */
const FLAGS_OFFSET = 6;
const FLAG_OPENPGP = 0x02;
const HEADER_BYTES = 32;
const BLOB = { minimumBytes: 5, typeOffset: 4 } as const;
const BLOB_TYPE = { header: 1, openPgp: 2 } as const;

/** Whether a file claims to be a keybox. No OpenPGP packet starts like one: its first octet has the top bit set. */
export function isKeybox(bytes: Buffer): boolean {
  return (
    bytes.length >= MAGIC.offset + MAGIC.text.length &&
    (bytes[0] ?? 0) < 0x80 &&
    bytes.toString('latin1', MAGIC.offset, MAGIC.offset + MAGIC.text.length) === MAGIC.text
  );
}

/** Whether gpg would prefer this keybox to a `pubring.gpg` beside it; gpgsm makes keyboxes without that flag. */
export function isOpenPgpKeybox(bytes: Buffer): boolean {
  return (
    isKeybox(bytes) && bytes.length >= HEADER_BYTES && (bytes.readUInt16BE(FLAGS_OFFSET) & FLAG_OPENPGP) !== 0
  );
}

/**
 * Checks the framing of a keybox; gpgv parses the keys.
 *
 * @throws what `complain` makes when it is cut off, damaged, or holds no OpenPGP key
 */
export function checkKeybox(bytes: Buffer, complain: Complain): void {
  let openPgpKeys = 0;
  let offset = 0;
  while (offset < bytes.length) {
    const left = bytes.length - offset;
    const length = left < BLOB.minimumBytes ? 0 : bytes.readUInt32BE(offset);
    const smallest = offset === 0 ? HEADER_BYTES : BLOB.minimumBytes;
    if (length < smallest || length > left) {
      throw complain('the keybox is damaged or cut off', {
        offset,
        found: left < BLOB.minimumBytes ? describeBytes(left) : `a blob of ${describeBytes(length)}`,
        expected: `a blob of ${smallest} to ${left} bytes`,
      });
    }
    const type = bytes[offset + BLOB.typeOffset];
    if (offset === 0 && type !== BLOB_TYPE.header) {
      throw complain('the keybox does not start with a header', {
        found: `a blob of type ${type}`,
        expected: `type ${BLOB_TYPE.header}`,
      });
    }
    if (type === BLOB_TYPE.openPgp) openPgpKeys += 1;
    offset += length;
  }
  if (openPgpKeys === 0) {
    throw complain('the keybox holds no OpenPGP key', {
      found: 'no key, or X.509 certificates only',
      expected: 'at least one OpenPGP public key',
    });
  }
}
