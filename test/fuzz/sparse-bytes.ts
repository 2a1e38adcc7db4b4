import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';

const PAGE_BYTES = 4096;
const ZEROS = new Uint8Array(PAGE_BYTES);

/** An image in memory: pages that are not zeros. An overlay copies what is written to it, and leaves what is below. */
export class SparseBytes {
  sizeBytes: number;
  readonly #pages = new Map<number, Uint8Array>();
  readonly #below: SparseBytes | undefined;

  private constructor(sizeBytes: number, below?: SparseBytes) {
    this.sizeBytes = sizeBytes;
    this.#below = below;
  }

  static ofZeros(sizeBytes: number): SparseBytes {
    return new SparseBytes(sizeBytes);
  }

  static of(bytes: Uint8Array): SparseBytes {
    const sparse = new SparseBytes(bytes.length);
    for (let at = 0; at < bytes.length; at += PAGE_BYTES) {
      const page = bytes.subarray(at, at + PAGE_BYTES);
      if (page.some((byte) => byte !== 0)) sparse.write(at, page);
    }
    return sparse;
  }

  overlay(): SparseBytes {
    return new SparseBytes(this.sizeBytes, this);
  }

  #page(number: number): Uint8Array {
    return this.#pages.get(number) ?? (this.#below === undefined ? ZEROS : this.#below.#page(number));
  }

  /** Fills `target`; zeros behind the end. */
  readInto(target: Uint8Array, offsetBytes: number): void {
    for (let done = 0; done < target.length;) {
      const at = offsetBytes + done;
      const within = at % PAGE_BYTES;
      const page = this.#page(Math.floor(at / PAGE_BYTES));
      const part = page.subarray(within, within + target.length - done);
      target.set(part, done);
      done += part.length;
    }
    if (offsetBytes + target.length > this.sizeBytes)
      target.fill(0, Math.max(0, this.sizeBytes - offsetBytes));
  }

  read(offsetBytes: number, length: number): Uint8Array {
    const target = new Uint8Array(length);
    this.readInto(target, offsetBytes);
    return target;
  }

  /** What would lie behind the end is left out. */
  write(offsetBytes: number, bytes: Uint8Array): void {
    const end = Math.min(offsetBytes + bytes.length, this.sizeBytes);
    for (let at = offsetBytes; at < end;) {
      const number = Math.floor(at / PAGE_BYTES);
      let page = this.#pages.get(number);
      if (page === undefined) {
        page = Uint8Array.from(this.#page(number));
        this.#pages.set(number, page);
      }
      const within = at - number * PAGE_BYTES;
      const length = Math.min(PAGE_BYTES - within, end - at);
      page.set(bytes.subarray(at - offsetBytes, at - offsetBytes + length), within);
      at += length;
    }
  }

  #numbers(into: Set<number>): Set<number> {
    if (this.#below !== undefined) this.#below.#numbers(into);
    for (const number of this.#pages.keys()) into.add(number);
    return into;
  }

  /** As a sparse file, for the judges. */
  writeTo(path: string): void {
    const fd = openSync(path, 'w');
    try {
      ftruncateSync(fd, this.sizeBytes);
      for (const number of this.#numbers(new Set())) {
        const at = number * PAGE_BYTES;
        const length = Math.min(PAGE_BYTES, this.sizeBytes - at);
        if (length > 0) writeSync(fd, this.#page(number), 0, length, at);
      }
    } finally {
      closeSync(fd);
    }
  }
}
