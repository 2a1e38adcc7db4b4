/** Pages by their number; of too many, the one that was not used for the longest time goes. */
export class PageCache {
  readonly #maxPages: number;
  /** In the order of their last use. */
  readonly #pages = new Map<number, Uint8Array>();

  constructor(maxPages: number) {
    this.#maxPages = maxPages;
  }

  has(number: number): boolean {
    return this.#pages.has(number);
  }

  get(number: number): Uint8Array | undefined {
    const page = this.#pages.get(number);
    if (page !== undefined) {
      this.#pages.delete(number);
      this.#pages.set(number, page);
    }
    return page;
  }

  put(number: number, page: Uint8Array): void {
    this.#pages.delete(number);
    this.#pages.set(number, page);
    for (const oldest of this.#pages.keys()) {
      if (this.#pages.size <= this.#maxPages) break;
      this.#pages.delete(oldest);
    }
  }
}
