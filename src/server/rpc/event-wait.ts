/** Why a wait is over. */
export type WaitEnd = 'timeout' | 'gone' | 'superseded' | 'closed' | 'session';

/** One call of `event.from` that waits for something to happen. */
export class EventWait {
  #ended: WaitEnd | undefined;
  #changed = false;
  #wake: (() => void) | undefined;
  readonly #timer: NodeJS.Timeout;
  readonly #signal: AbortSignal;
  readonly #onAbort = (): void => this.end('gone');

  constructor(timeoutMilliseconds: number, signal: AbortSignal) {
    this.#signal = signal;
    this.#timer = setTimeout(() => this.end('timeout'), timeoutMilliseconds);
    signal.addEventListener('abort', this.#onAbort);
    if (signal.aborted) this.end('gone');
  }

  get ended(): WaitEnd | undefined {
    return this.#ended;
  }

  /** The first reason counts. */
  end(reason: WaitEnd): void {
    this.#ended ??= reason;
    this.#wake?.();
  }

  notify(): void {
    this.#changed = true;
    this.#wake?.();
  }

  /**
   * Resolves when something has changed since the last time, or this has ended. What changes shortly after that is told
   * together with it.
   */
  async next(coalesceMilliseconds: number): Promise<void> {
    while (!this.#changed && this.#ended === undefined) await this.#woken();
    if (this.#ended === undefined) await this.#woken(coalesceMilliseconds);
    this.#changed = false;
  }

  /** Resolves with the next thing that happens; with a time, only with that or the end. */
  async #woken(milliseconds?: number): Promise<void> {
    await new Promise<void>((resolve) => {
      if (milliseconds === undefined) {
        this.#wake = resolve;
        return;
      }
      const timer = setTimeout(resolve, milliseconds);
      this.#wake = () => {
        if (this.#ended === undefined) return;
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = undefined;
  }

  /** Nothing is left behind it. */
  dispose(): void {
    clearTimeout(this.#timer);
    this.#signal.removeEventListener('abort', this.#onAbort);
  }
}
