/**
 * Buffers lent to a consumer that may die: each is given back exactly once, by the consumer's own callback or, when
 * it will not call any more, all at once. (A zlib stream never calls the callback of the write that failed, and a
 * pipe to a dead process may not either.)
 */
export class Releases {
  readonly #pending = new Set<() => void>();
  #closed = false;

  /** A function to call when the buffer is free; runs `done` once, however often it is called. */
  lend(done: () => void): () => void {
    const release = () => {
      if (this.#pending.delete(release)) done();
    };
    this.#pending.add(release);
    if (this.#closed) queueMicrotask(release);
    return release;
  }

  /** The consumer is gone: gives everything back now, and at once what is lent from now on. */
  close(): void {
    this.#closed = true;
    for (const release of this.#pending) release();
  }
}

/** A function that runs `done` when it was called `count` times. */
export function countdown(count: number, done: () => void): () => void {
  let left = count;
  return () => {
    left -= 1;
    if (left === 0) done();
  };
}
