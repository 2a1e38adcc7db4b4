import type { Complain } from '../signature/complaint.js';
import { complaintsAbout } from '../signature/complaint.js';
import { PacketReader, type PacketStart } from '../signature/packet-reader.js';
import { TAG, tagName } from '../signature/packet-tags.js';
import { inverse, numberOfBytes, type RsaNumbers } from './rsa.js';
import { fingerprintOf, type TestKey } from './test-key.js';

/** A key of ours has less than 3 KiB. */
export const MAX_SECRET_FILE_BYTES = 64 * 1024;

const LIMITS = { maximumPackets: 3, maximumPacketBytes: 16 * 1024 } as const;
const MAX_MODULUS_BITS = 4096;
const MIN_MODULUS_BITS = 1024;

interface Packet {
  readonly tag: number;
  readonly body: Uint8Array;
}

function packetsOf(bytes: Uint8Array, complain: Complain): Packet[] {
  const packets: { tag: number; parts: Uint8Array[] }[] = [];
  const reader = new PacketReader(
    {
      packetStart: ({ tag }: PacketStart) => void packets.push({ tag, parts: [] }),
      packetBody: (part) => void packets.at(-1)?.parts.push(part),
      packetEnd: () => undefined,
    },
    LIMITS,
    complain,
  );
  reader.push(bytes);
  reader.end();
  return packets.map(({ tag, parts }) => ({ tag, body: new Uint8Array(Buffer.concat(parts)) }));
}

/** Takes fields off the front of a packet's body. */
class Fields {
  #rest: Uint8Array;
  readonly #complain: Complain;

  constructor(body: Uint8Array, complain: Complain) {
    this.#rest = body;
    this.#complain = complain;
  }

  take(bytes: number, what: string): Uint8Array {
    if (bytes > this.#rest.length) {
      throw this.#complain('the secret key is cut off', {
        found: `${this.#rest.length} bytes`,
        expected: `${bytes} bytes of ${what}`,
      });
    }
    const taken = this.#rest.subarray(0, bytes);
    this.#rest = this.#rest.subarray(bytes);
    return taken;
  }

  scalar(octetCount: 1 | 2 | 4, what: string): number {
    return Number(numberOfBytes(this.take(octetCount, what)));
  }

  /** RFC 4880 §3.2. */
  mpi(what: string): bigint {
    const bits = this.scalar(2, `the length of ${what}`);
    return numberOfBytes(this.take(Math.ceil(bits / 8), what));
  }
}

/** Whether these numbers belong together: what signs with others produces nonsense, or worse, never ends. */
function isRsaKey({ n, e, d, p, q, u }: RsaNumbers): boolean {
  const bits = n.toString(2).length;
  if (bits < MIN_MODULUS_BITS || bits > MAX_MODULUS_BITS || p <= 1n || q <= p) return false;
  return p * q === n && (d * e) % (p - 1n) === 1n && (d * e) % (q - 1n) === 1n && inverse(p, q) === u;
}

/**
 * Reads the secret key of a folder that `test key` made: one version 4 RSA key without a passphrase, a User ID, a
 * self-signature (which is not looked at). Anything else is refused.
 *
 * @param bytes the whole file, at most {@link MAX_SECRET_FILE_BYTES}; stays the caller's
 * @param path for messages
 * @throws PatchVdiError `usage`
 */
export function readSecretFile(bytes: Uint8Array, path: string): TestKey {
  const complain = complaintsAbout('usage', 'read the secret key', path);
  const packets = packetsOf(bytes, complain);
  const tags = packets.map(({ tag }) => tagName(tag)).join(', ');
  const [secret, id, signature] = packets;
  if (secret?.tag !== TAG.secretKey || id?.tag !== TAG.userId || signature?.tag !== TAG.signature) {
    throw complain('the file is not a secret key made by patch-vdi', {
      found: tags === '' ? 'an empty file' : tags,
      expected: [TAG.secretKey, TAG.userId, TAG.signature].map(tagName).join(', '),
    });
  }
  const fields = new Fields(secret.body, complain);
  const version = fields.scalar(1, 'the version');
  const createdAt = fields.scalar(4, 'the creation time');
  const algorithm = fields.scalar(1, 'the algorithm');
  const [n, e] = version === 4 && algorithm === 1 ? [fields.mpi('n'), fields.mpi('e')] : [0n, 0n];
  const protection = n === 0n ? 0 : fields.scalar(1, 'the protection');
  if (n === 0n || protection !== 0) {
    throw complain('the secret key is of a kind that patch-vdi does not make', {
      found: `version ${version}, algorithm ${algorithm}, protection ${protection}`,
      expected: 'version 4, RSA (1), no passphrase (0)',
    });
  }
  const numbers = { n, e, d: fields.mpi('d'), p: fields.mpi('p'), q: fields.mpi('q'), u: fields.mpi('u') };
  if (!isRsaKey(numbers)) {
    throw complain('the numbers of the secret key do not belong together', {
      found: 'a damaged key',
      expected: 'n = p * q, and the rest to match',
    });
  }
  const userId = Buffer.from(id.body).toString('utf8');
  return { userId, createdAt, numbers, fingerprint: fingerprintOf(createdAt, numbers) };
}
