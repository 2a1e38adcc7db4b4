import { KIB } from '../units.js';
import { hashAlgorithmName, publicKeyAlgorithmName } from './algorithm-names.js';
import { UPLOAD_NAME, complaintsAbout } from './complaint.js';
import { describeFirstBytes, startsSignedMessage } from './first-bytes.js';
import { Inflater } from './inflater.js';
import {
  complaintWords,
  DECOMPRESSED,
  describeMessage,
  describeOther,
  type ClaimedSigner,
  type LookCompression,
} from './look-words.js';
import { MessageGrammar } from './message-grammar.js';
import { onePassClaim } from './one-pass-packet.js';
import { TAG, tagOfHeaderOctet } from './packet-tags.js';
import { printable } from './printable.js';

export type { ClaimedSigner, LookCompression } from './look-words.js';

/** More of an upload than this is not looked at, and no more of what it inflates to. Bytes. */
export const LOOK_BYTES = 64 * KIB;

const OPERATION = 'look at the upload';

/** RFC 4880 §9.3. */
const COMPRESSION_NAMES: Readonly<Record<number, LookCompression>> = {
  0: 'none',
  1: 'ZIP',
  2: 'ZLIB',
  3: 'BZip2',
};

/** A first look at an upload, without keys and without gpgv. It vouches for nothing. All text is printable. */
export interface UploadLook {
  /** A signed message is what has at least one One-Pass packet where it belongs. */
  readonly kind: 'signed message' | 'not a signed message';
  /**
   * For people: `an OpenPGP signed message, compressed with ZIP, SHA-256, by key 0123456789ABCDEF`, or what it seems
   * to be instead: `a ZIP file`, `a script without a signature`.
   */
  readonly description: string;
  /** Undefined when it does not begin like an OpenPGP message; `BZip2` and `unknown` cannot be looked into. */
  readonly compression: LookCompression | undefined;
  /** In the order of the packets, at most 17. */
  readonly signers: readonly ClaimedSigner[];
  /** What the grammar of uploads refuses about the beginning, in words; about the whole when it was given whole. */
  readonly complaint: string | undefined;
}

/**
 * Looks at the beginning of an upload. Never rejects for what the bytes are; does bounded work: of 64 KiB at most,
 * and of what they inflate to, 64 KiB.
 *
 * @param firstBytes from the start of the upload, best {@link LOOK_BYTES} or all of it; stays the caller's, and must
 *   not change until the promise is settled
 * @param totalBytes of the upload: when the first bytes are all there is, the end is judged, too
 */
export async function lookAtUpload(firstBytes: Uint8Array, totalBytes: number): Promise<UploadLook> {
  const beginning = firstBytes.subarray(0, LOOK_BYTES);
  const firstOctet = beginning[0] ?? 0;
  if (!startsSignedMessage(firstOctet)) {
    const { found, hint } = describeFirstBytes(beginning);
    return {
      kind: 'not a signed message',
      description: describeOther(found),
      compression: undefined,
      signers: [],
      complaint: printable(`the upload is not a binary signed message (${hint})`),
    };
  }
  const look = new MessageLook(firstOctet);
  const complaint = await look.at(beginning, beginning.length >= totalBytes);
  return {
    kind: look.signers.length > 0 ? 'signed message' : 'not a signed message',
    description: describeMessage(look.compression, look.signers),
    compression: look.compression,
    signers: look.signers,
    complaint,
  };
}

/** Both grammars of an upload, as the check of a whole one has them, with an eye on the One-Pass packets. */
class MessageLook {
  compression: LookCompression;
  readonly signers: ClaimedSigner[] = [];
  readonly #complain = complaintsAbout('signature', OPERATION, UPLOAD_NAME);
  readonly #outer: MessageGrammar;
  readonly #inner: MessageGrammar;
  #inflater: Inflater | undefined;
  #compressed: Uint8Array[] = [];
  #inflatedBytes = 0;
  #failure: unknown;
  /** Inflating has come as far as it shall. */
  #enough: () => void = () => undefined;

  /** @param firstOctet that of a Compressed Data or One-Pass packet */
  constructor(firstOctet: number) {
    // Until its algorithm has been read.
    this.compression = tagOfHeaderOctet(firstOctet) === TAG.compressedData ? 'unknown' : 'none';
    const clearTextLimitBytes = Number.MAX_SAFE_INTEGER;
    const onOnePass = (body: Uint8Array) => this.#addSigner(body);
    const compressed = {
      open: (algorithm: number) => this.#openCompressed(algorithm),
      take: (bytes: Uint8Array) => void this.#compressed.push(bytes),
      close: () => undefined,
    };
    this.#outer = new MessageGrammar({ clearTextLimitBytes, onOnePass, compressed }, this.#complain);
    this.#inner = new MessageGrammar(
      { clearTextLimitBytes, onOnePass },
      complaintsAbout('signature', OPERATION, DECOMPRESSED),
    );
  }

  /** Returns the complaint, or undefined. */
  async at(beginning: Uint8Array, whole: boolean): Promise<string | undefined> {
    try {
      this.#outer.push(beginning);
      if (whole) this.#outer.end();
    } catch (error) {
      this.#failure = error;
    }
    // A fault behind the compressed packet is found first, and yet there may be signers in it.
    if (this.#inflater !== undefined) await this.#lookInside(this.#inflater, whole);
    return this.#failure === undefined ? undefined : complaintWords(this.#failure);
  }

  async #lookInside(inflater: Inflater, whole: boolean): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#enough = resolve;
      let lent = this.#compressed.length;
      if (lent === 0) resolve();
      for (const bytes of this.#compressed) {
        inflater.write(bytes, () => {
          lent -= 1;
          if (lent === 0) resolve();
        });
      }
    });
    try {
      if (whole && this.#failure === undefined && this.#inflatedBytes < LOOK_BYTES) {
        await inflater.finish();
        if (this.#failure === undefined && this.#inflatedBytes < LOOK_BYTES) this.#inner.end();
      }
    } catch (error) {
      this.#failure ??= error;
    } finally {
      await inflater.destroy();
    }
  }

  #openCompressed(algorithm: number): void {
    this.compression = COMPRESSION_NAMES[algorithm] ?? 'unknown';
    this.#inflater = new Inflater(
      algorithm,
      (bytes) => this.#takeInflated(bytes),
      (error) => {
        this.#failure ??= error;
        this.#enough();
      },
      this.#complain,
    );
  }

  #takeInflated(bytes: Uint8Array): void {
    if (this.#inflatedBytes >= LOOK_BYTES) return;
    this.#inner.push(bytes.subarray(0, LOOK_BYTES - this.#inflatedBytes));
    this.#inflatedBytes += bytes.length;
    if (this.#inflatedBytes >= LOOK_BYTES) this.#enough();
  }

  #addSigner(body: Uint8Array): void {
    const claim = onePassClaim(body);
    if (claim === undefined) return;
    this.signers.push({
      keyId: claim.keyId,
      publicKeyAlgorithm: publicKeyAlgorithmName(claim.publicKeyAlgorithm),
      hashAlgorithm: hashAlgorithmName(claim.hashAlgorithm),
    });
  }
}
