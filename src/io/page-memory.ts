import { KIB, MIB } from '../units.js';

const PAGE_BYTES = 4 * KIB;
const SLAB_PAGES = 256;

/** Enough for the metadata of any image that we know of, and for a fair piece of its content. */
const MEMORY_BYTES = 32 * MIB;

const ZEROS = Buffer.alloc(PAGE_BYTES);

/**
 * The first bytes of a stream, as many of them as the budget holds. Pages of zeros cost nothing: a page before the
 * end that was not kept is one of those.
 */
export class PageMemory {
  readonly #maxPages: number;
  /** Where the page of that number lies in the slabs. */
  readonly #slots = new Map<number, number>();
  readonly #slabs: Buffer[] = [];
  /** The page that the stream is in; its start up to `#endBytes` is filled. */
  readonly #current = Buffer.alloc(PAGE_BYTES);
  #endBytes = 0;
  #full = false;

  constructor(budgetBytes = MEMORY_BYTES) {
    this.#maxPages = Math.floor(budgetBytes / PAGE_BYTES);
  }

  /** So many bytes, from the first one, can be read back. It goes back by less than a page when the budget is spent. */
  get endBytes(): number {
    return this.#endBytes;
  }

  /** The stream's next bytes; they are copied, or forgotten when the budget is spent. */
  append(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length && !this.#full;) {
      const filled = this.#endBytes % PAGE_BYTES;
      const piece = bytes.subarray(done, done + PAGE_BYTES - filled);
      if (piece.length === PAGE_BYTES) this.#keep(piece, piece.length);
      else {
        this.#current.set(piece, filled);
        if (filled + piece.length === PAGE_BYTES) this.#keep(this.#current, piece.length);
        else this.#endBytes += piece.length;
      }
      done += piece.length;
    }
  }

  /** The current page is complete with these last bytes. */
  #keep(page: Uint8Array, newBytes: number): void {
    const number = Math.floor(this.#endBytes / PAGE_BYTES);
    if (!ZEROS.equals(page)) {
      const slot = this.#slots.size;
      if (slot === this.#maxPages) {
        this.#full = true;
        this.#endBytes = number * PAGE_BYTES;
        return;
      }
      if (slot % SLAB_PAGES === 0) this.#slabs.push(Buffer.allocUnsafeSlow(SLAB_PAGES * PAGE_BYTES));
      this.#slots.set(number, slot);
      this.#pageAt(slot)?.set(page);
    }
    this.#endBytes += newBytes;
  }

  #pageAt(slot: number): Buffer | undefined {
    const start = (slot % SLAB_PAGES) * PAGE_BYTES;
    return this.#slabs[Math.floor(slot / SLAB_PAGES)]?.subarray(start, start + PAGE_BYTES);
  }

  #page(number: number): Uint8Array {
    const slot = this.#slots.get(number);
    if (slot !== undefined) return this.#pageAt(slot) ?? ZEROS;
    return number === Math.floor(this.#endBytes / PAGE_BYTES) ? this.#current : ZEROS;
  }

  /** Fills `target` from there. The range ends at `endBytes` or before. */
  readInto(target: Uint8Array, offsetBytes: number): void {
    for (let done = 0; done < target.length;) {
      const at = offsetBytes + done;
      const start = at % PAGE_BYTES;
      const end = Math.min(PAGE_BYTES, start + target.length - done);
      target.set(this.#page(Math.floor(at / PAGE_BYTES)).subarray(start, end), done);
      done += end - start;
    }
  }
}
