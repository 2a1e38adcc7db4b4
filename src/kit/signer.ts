import { createHash, type Hash } from 'node:crypto';
import { PatchVdiError } from '../errors.js';
import { TAG } from '../signature/packet-tags.js';
import { defineStruct } from '../struct.js';
import { packet, RSA, SHA256 } from './packets.js';
import { documentSignature, documentSignatureBytes, keyIdOf } from './signing.js';
import { fingerprintText, type TestKey } from './test-key.js';

/** One signature in the making. */
export interface RunningSignature {
  /** The next bytes of the document, which must not change any more. A promise means: nothing more until it resolves. */
  update(bytes: Uint8Array): void | Promise<void>;
  /** The Signature packet. Once, after the last byte. */
  finish(): Promise<Uint8Array>;
  /** Ends everything; safe at any time. */
  dispose(): Promise<void>;
}

/** Who signs a test patch. */
export interface PatchSigner {
  /** Of the key that signs, upper-case hex. */
  readonly fingerprint: string;
  /** The One-Pass Signature packet that announces its signature. */
  readonly onePass: Uint8Array;
  /** The length of a Signature packet. Not all signers can keep to it: then they are asked again. */
  readonly signatureBytes: number;
  /**
   * @param attempt counts from 0; every attempt makes another signature of the same bytes
   */
  start(attempt: number): Promise<RunningSignature>;
  dispose(): Promise<void>;
}

/** RFC 4880 §5.4. */
const ONE_PASS_SIGNATURE = defineStruct('One-Pass Signature packet', 'big', 13, {
  version: [0, 'u8'],
  signatureType: [1, 'u8'],
  hashAlgorithm: [2, 'u8'],
  publicKeyAlgorithm: [3, 'u8'],
  keyId: [4, { bytes: 8 }],
  isLast: [12, 'u8'],
});

/**
 * The One-Pass Signature packet of a signature of a binary document.
 *
 * @param isLast 0 when another one follows: the message has several signatures, nested (RFC 4880 §5.4)
 */
export function onePassPacket(
  hashAlgorithm: number,
  publicKeyAlgorithm: number,
  fingerprint: Uint8Array,
  isLast = 1,
): Uint8Array {
  const keyId = new Uint8Array(keyIdOf(fingerprint));
  const body = { version: 3, signatureType: 0, hashAlgorithm, publicKeyAlgorithm, keyId, isLast };
  return packet(TAG.onePassSignature, ONE_PASS_SIGNATURE.encode(body));
}

class HashedSignature implements RunningSignature {
  readonly #hash: Hash = createHash('sha256');
  readonly #sign: (hash: Hash) => Uint8Array;

  constructor(sign: (hash: Hash) => Uint8Array) {
    this.#sign = sign;
  }

  update(bytes: Uint8Array): void {
    this.#hash.update(bytes);
  }

  finish(): Promise<Uint8Array> {
    return Promise.resolve(this.#sign(this.#hash));
  }

  dispose(): Promise<void> {
    return Promise.resolve();
  }
}

/**
 * Signs with a test key, in this process: the same bytes and time, the same signature.
 *
 * @param signedAt Unix seconds; default: when the key was made
 * @throws PatchVdiError `usage` for a time before that
 */
export function testKeySigner(key: TestKey, signedAt = key.createdAt): PatchSigner {
  if (signedAt < key.createdAt) {
    const text = (seconds: number): string => new Date(seconds * 1000).toISOString();
    throw new PatchVdiError('usage', 'the signature would be older than its key', {
      context: { found: text(signedAt), expected: `${text(key.createdAt)} or later` },
      hint: 'make the key with that --source-date-epoch, too',
    });
  }
  return {
    fingerprint: fingerprintText(key),
    onePass: onePassPacket(SHA256, RSA, key.fingerprint),
    signatureBytes: documentSignatureBytes(key),
    start: () => Promise.resolve(new HashedSignature((hash) => documentSignature(hash, signedAt, key))),
    dispose: () => Promise.resolve(),
  };
}
