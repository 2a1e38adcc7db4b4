import { createHash, generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { packet } from './openpgp-bench.js';

/**
 * An RSA key whose signatures are put together here, octet by octet, for what gpg will not write: version 3, control
 * characters in notations, repeated packets. RFC 4880 §5.2 and §5.5.
 */
export class CraftedKey {
  readonly #secret: KeyObject;
  readonly #public: Buffer;
  readonly fingerprint: string;
  readonly userId: string;
  readonly createdAt = 1_600_000_000;

  constructor(userId: string) {
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    this.#secret = privateKey;
    this.userId = userId;
    const jwk = publicKey.export({ format: 'jwk' });
    const number = (base64url = '') => mpi(Buffer.from(base64url, 'base64url'));
    this.#public = Buffer.concat([
      Buffer.of(4),
      uint(this.createdAt, 4),
      Buffer.of(1),
      number(jwk.n),
      number(jwk.e),
    ]);
    this.fingerprint = createHash('sha1').update(this.#framed()).digest('hex').toUpperCase();
  }

  get keyId(): Buffer {
    return Buffer.from(this.fingerprint.slice(-16), 'hex');
  }

  /** A binary keyring with this key and its self-signature. */
  keyring(): Buffer {
    const userId = Buffer.from(this.userId, 'latin1');
    const certified = Buffer.concat([this.#framed(), Buffer.of(0xb4), uint(userId.length, 4), userId]);
    const flags = subpacket(27, 0x03);
    return Buffer.concat([
      packet(6, this.#public),
      packet(13, userId),
      this.version4(certified, { type: 0x13, hashed: flags }),
    ]);
  }

  #framed(): Buffer {
    return Buffer.concat([Buffer.of(0x99), uint(this.#public.length, 2), this.#public]);
  }

  version4(
    data: Uint8Array,
    {
      type = 0,
      hashed = Buffer.alloc(0) as Uint8Array,
      unhashed = subpacket(16, this.keyId) as Uint8Array,
    } = {},
  ): Buffer {
    const created = subpacket(2, uint(this.createdAt + 10, 4));
    const fields = Buffer.concat([
      Buffer.of(4, type, 1, 8),
      uint(created.length + hashed.length, 2),
      created,
      hashed,
    ]);
    const trailer = Buffer.concat([fields, Buffer.of(4, 0xff), uint(fields.length, 4)]);
    return packet(2, fields, uint(unhashed.length, 2), unhashed, this.#signed(data, trailer));
  }

  version3(data: Uint8Array, type = 0): Buffer {
    const hashedPart = Buffer.concat([Buffer.of(type), uint(this.createdAt + 10, 4)]);
    return packet(
      2,
      Buffer.of(3, 5),
      hashedPart,
      this.keyId,
      Buffer.of(1, 8),
      this.#signed(data, hashedPart),
    );
  }

  onePass(last = 1, type = 0): Buffer {
    return packet(4, Buffer.of(3, type, 8, 1), this.keyId, Buffer.of(last));
  }

  #signed(data: Uint8Array, trailer: Buffer): Buffer {
    const covered = Buffer.concat([data, trailer]);
    const digest = createHash('sha256').update(covered).digest();
    return Buffer.concat([digest.subarray(0, 2), mpi(sign('sha256', covered, this.#secret))]);
  }
}

export function literal(content: Uint8Array | string, name: Uint8Array | string = '', format = 'b'): Buffer {
  const nameBytes = Buffer.from(name as Uint8Array);
  return packet(11, Buffer.from(format), nameBytes.length, nameBytes, uint(1_600_000_000, 4), content);
}

/** RFC 4880 §5.2.3.1, short form. */
export function subpacket(type: number, body: Uint8Array | number): Buffer {
  const bytes = typeof body === 'number' ? Buffer.of(body) : body;
  return Buffer.concat([Buffer.of(bytes.length + 1, type), bytes]);
}

/** RFC 4880 §5.2.3.16: flags, the two lengths, name, value. */
export function notation(name: string, value: string): Buffer {
  const [nameBytes, valueBytes] = [Buffer.from(name), Buffer.from(value)];
  return subpacket(
    20,
    Buffer.concat([
      uint(0x80000000, 4),
      uint(nameBytes.length, 2),
      uint(valueBytes.length, 2),
      nameBytes,
      valueBytes,
    ]),
  );
}

export function uint(value: number, octets: number): Buffer {
  const buffer = Buffer.alloc(octets);
  buffer.writeUIntBE(value, 0, octets);
  return buffer;
}

function mpi(value: Buffer): Buffer {
  const first = value.findIndex((octet) => octet !== 0);
  const trimmed = value.subarray(first);
  const bits = 8 * trimmed.length - Math.clz32(trimmed.readUInt8(0)) + 24;
  return Buffer.concat([uint(bits, 2), trimmed]);
}
