import { invariant } from '../errors.js';
import { expandEntries, type PlanEntry, type Segment } from '../plan/segment-list.js';
import { trace } from '../trace.js';
import { MIB } from '../units.js';
import { releaseAfter } from './chunk.js';
import type { RandomAccessFile } from './random-access-file.js';
import type { Sink } from './sink.js';

/** Bytes of template or zeros that are written before the sink is asked whether it wants more. */
const PIECE_BYTES = MIB;

/**
 * Walks entries of a plan once, from front to back, and puts every byte where the plan says: payload from the chunks
 * it is given, everything else from the template and the plan itself. It knows no format.
 */
export class PlanWriter {
  readonly #segments: Iterator<Segment>;
  readonly #template: RandomAccessFile;
  readonly #sink: Sink;
  #segment: Segment | undefined;
  /** Bytes of the current segment that are written. */
  #done = 0;

  constructor(entries: readonly PlanEntry[], template: RandomAccessFile, sink: Sink) {
    this.#segments = expandEntries(entries);
    this.#template = template;
    this.#sink = sink;
    this.#next();
  }

  #next(): void {
    const next = this.#segments.next();
    this.#segment = next.done === true ? undefined : next.value;
    this.#done = 0;
    trace('write', () => (this.#segment === undefined ? 'end of entries' : describe(this.#segment)));
  }

  /**
   * Writes the next bytes of the payload, and whatever stands in front of them.
   *
   * @param done called once when `bytes` is no longer needed
   * @returns a promise to wait for before the next call, when the sink wants a pause
   * @throws PatchVdiError `space` | `sink`
   */
  accept(bytes: Uint8Array, done: () => void): void | Promise<void> {
    const wait = this.#emitOthers();
    if (wait !== undefined) return wait.then(() => this.accept(bytes, done));
    const segment = this.#segment;
    invariant(segment !== undefined, 'the plan has room for every byte of the payload');

    const left = segment.length - this.#done;
    const position = segment.offset + this.#done;
    if (bytes.length < left) {
      this.#done += bytes.length;
      this.#sink.write(bytes, position, done);
      return this.#sink.drained();
    }
    if (bytes.length === left) {
      this.#next();
      this.#sink.write(bytes, position, done);
      return this.#sink.drained();
    }
    const release = releaseAfter(2, done);
    this.#next();
    this.#sink.write(bytes.subarray(0, left), position, release);
    return this.accept(bytes.subarray(left), release);
  }

  /**
   * Writes what is left: metadata, zeros, the seal. The payload must be complete.
   *
   * @throws PatchVdiError `space` | `sink`
   */
  async finish(): Promise<void> {
    await this.#emitOthers();
    invariant(this.#segment === undefined, 'all payload was written before the end');
  }

  /** Writes segments up to the next payload. Stops with a promise when the sink wants a pause. */
  #emitOthers(): Promise<void> | undefined {
    while (this.#segment !== undefined && this.#segment.content.kind !== 'payload') {
      this.#emitPiece(this.#segment);
      const wait = this.#sink.drained();
      if (wait !== undefined) return wait.then(() => this.#emitOthers());
    }
    return undefined;
  }

  #emitPiece(segment: Segment): void {
    const { content } = segment;
    const length =
      content.kind === 'literal' ? segment.length : Math.min(PIECE_BYTES, segment.length - this.#done);
    const position = segment.offset + this.#done;
    switch (content.kind) {
      case 'literal':
        this.#sink.write(content.bytes, position);
        break;
      case 'template': {
        const bytes = this.#template.read(content.imageOffset + this.#done, length);
        // A stream may still hold the bytes when the buffer is read into again; a file has taken them.
        this.#sink.write(this.#sink.seekable ? bytes : new Uint8Array(bytes), position);
        break;
      }
      case 'zeros':
        this.#sink.writeZeros(position, length, content.free === true);
        break;
      case 'payload':
        invariant(false, 'payload comes through accept()');
    }
    this.#done += length;
    if (this.#done === segment.length) this.#next();
  }
}

function describe(segment: Segment): string {
  return `${segment.name} ${segment.content.kind} ${segment.offset}+${segment.length}`;
}
