import { createHash } from 'node:crypto';
import { PatchVdiError } from '../errors.js';
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
  utf8,
} from './packets.js';
import { seededRsaNumbers, type RsaNumbers } from './rsa.js';
import { certification } from './signing.js';
import type { Seed } from './seed.js';

/** A throw-away signing key. It is good for tests and for nothing else: nobody keeps it secret. */
export interface TestKey {
  readonly userId: string;
  /** Unix seconds. */
  readonly createdAt: number;
  readonly numbers: RsaNumbers;
  /** 20 bytes. */
  readonly fingerprint: Uint8Array;
}

export interface TestKeyRequest {
  readonly seed: Seed;
  /** Default {@link DEFAULT_USER_ID}. */
  readonly userId?: string | undefined;
  /** Unix seconds; default {@link DEFAULT_CREATED_AT}. */
  readonly createdAt?: number | undefined;
}

export const DEFAULT_USER_ID = 'patch-vdi test key <test@patch-vdi.invalid>';

/** 2020-01-01T00:00:00Z: long enough ago for every host's clock. */
export const DEFAULT_CREATED_AT = 1_577_836_800;

const MAX_USER_ID_BYTES = 255;
const MAX_TIME = 2 ** 32 - 1;

/** RFC 4880 §5.2.3.21: may certify, may sign. */
const CERTIFY_AND_SIGN = 0x03;

function checkUserId(text: string): string {
  const bytes = Buffer.byteLength(text, 'utf8');
  const isWellFormed = Buffer.from(text, 'utf8').toString('utf8') === text;
  if (bytes >= 1 && bytes <= MAX_USER_ID_BYTES && isWellFormed && !/\p{Cc}/u.test(text)) return text;
  throw new PatchVdiError('usage', 'the user ID cannot be used', {
    context: {
      found: `${bytes} bytes: ${JSON.stringify(text.slice(0, 64))}`,
      expected: `1 to ${MAX_USER_ID_BYTES} bytes of UTF-8, no control characters`,
    },
  });
}

/** The body of a version 4 Public-Key packet, RFC 4880 §5.5.2. */
function publicKeyBody(createdAt: number, { n, e }: Pick<RsaNumbers, 'n' | 'e'>): Uint8Array {
  return concatBytes(octets(4), scalar(createdAt, 4), octets(RSA), mpi(n), mpi(e));
}

/** What stands in front of a key's body wherever it is hashed (RFC 4880 §5.2.4). */
function hashedKey(body: Uint8Array): Uint8Array {
  return concatBytes(octets(0x99), scalar(body.length, 2), body);
}

/** RFC 4880 §12.2. */
export function fingerprintOf(createdAt: number, numbers: RsaNumbers): Uint8Array {
  const hash = createHash('sha1').update(hashedKey(publicKeyBody(createdAt, numbers)));
  return new Uint8Array(hash.digest());
}

/** 40 upper-case hexadecimal digits, as gpg prints it. */
export function fingerprintText(key: Pick<TestKey, 'fingerprint'>): string {
  return Buffer.from(key.fingerprint).toString('hex').toUpperCase();
}

/**
 * Makes an RSA key of 2048 bits: the same request, the same key and fingerprint.
 *
 * @throws PatchVdiError `usage`
 */
export function makeTestKey(request: TestKeyRequest): TestKey {
  const userId = checkUserId(request.userId ?? DEFAULT_USER_ID);
  const createdAt = request.createdAt ?? DEFAULT_CREATED_AT;
  const numbers = seededRsaNumbers(request.seed);
  return { userId, createdAt, numbers, fingerprint: fingerprintOf(createdAt, numbers) };
}

/** User ID and self-signature, the same in both keyrings (RFC 4880 §11.1, §11.2). */
function userIdAndCertification(key: TestKey, expiresAfterSeconds: number | undefined): Uint8Array {
  const id = utf8(key.userId);
  const hashed = createHash('sha256')
    .update(hashedKey(publicKeyBody(key.createdAt, key.numbers)))
    .update(concatBytes(octets(0xb4), scalar(id.length, 4), id));
  const subpackets = [
    subpacket(SUBPACKET.keyFlags, octets(CERTIFY_AND_SIGN)),
    subpacket(SUBPACKET.preferredHashAlgorithms, octets(SHA256)),
    ...(expiresAfterSeconds === undefined
      ? []
      : [subpacket(SUBPACKET.keyExpirationTime, scalar(expiresAfterSeconds, 4))]),
  ];
  return concatBytes(packet(TAG.userId, id), certification(hashed, key.createdAt, key, subpackets));
}

/**
 * How long a key is in force, checked.
 *
 * @throws PatchVdiError `usage`
 */
export function checkLifetime(createdAt: number, expiresAfterSeconds: number | undefined): void {
  const seconds = expiresAfterSeconds;
  if (seconds === undefined) return;
  if (Number.isSafeInteger(seconds) && seconds >= 1 && createdAt + seconds <= MAX_TIME) return;
  throw new PatchVdiError('usage', 'the expiry of the key cannot be used', {
    context: {
      found: `${seconds} seconds after its creation`,
      expected: `after its creation (${new Date(createdAt * 1000).toISOString()}) and before 2106`,
    },
  });
}

/**
 * The transferable public key (RFC 4880 §11.1), binary: what `--keyring` and `gpg --import` take.
 *
 * @param expiresAfterSeconds counted from the key's creation; undefined: never
 */
export function publicKeyring(key: TestKey, expiresAfterSeconds?: number): Uint8Array {
  checkLifetime(key.createdAt, expiresAfterSeconds);
  return concatBytes(
    packet(TAG.publicKey, publicKeyBody(key.createdAt, key.numbers)),
    userIdAndCertification(key, expiresAfterSeconds),
  );
}

/** The transferable secret key (RFC 4880 §11.2, §5.5.3) without a passphrase. */
export function secretKeyring(key: TestKey, expiresAfterSeconds?: number): Uint8Array {
  checkLifetime(key.createdAt, expiresAfterSeconds);
  const { d, p, q, u } = key.numbers;
  const secret = concatBytes(mpi(d), mpi(p), mpi(q), mpi(u));
  const checksum = secret.reduce((sum, octet) => (sum + octet) % 65_536, 0);
  const body = publicKeyBody(key.createdAt, key.numbers);
  return concatBytes(
    packet(TAG.secretKey, body, octets(0), secret, scalar(checksum, 2)),
    userIdAndCertification(key, expiresAfterSeconds),
  );
}
