/** How much of an output is kept; what is between is counted and dropped. */
export interface KeptBytes {
  readonly first: number;
  readonly last: number;
}

/**
 * Takes an output of any length and keeps its beginning and its end: whoever prints without end fills no memory, and
 * need not be killed for it.
 */
export class KeptOutput {
  readonly #limits: KeptBytes;
  readonly #first: Buffer[] = [];
  #firstBytes = 0;
  /** The newest; together never more than twice the limit before they are cut. */
  #last: Buffer[] = [];
  #lastBytes = 0;
  #droppedBytes = 0;

  constructor(limits: KeptBytes) {
    this.#limits = limits;
  }

  /** @param bytes the receiver's from now on */
  take(bytes: Buffer): void {
    const room = Math.min(bytes.length, this.#limits.first - this.#firstBytes);
    if (room > 0) {
      this.#first.push(bytes.subarray(0, room));
      this.#firstBytes += room;
    }
    if (room === bytes.length) return;
    this.#last.push(bytes.subarray(room));
    this.#lastBytes += bytes.length - room;
    if (this.#lastBytes > 2 * this.#limits.last) this.#cut();
  }

  /** What was dropped, bytes. */
  get droppedBytes(): number {
    this.#cut();
    return this.#droppedBytes;
  }

  /** UTF-8, with replacement characters where it is none; a line in the middle says what is missing. */
  text(): string {
    this.#cut();
    const first = Buffer.concat(this.#first);
    const last = Buffer.concat(this.#last);
    if (this.#droppedBytes === 0) return Buffer.concat([first, last]).toString('utf8');
    return `${first.toString('utf8')}\n[${this.#droppedBytes} bytes left out]\n${last.toString('utf8')}`;
  }

  #cut(): void {
    const excess = this.#lastBytes - this.#limits.last;
    if (excess <= 0) return;
    // A copy of its own: views would keep all of the buffers that the pipe delivered.
    const kept = new Uint8Array(Buffer.concat(this.#last).subarray(excess));
    this.#last = [Buffer.from(kept.buffer)];
    this.#lastBytes = kept.length;
    this.#droppedBytes += excess;
  }
}
