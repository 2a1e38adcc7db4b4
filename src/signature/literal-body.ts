import { describeBytes } from '../units.js';
import type { Complain } from './complaint.js';
import type { PacketStart } from './packet-reader.js';

/** The literal format for binary data, RFC 4880 §5.9. */
const FORMAT_BINARY = 0x62;

/** Format, length of the name, date (4); the name's own bytes come on top. */
const HEADER_BYTES = 6;

/**
 * Follows the body of a Literal Data packet (RFC 4880 §5.9) and counts its clear text. Name and date are unsigned
 * (gpgv says VALIDSIG after they were changed): they are skipped, never kept.
 */
export class LiteralBody {
  readonly #packet: PacketStart;
  readonly #limitBytes: number;
  readonly #complain: Complain;
  #headerSeen = 0;
  #headerBytes = HEADER_BYTES;
  #clearTextBytes = 0;

  constructor(packet: PacketStart, clearTextLimitBytes: number, complain: Complain) {
    this.#packet = packet;
    this.#limitBytes = clearTextLimitBytes;
    this.#complain = complain;
    // A longest possible name is granted here; take() counts exactly.
    const least = (packet.bodyBytes ?? 0) - HEADER_BYTES - 255;
    if (least > clearTextLimitBytes) throw this.#tooLarge(`${describeBytes(least)} or more`);
  }

  /** Bytes of clear text so far. */
  get clearTextBytes(): number {
    return this.#clearTextBytes;
  }

  take(bytes: Uint8Array): void {
    let at = 0;
    while (this.#headerSeen < this.#headerBytes && at < bytes.length) {
      const octet = bytes[at] ?? 0;
      if (this.#headerSeen === 0) this.#checkFormat(octet);
      if (this.#headerSeen === 1) this.#headerBytes += octet;
      this.#headerSeen += 1;
      at += 1;
    }
    this.#clearTextBytes += bytes.length - at;
    if (this.#clearTextBytes > this.#limitBytes) throw this.#tooLarge('more');
  }

  end(): void {
    if (this.#headerSeen === this.#headerBytes) return;
    throw this.#complain('a Literal Data packet that ends within its header', {
      offset: this.#packet.offset,
      found: `${this.#headerSeen} bytes`,
      expected: `${this.#headerBytes} bytes and the clear text`,
    });
  }

  /**
   * Only 'b'. The format octet is unsigned, and 't' and 'u' make `gpgv -o` convert line endings: what it puts out,
   * and what is executed later, would then not be the bytes that were signed.
   */
  #checkFormat(format: number): void {
    if (format === FORMAT_BINARY) return;
    const name = format === 0x74 || format === 0x75 ? 'text' : 'unknown';
    throw this.#complain('a signed message whose content is not marked as binary', {
      offset: this.#packet.offset,
      found: `literal format 0x${format.toString(16).padStart(2, '0')} (${name})`,
      expected: "literal format 'b' (binary)",
      hint: 'sign without --textmode',
    });
  }

  #tooLarge(found: string): Error {
    return this.#complain('the clear text of the signed message is too large', {
      offset: this.#packet.offset,
      found,
      expected: `at most ${describeBytes(this.#limitBytes)}`,
      hint: 'an upload that was cut off on its way looks like this: compare its length with that at its source. If it is whole, choose a larger image: the clear text has to fit into its scratch space',
    });
  }
}
