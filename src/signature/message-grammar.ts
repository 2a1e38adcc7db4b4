import { CUT_OFF, type Complain } from './complaint.js';
import { LiteralBody } from './literal-body.js';
import { checkOnePassPacket } from './one-pass-packet.js';
import { PacketReader, type PacketHandler, type PacketLimits, type PacketStart } from './packet-reader.js';
import { TAG, tagName } from './packet-tags.js';
import { checkSignaturePacket } from './signature-packet.js';

/** More signatures than this on one message are nobody's hotfix. */
export const MAXIMUM_SIGNATURES = 16;

/** A signature has some hundred bytes; notations may make it longer. */
export const MAXIMUM_SIGNATURE_PACKET_BYTES = 64 * 1024;

const LIMITS: PacketLimits = {
  maximumPackets: 2 * MAXIMUM_SIGNATURES + 2,
  maximumPacketBytes: MAXIMUM_SIGNATURE_PACKET_BYTES,
};

/** Takes the body of the Compressed Data packet apart; the grammar itself inflates nothing. */
export interface CompressedBody {
  /** The algorithm octet (RFC 4880 §9.3). Throws when it cannot be handled. */
  open(algorithm: number): void;
  /** The next compressed bytes, a view into the chunk. */
  take(bytes: Uint8Array): void;
  /** The packet ends here. */
  close(): void;
}

export interface GrammarOptions {
  /** The clear text may have this many bytes. */
  readonly clearTextLimitBytes: number;
  /** Absent within a compressed packet, where a second one is refused. */
  readonly compressed?: CompressedBody;
  /** Is shown the body of each One-Pass packet before it is judged; it may have any length. */
  readonly onOnePass?: (body: Uint8Array) => void;
}

type Due = 'message' | 'one-pass' | 'literal' | 'signature' | 'nothing';

const DUE_NAMES: Readonly<Record<Due, string>> = {
  message: 'a One-Pass Signature or Compressed Data packet',
  'one-pass': 'another One-Pass Signature packet',
  literal: 'the Literal Data packet',
  signature: 'a Signature packet for each One-Pass Signature packet',
  nothing: 'the end of the message',
};

const DUE_TAGS: Readonly<Record<Due, readonly number[]>> = {
  message: [TAG.onePassSignature],
  'one-pass': [TAG.onePassSignature],
  literal: [TAG.literalData],
  signature: [TAG.signature],
  nothing: [],
};

/**
 * Accepts exactly one binary signed message, RFC 4880 §11.3 narrowed down:
 * `[Compressed] One-Pass+ Literal Signature+`, with as many signatures as one-pass packets and nothing before,
 * between or behind. One object reads one level: the upload itself, or what its Compressed Data packet contains.
 *
 * A signature covers the clear text and a part of its own packet. Every other byte is covered by nothing and could
 * carry something that was not signed, so this allows as few of them as an ordinary message needs.
 */
export class MessageGrammar implements PacketHandler {
  readonly #reader: PacketReader;
  readonly #options: GrammarOptions;
  readonly #complain: Complain;
  #due: Due = 'message';
  #signaturesDue = 0;
  #signatures = 0;
  #packet: PacketStart | undefined;
  /** The body of a one-pass or signature packet: at most MAXIMUM_SIGNATURE_PACKET_BYTES. */
  #small = new Uint8Array(0);
  #smallFilled = 0;
  #literal: LiteralBody | undefined;
  #clearTextBytes = 0;
  #algorithmKnown = false;

  constructor(options: GrammarOptions, complain: Complain) {
    this.#options = options;
    this.#complain = complain;
    this.#reader = new PacketReader(this, LIMITS, complain);
  }

  /** Reads the next bytes of this level, which stay the caller's. Throws `signature` at the first fault. */
  push(bytes: Uint8Array): void {
    this.#reader.push(bytes);
  }

  /**
   * This level has ended. Throws `signature` when the message is not complete.
   *
   * @returns the number of signatures, 0 when they are on the level below
   */
  end(): number {
    this.#reader.end();
    if (this.#due !== 'nothing') {
      throw this.#complain('the signed message is cut off', {
        offset: this.#reader.offset,
        found: 'the end of the data',
        expected: DUE_NAMES[this.#due],
        hint: CUT_OFF,
      });
    }
    return this.#signatures;
  }

  /** Bytes of clear text; known when the literal packet has ended. */
  get clearTextBytes(): number {
    return this.#clearTextBytes;
  }

  packetStart(packet: PacketStart): void {
    this.#packet = packet;
    const { tag } = packet;
    const startsCompressed =
      tag === TAG.compressedData && this.#due === 'message' && this.#options.compressed !== undefined;
    if (!startsCompressed && !DUE_TAGS[this.#due].includes(tag)) throw this.#misplaced(packet);
    if (tag === TAG.literalData) {
      this.#literal = new LiteralBody(packet, this.#options.clearTextLimitBytes, this.#complain);
    } else if (!startsCompressed) {
      this.#small = new Uint8Array(packet.bodyBytes ?? 0);
      this.#smallFilled = 0;
    }
  }

  packetBody(bytes: Uint8Array): void {
    if (this.#literal !== undefined) {
      this.#literal.take(bytes);
    } else if (this.#packet?.tag === TAG.compressedData) {
      this.#compressedBody(bytes);
    } else {
      this.#small.set(bytes, this.#smallFilled);
      this.#smallFilled += bytes.length;
    }
  }

  packetEnd(): void {
    const { tag = 0, offset = 0 } = this.#packet ?? {};
    if (tag === TAG.onePassSignature) {
      this.#signaturesDue += 1;
      this.#options.onOnePass?.(this.#small);
      const last = checkOnePassPacket(this.#small, offset, this.#complain);
      this.#due = last ? 'literal' : 'one-pass';
      if (this.#signaturesDue > MAXIMUM_SIGNATURES) {
        throw this.#complain('too many signatures', {
          offset,
          found: `One-Pass Signature packet number ${this.#signaturesDue}`,
          expected: `at most ${MAXIMUM_SIGNATURES}`,
        });
      }
    } else if (tag === TAG.literalData) {
      this.#literal?.end();
      this.#clearTextBytes = this.#literal?.clearTextBytes ?? 0;
      this.#literal = undefined;
      this.#due = 'signature';
    } else if (tag === TAG.signature) {
      checkSignaturePacket(this.#small, offset, this.#complain);
      this.#signatures += 1;
      this.#due = this.#signatures === this.#signaturesDue ? 'nothing' : 'signature';
    } else {
      this.#compressedEnd(offset);
    }
  }

  #compressedBody(bytes: Uint8Array): void {
    const body = this.#options.compressed;
    if (this.#algorithmKnown) {
      body?.take(bytes);
      return;
    }
    this.#algorithmKnown = true;
    body?.open(bytes[0] ?? 0);
    if (bytes.length > 1) body?.take(bytes.subarray(1));
  }

  #compressedEnd(offset: number): void {
    if (!this.#algorithmKnown) {
      throw this.#complain('an empty Compressed Data packet', { offset, expected: 'a signed message in it' });
    }
    this.#due = 'nothing';
    this.#options.compressed?.close();
  }

  #misplaced(packet: PacketStart): Error {
    const { tag, offset } = packet;
    const nested = tag === TAG.compressedData && this.#due === 'message';
    const message = nested
      ? 'a compressed message within a compressed message'
      : this.#due === 'nothing'
        ? 'something follows the signed message'
        : this.#due === 'message'
          ? 'not a signed message'
          : 'a signed message with a packet out of place';
    return this.#complain(message, { offset, found: tagName(tag), expected: DUE_NAMES[this.#due] });
  }
}
