import { hexBytes } from './printable.js';
import { CUT_OFF, type Complain } from './complaint.js';
import { isDataTag, tagName, tagOfHeaderOctet } from './packet-tags.js';

/** How the length of a packet is given (RFC 4880 §4.2). */
export type LengthForm = 'definite' | 'partial' | 'indeterminate';

export interface PacketStart {
  readonly tag: number;
  readonly lengthForm: LengthForm;
  /** Body length in bytes; undefined unless the form is definite. */
  readonly bodyBytes: number | undefined;
  /** Offset of the packet's first header octet in the stream, bytes. */
  readonly offset: number;
}

/** Is told what the reader finds. What it throws ends the reading; the reader is not used afterwards. */
export interface PacketHandler {
  packetStart(packet: PacketStart): void;
  /** The next bytes of the body: a view into the chunk that was pushed, valid only during the call. */
  packetBody(bytes: Uint8Array): void;
  packetEnd(): void;
}

export interface PacketLimits {
  readonly maximumPackets: number;
  /** Body length of a packet that is not a data packet, bytes. Data packets are passed through and have no limit. */
  readonly maximumPacketBytes: number;
}

/** The first part of a partial body: RFC 4880 §4.2.2.4 wants at least this many bytes. */
const MINIMUM_PART_BYTES = 512;

/**
 * Parses OpenPGP packet framing (RFC 4880 §4.2) out of chunks of any size. Nothing of a body is copied or kept: a
 * chunk that lies within one body costs one comparison and one call. At most five header octets are remembered.
 */
export class PacketReader {
  readonly #handler: PacketHandler;
  readonly #limits: PacketLimits;
  readonly #complain: Complain;
  /** Offset of the next byte to be pushed. */
  #offset = 0;
  #packets = 0;
  #state: 'header' | 'length' | 'body' = 'header';
  #packetOffset = 0;
  #tag = 0;
  #newFormat = false;
  /** The packet was started: what comes now is the length of a further part. */
  #started = false;
  #moreParts = false;
  /** Octets of the length field collected so far; `#lengthOctets` are needed before it can be decoded. */
  readonly #length = new Uint8Array(5);
  #lengthFilled = 0;
  #lengthOctets = 0;
  /** Body bytes left in the current part; Infinity for an indeterminate length. */
  #remaining = 0;

  constructor(handler: PacketHandler, limits: PacketLimits, complain: Complain) {
    this.#handler = handler;
    this.#limits = limits;
    this.#complain = complain;
  }

  /** Bytes pushed so far; within a handler's call, the offset of what it is told about. */
  get offset(): number {
    return this.#offset;
  }

  /** Reads the next chunk, which stays the caller's. Throws what `complain` makes, and what the handler throws. */
  push(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#state === 'body') {
        const taken = Math.min(this.#remaining, chunk.length - at);
        this.#handler.packetBody(taken === chunk.length ? chunk : chunk.subarray(at, at + taken));
        at += taken;
        this.#offset += taken;
        this.#remaining -= taken;
        if (this.#remaining === 0) this.#partEnd();
      } else {
        const octet = chunk[at] ?? 0;
        if (this.#state === 'header') this.#headerOctet(octet);
        else this.#lengthOctet(octet);
        at += 1;
      }
    }
  }

  /** The stream has ended. An indeterminate length ends with it; anything else unfinished is a truncation. */
  end(): void {
    if (this.#state === 'header') return;
    if (this.#state === 'body' && this.#remaining === Infinity) {
      this.#state = 'header';
      this.#handler.packetEnd();
      return;
    }
    const missing = this.#state === 'body' ? `${this.#remaining} more bytes` : 'the rest of its length';
    throw this.#complain(`the data ends within ${tagName(this.#tag)}`, {
      offset: this.#offset,
      found: 'the end of the data',
      expected: `${missing} of the packet that starts at byte ${this.#packetOffset}`,
      hint: CUT_OFF,
    });
  }

  #headerOctet(octet: number): void {
    const tag = tagOfHeaderOctet(octet);
    if (tag === undefined) {
      throw this.#complain('bytes that are no OpenPGP packet', {
        offset: this.#offset,
        found: hexBytes(Uint8Array.of(octet)),
        expected: this.#packets === 0 ? 'a packet' : 'a packet or the end of the data',
      });
    }
    this.#packets += 1;
    if (this.#packets > this.#limits.maximumPackets) {
      throw this.#complain('too many packets', {
        offset: this.#offset,
        found: `${tagName(tag)} as number ${this.#packets}`,
        expected: `at most ${this.#limits.maximumPackets} packets`,
      });
    }
    this.#packetOffset = this.#offset;
    this.#offset += 1;
    this.#tag = tag;
    this.#newFormat = (octet & 0x40) !== 0;
    this.#started = false;
    const lengthType = octet & 0x03;
    if (!this.#newFormat && lengthType === 3) {
      this.#moreParts = false;
      this.#partStart('indeterminate', Infinity);
      return;
    }
    // In the new format the first length octet says how many there are.
    this.#expectLength(this.#newFormat ? 1 : 2 ** lengthType);
  }

  #expectLength(octets: number): void {
    this.#state = 'length';
    this.#lengthFilled = 0;
    this.#lengthOctets = octets;
  }

  #lengthOctet(octet: number): void {
    this.#offset += 1;
    this.#length[this.#lengthFilled] = octet;
    this.#lengthFilled += 1;
    if (this.#newFormat && this.#lengthFilled === 1) {
      if (octet >= 192 && octet < 224) this.#lengthOctets = 2;
      else if (octet === 255) this.#lengthOctets = 5;
    }
    if (this.#lengthFilled < this.#lengthOctets) return;

    const first = this.#length[0] ?? 0;
    this.#moreParts = this.#newFormat && first >= 224 && first < 255;
    if (this.#moreParts) this.#partStart('partial', 2 ** (first & 0x1f));
    else this.#partStart('definite', this.#decodeLength());
  }

  /** RFC 4880 §4.2.1 and §4.2.2.1 to §4.2.2.3; bytes. */
  #decodeLength(): number {
    const octets = this.#length;
    if (!this.#newFormat) return bigEndian(octets.subarray(0, this.#lengthOctets));
    if (this.#lengthOctets === 1) return octets[0] ?? 0;
    if (this.#lengthOctets === 2) return (((octets[0] ?? 0) - 192) << 8) + (octets[1] ?? 0) + 192;
    return bigEndian(octets.subarray(1, 5));
  }

  #partStart(lengthForm: LengthForm, bytes: number): void {
    this.#remaining = bytes;
    this.#state = 'body';
    if (lengthForm === 'partial' && isDataTag(this.#tag)) this.#checkPartLength(bytes);
    if (!this.#started) {
      this.#started = true;
      this.#checkStart(lengthForm, bytes);
      const bodyBytes = lengthForm === 'definite' ? bytes : undefined;
      this.#handler.packetStart({ tag: this.#tag, lengthForm, bodyBytes, offset: this.#packetOffset });
    }
    if (bytes === 0) this.#partEnd();
  }

  /**
   * The standard bounds the first part only; all later ones but the last are held to the same here, as every known
   * writer does. An upload of parts of one byte each would cost hundreds of times its size in work and memory.
   */
  #checkPartLength(bytes: number): void {
    if (bytes >= MINIMUM_PART_BYTES) return;
    throw this.#complain(`${tagName(this.#tag)} has too short a part`, {
      offset: this.#packetOffset,
      found: `a partial body length of ${bytes} bytes`,
      expected: `at least ${MINIMUM_PART_BYTES} bytes (RFC 4880 §4.2.2.4)`,
    });
  }

  #checkStart(lengthForm: LengthForm, bytes: number): void {
    const at = { offset: this.#packetOffset };
    if (isDataTag(this.#tag)) return;
    if (lengthForm !== 'definite') {
      throw this.#complain(`${tagName(this.#tag)} without a definite length`, {
        ...at,
        found: `a length that is ${lengthForm}`,
        expected: 'its length in its header: only data packets may do without',
      });
    }
    if (bytes > this.#limits.maximumPacketBytes) {
      throw this.#complain(`${tagName(this.#tag)} is too large`, {
        ...at,
        found: `${bytes} bytes`,
        expected: `at most ${this.#limits.maximumPacketBytes} bytes`,
      });
    }
  }

  #partEnd(): void {
    if (this.#moreParts) {
      this.#expectLength(1);
      return;
    }
    this.#state = 'header';
    this.#handler.packetEnd();
  }
}

function bigEndian(octets: Uint8Array): number {
  return octets.reduce((value, octet) => value * 256 + octet, 0);
}
