import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MIB } from '../units.js';
import { dearmor, isArmored } from './armor.js';
import { complaintsAbout, type Complain } from './complaint.js';
import { describeFirstBytes } from './first-bytes.js';
import { readKeyring } from './gpg-home.js';
import { checkKeybox, isKeybox } from './keybox.js';
import { PacketReader } from './packet-reader.js';
import { TAG, tagName, tagOfHeaderOctet } from './packet-tags.js';

/** Debian's whole keyring has some 30 MiB. */
const MAXIMUM_KEYRING_BYTES = 64 * MIB;

/** Framing is all we check; gpgv parses the keys. A photo in a User Attribute packet may be large. */
const PACKET_LIMITS = { maximumPackets: 4_000_000, maximumPacketBytes: 16 * MIB } as const;

const EXPORT_HINT = 'gpg --export KEY > keyring.gpg makes one';

/** Packets that a transferable public key and a gpg keyring consist of (RFC 4880 §11.1, and 12 for trust). */
const KEYRING_TAGS: readonly number[] = [
  TAG.publicKey,
  TAG.publicSubkey,
  TAG.signature,
  TAG.userId,
  TAG.userAttribute,
  TAG.trust,
];

/**
 * Reads the user's keyrings, each once, and writes binary copies into `folder`, where nobody else can change them:
 * gpgv needs binary ones (an armoured one only makes it say "No public key") and absolute paths (a bare name is
 * looked up in its home).
 *
 * @param paths as the user gave them: binary or armoured key files, keyboxes, home folders of gpg
 * @param folder absolute, private (0700); stays the caller's, who removes it
 * @returns absolute paths of the copies, in the same order
 * @throws PatchVdiError `usage` for a file that cannot be read, is empty, or holds anything but public keys
 */
export async function prepareKeyrings(paths: readonly string[], folder: string): Promise<string[]> {
  const copies: string[] = [];
  for (const [index, path] of paths.entries()) {
    const keyring = await readKeyring(path, MAXIMUM_KEYRING_BYTES);
    const keys = publicKeys(keyring.bytes, complaintsAbout('usage', 'read the keyring', keyring.path));
    const copy = join(folder, `keyring-${index}.gpg`);
    await writeFile(copy, keys, { mode: 0o600, flag: 'wx' });
    copies.push(copy);
  }
  return copies;
}

/** The binary keys in a keyring file. Throws what `complain` makes when it is none. */
function publicKeys(bytes: Buffer, complain: Complain): Uint8Array {
  if (bytes.length === 0) {
    throw complain('the keyring is empty', { found: '0 bytes', expected: 'public keys', hint: EXPORT_HINT });
  }
  if (isKeybox(bytes)) {
    checkKeybox(bytes, complain);
    return bytes;
  }
  if (!isArmored(bytes)) {
    checkKeyPackets(bytes, complain);
    return bytes;
  }
  const blocks = dearmor(bytes, complain);
  for (const block of blocks) {
    if (block.label === 'PUBLIC KEY BLOCK') checkKeyPackets(block.bytes, complain);
    else throw noPublicKeys(`an armoured ${block.label}`, block.label.startsWith('PRIVATE'), complain);
  }
  if (blocks.length === 0) throw noPublicKeys('an incomplete armour header line', false, complain);
  return Buffer.concat(blocks.map((block) => block.bytes));
}

function noPublicKeys(found: string, secret: boolean, complain: Complain): Error {
  return complain(
    secret ? 'the keyring contains a secret key' : 'the keyring is not a file of OpenPGP public keys',
    {
      found,
      expected: 'public keys, binary or armoured',
      hint: secret ? `keep secret keys away from here: ${EXPORT_HINT}` : EXPORT_HINT,
    },
  );
}

/** Walks the packets of binary keys: the first is a Public-Key packet, and none is out of place in a keyring. */
function checkKeyPackets(bytes: Uint8Array, complain: Complain): void {
  const first = tagOfHeaderOctet(bytes[0] ?? 0);
  if (first === undefined) throw noPublicKeys(describeFirstBytes(bytes).found, false, complain);
  let packets = 0;
  const reader = new PacketReader(
    {
      packetStart: ({ tag }) => {
        const fits = packets === 0 ? tag === TAG.publicKey : KEYRING_TAGS.includes(tag);
        const secret = tag === TAG.secretKey || tag === TAG.secretSubkey;
        if (!fits) throw noPublicKeys(tagName(tag), secret, complain);
        packets += 1;
      },
      packetBody: () => undefined,
      packetEnd: () => undefined,
    },
    PACKET_LIMITS,
    complain,
  );
  reader.push(bytes);
  reader.end();
}
