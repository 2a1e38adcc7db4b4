import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MIB } from '../units.js';
import { dearmor, isArmored } from './armor.js';
import { complaintsAbout, type Complain } from './complaint.js';
import { describeFirstBytes } from './first-bytes.js';
import { readInputFile } from './input-file.js';
import { MAXIMUM_SIGNATURE_PACKET_BYTES, MAXIMUM_SIGNATURES } from './message-grammar.js';
import { PacketReader } from './packet-reader.js';
import { TAG, tagName, tagOfHeaderOctet } from './packet-tags.js';
import { checkSignaturePacket } from './signature-packet.js';

const MAXIMUM_DETACHED_BYTES = MIB;

const HINT = 'gpg --detach-sign FILE makes one';

export interface DetachedSignature {
  /** Absolute path of the private copy. */
  readonly path: string;
  readonly signatures: number;
}

/**
 * Reads a detached signature file once, checks that it consists of signatures of a binary document and nothing
 * else, and writes a binary copy into `folder`, where it cannot change any more.
 *
 * @param folder absolute, private (0700); stays the caller's
 * @throws PatchVdiError `usage` when it cannot be read, `signature` when it is not a detached signature
 */
export async function prepareDetachedSignature(path: string, folder: string): Promise<DetachedSignature> {
  const complain = complaintsAbout('signature', 'read the detached signature', path);
  const bytes = await readInputFile(path, 'the detached signature', MAXIMUM_DETACHED_BYTES);
  const binary = isArmored(bytes) ? onlyArmoredSignature(bytes, complain) : bytes;
  const signatures = countSignatures(binary, complain);
  const copy = join(folder, 'detached.sig');
  await writeFile(copy, binary, { mode: 0o600, flag: 'wx' });
  return { path: copy, signatures };
}

function notDetached(found: string, complain: Complain): Error {
  return complain('not a detached signature', { found, expected: 'one or more signatures', hint: HINT });
}

function onlyArmoredSignature(bytes: Uint8Array, complain: Complain): Uint8Array {
  const blocks = dearmor(bytes, complain);
  const [block] = blocks;
  if (block === undefined || blocks.length > 1)
    throw notDetached(`${blocks.length} armoured blocks`, complain);
  if (block.label !== 'SIGNATURE') throw notDetached(`an armoured ${block.label}`, complain);
  return block.bytes;
}

/** Every packet is a signature and keeps the rules of {@link checkSignaturePacket}. Returns how many there are. */
function countSignatures(bytes: Uint8Array, complain: Complain): number {
  if (tagOfHeaderOctet(bytes[0] ?? 0) === undefined) {
    throw notDetached(describeFirstBytes(bytes).found, complain);
  }
  let signatures = 0;
  let packetOffset = 0;
  let body: Uint8Array = new Uint8Array(0);
  const reader = new PacketReader(
    {
      packetStart: ({ tag, offset }) => {
        if (tag !== TAG.signature) throw notDetached(tagName(tag), complain);
        packetOffset = offset;
        body = new Uint8Array(0);
      },
      // The file is pushed whole, so a body comes in one piece.
      packetBody: (view) => {
        body = view;
      },
      packetEnd: () => {
        checkSignaturePacket(body, packetOffset, complain);
        signatures += 1;
      },
    },
    { maximumPackets: MAXIMUM_SIGNATURES, maximumPacketBytes: MAXIMUM_SIGNATURE_PACKET_BYTES },
    complain,
  );
  reader.push(bytes);
  reader.end();
  return signatures;
}
