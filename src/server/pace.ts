import type { ServerLimits } from './limits.js';

/**
 * Watches how a client sends or takes a large body. Only the time counts in which the server waits for the client:
 * a client may be as slow as the server makes it. Who is silent for too long, or trickles, is not waited for.
 */
export class Pace {
  readonly #limits: Pick<ServerLimits, 'idleMilliseconds' | 'bytesPerIdleTime'>;
  readonly #onTooSlow: (found: string) => void;
  #timer: NodeJS.Timeout | undefined;
  #waitingSince: number | undefined;
  /** Of the period under way. */
  #waited = 0;
  #bytes = 0;

  constructor(
    limits: Pick<ServerLimits, 'idleMilliseconds' | 'bytesPerIdleTime'>,
    onTooSlow: (found: string) => void,
  ) {
    this.#limits = limits;
    this.#onTooSlow = onTooSlow;
  }

  /** The server waits from now on. A call costs no timer: the one that runs is looked at when it is over. */
  wait(): void {
    this.#waitingSince = performance.now();
    this.#timer ??= this.#arm(this.#limits.idleMilliseconds);
  }

  /** Something came, or went. */
  moved(bytes: number): void {
    this.#pause();
    this.#bytes += bytes;
    if (this.#waited >= this.#limits.idleMilliseconds) this.#judge();
  }

  #pause(): void {
    if (this.#waitingSince !== undefined) this.#waited += performance.now() - this.#waitingSince;
    this.#waitingSince = undefined;
  }

  #judge(): void {
    const { idleMilliseconds, bytesPerIdleTime } = this.#limits;
    const seconds = idleMilliseconds / 1000;
    if (this.#bytes < bytesPerIdleTime) this.#onTooSlow(`${this.#bytes} bytes in ${seconds} seconds`);
    this.#waited = 0;
    this.#bytes = 0;
  }

  #arm(milliseconds: number): NodeJS.Timeout {
    return setTimeout(() => {
      this.#timer = undefined;
      if (this.#waitingSince === undefined) return;
      const waited = this.#waited + performance.now() - this.#waitingSince;
      const left = this.#limits.idleMilliseconds - waited;
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
