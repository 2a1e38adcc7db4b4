import { invariant } from '../errors.js';
import { checkedBytes, GIB } from '../units.js';
import { TAG } from '../signature/packet-tags.js';
import { concatBytes, definiteLength, octets, scalar } from './packets.js';

/** Some bytes of framing, and how many bytes of clear text follow them. */
export interface FramedRun {
  readonly frame: Uint8Array;
  readonly clearBytes: number;
}

/**
 * A binary signed message (RFC 4880 §11.3) before it is written: One-Pass Signature, Literal Data, Signature. The
 * runs hold all but the Signature packet, which comes last.
 */
export interface MessageFrame {
  readonly clearTextBytes: number;
  readonly runs: readonly FramedRun[];
}

/** Format `b` (binary), no file name, no date: RFC 4880 §5.9. */
const LITERAL_HEADER = concatBytes(octets(0x62, 0), scalar(0, 4));

const LITERAL_TAG = octets(0xc0 + TAG.literalData);
const DEFINITE_LENGTH_BYTES = definiteLength(0).length;

/** The largest part of a body that has a length of its own, 2^30 bytes, and its length octet: RFC 4880 §4.2.2.4. */
const PART_BYTES = GIB;
const PART_LENGTH = octets(224 + 30);

/**
 * A length may say up to 4 GiB, but gpgv 2.2.40 takes the length of a last part for a signed number: from 2 GiB on it
 * finds no signature (measured). So it is kept as small as the other parts.
 */
const MAX_LAST_PART_BYTES = PART_BYTES;

/** Bytes of a message besides its clear text, as long as that is smaller than 1 GiB. */
export function frameBytes(onePassBytes: number, signatureBytes: number): number {
  return onePassBytes + LITERAL_TAG.length + DEFINITE_LENGTH_BYTES + LITERAL_HEADER.length + signatureBytes;
}

/**
 * Divides a message of an exact length. A body beyond 1 GiB goes out in parts of 1 GiB, as few as are needed, before
 * the last one: there is a message of every length from {@link frameBytes} on.
 *
 * @param totalBytes of the whole message; not less than `frameBytes`
 * @param onePass the One-Pass Signature packet
 */
export function frameMessage(totalBytes: number, onePass: Uint8Array, signatureBytes: number): MessageFrame {
  const bodyAndLengths = totalBytes - onePass.length - LITERAL_TAG.length - signatureBytes;
  const excess = bodyAndLengths - DEFINITE_LENGTH_BYTES - MAX_LAST_PART_BYTES;
  const parts = Math.max(0, Math.ceil(excess / (PART_BYTES + PART_LENGTH.length)));
  const bodyBytes = bodyAndLengths - DEFINITE_LENGTH_BYTES - parts * PART_LENGTH.length;
  const lastPart = definiteLength(checkedBytes(bodyBytes - parts * PART_BYTES));
  const lengths = [...Array.from({ length: parts }, () => PART_LENGTH), lastPart];
  const runs = lengths.map((length, index): FramedRun => {
    const partBytes = index < parts ? PART_BYTES : bodyBytes - parts * PART_BYTES;
    if (index > 0) return { frame: length, clearBytes: partBytes };
    return {
      frame: concatBytes(onePass, LITERAL_TAG, length, LITERAL_HEADER),
      clearBytes: checkedBytes(partBytes - LITERAL_HEADER.length),
    };
  });
  return { clearTextBytes: bodyBytes - LITERAL_HEADER.length, runs };
}

/** Puts the frames between the bytes of the clear text. Views of the chunks are handed on, nothing is copied. */
export class Framer {
  readonly #runs: readonly FramedRun[];
  #run = 0;
  #left = 0;

  constructor(runs: readonly FramedRun[]) {
    this.#runs = runs;
  }

  /** The next bytes of the clear text with what belongs between them; no more in all than the runs have. */
  *frame(chunk: Uint8Array): Generator<Uint8Array> {
    yield* this.#nextRuns();
    for (let at = 0; at < chunk.length; yield* this.#nextRuns()) {
      invariant(this.#left > 0, 'the clear text is as long as was said');
      const taken = Math.min(this.#left, chunk.length - at);
      yield chunk.subarray(at, at + taken);
      at += taken;
      this.#left -= taken;
    }
  }

  /** Frames of runs that are due, those of empty runs too. */
  *#nextRuns(): Generator<Uint8Array> {
    while (this.#left === 0) {
      const run = this.#runs[this.#run];
      if (run === undefined) return;
      yield run.frame;
      this.#left = run.clearBytes;
      this.#run += 1;
    }
  }
}
