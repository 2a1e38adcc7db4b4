import { clientOf } from './addresses.js';

/** Wrong passwords that a client may send at once. */
const BURST = 20;
/** … and one more whenever so much time has passed: 10 a minute. */
const REFILL_MILLISECONDS = 6000;
/** After that a client that has none has one more. */
export const NEXT_ATTEMPT_SECONDS = REFILL_MILLISECONDS / 1000;
/**
 * Clients that are remembered. Who has more addresses than that is forgotten and may begin anew; what he can try is then
 * bounded by the work that a hash is (two at a time).
 */
const MAX_CLIENTS = 4096;

interface Attempts {
  left: number;
  /** When `left` was counted. */
  at: number;
}

/**
 * How many passwords a client may still try out: an address of IPv4, 64 bits of IPv6. Each attempt takes one and gives
 * it back when the password was right. It counts clients, not accounts: nobody can lock an account for others.
 */
export class AttemptCounter {
  readonly #now: () => number;
  /** Who tried longest ago comes first. */
  readonly #clients = new Map<string, Attempts>();

  /** @param now milliseconds that only grow */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** Takes one; false when there is none. */
  take(address: string): boolean {
    const client = clientOf(address);
    const now = this.#now();
    const { left, at } = this.#clients.get(client) ?? { left: BURST, at: now };
    const gained = Math.floor((now - at) / REFILL_MILLISECONDS);
    const full = left + gained >= BURST;
    const attempts = {
      left: full ? BURST : left + gained,
      at: full ? now : at + gained * REFILL_MILLISECONDS,
    };
    this.#clients.delete(client);
    this.#clients.set(client, attempts);
    this.#forget();
    if (attempts.left < 1) return false;
    attempts.left -= 1;
    return true;
  }

  giveBack(address: string): void {
    const client = clientOf(address);
    const attempts = this.#clients.get(client);
    if (attempts === undefined) return;
    attempts.left = Math.min(BURST, attempts.left + 1);
    if (attempts.left === BURST) this.#clients.delete(client);
  }

  #forget(): void {
    const oldest = this.#clients.keys().next();
    if (this.#clients.size > MAX_CLIENTS && oldest.done !== true) this.#clients.delete(oldest.value);
  }

  /** For tests: how many are remembered. */
  get size(): number {
    return this.#clients.size;
  }
}
