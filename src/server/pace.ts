import type { Limits } from './limits.js';

/**
 * Watches how a client sends or takes a large body. Only the time counts in which the server waits for the client:
 * a client may be as slow as the server makes it. Who is silent for too long, or trickles, is not waited for.
 */
export class Pace {
  readonly #limits: Pick<Limits, 'idleSeconds' | 'idleBytes'>;
  readonly #onTooSlow: (found: string) => void;
  readonly #idleMilliseconds: number;
  #timer: NodeJS.Timeout | undefined;
  #waitingSince: number | undefined;
  /** Of the period under way. */
  #waited = 0;
  #bytes = 0;

  constructor(limits: Pick<Limits, 'idleSeconds' | 'idleBytes'>, onTooSlow: (found: string) => void) {
    this.#limits = limits;
    this.#idleMilliseconds = limits.idleSeconds * 1000;
    this.#onTooSlow = onTooSlow;
  }

  /** The server waits from now on. A call costs no timer: the one that runs is looked at when it is over. */
  wait(): void {
    this.#waitingSince = performance.now();
    this.#timer ??= this.#arm(this.#idleMilliseconds);
  }

  /** Something came, or went. */
  moved(bytes: number): void {
    this.#pause();
    this.#bytes += bytes;
    if (this.#waited >= this.#idleMilliseconds) this.#judge();
  }

  #pause(): void {
    if (this.#waitingSince !== undefined) this.#waited += performance.now() - this.#waitingSince;
    this.#waitingSince = undefined;
  }

  #judge(): void {
    const { idleSeconds, idleBytes } = this.#limits;
    if (this.#bytes < idleBytes) this.#onTooSlow(`${this.#bytes} bytes in ${idleSeconds} seconds`);
    this.#waited = 0;
    this.#bytes = 0;
  }

  #arm(milliseconds: number): NodeJS.Timeout {
    return setTimeout(() => {
      this.#timer = undefined;
      if (this.#waitingSince === undefined) return;
      const waited = this.#waited + performance.now() - this.#waitingSince;
      const left = this.#idleMilliseconds - waited;
      if (left > 0) {
        this.#timer = this.#arm(left);
        return;
      }
      this.#pause();
      this.#judge();
      this.wait();
    }, milliseconds);
  }

  dispose(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#waitingSince = undefined;
  }
}
