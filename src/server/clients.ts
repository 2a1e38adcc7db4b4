import { HttpRefusal } from './http-refusal.js';
import type { Limits } from './limits.js';

/** Counts what is under way, of each client and of all. */
export class Clients {
  readonly #limits: Pick<Limits, 'requestsAtOnce' | 'requestsPerClient' | 'uploadsAtOnce'>;
  readonly #requests = new Map<string, number>();
  #all = 0;
  #uploads = 0;

  constructor(limits: Pick<Limits, 'requestsAtOnce' | 'requestsPerClient' | 'uploadsAtOnce'>) {
    this.#limits = limits;
  }

  /** @returns to be called at the end of the request. @throws HttpRefusal TOO_MANY_REQUESTS */
  enter(address: string): () => void {
    const count = this.#requests.get(address) ?? 0;
    if (this.#all >= this.#limits.requestsAtOnce) throw busy('requests', this.#all);
    if (count >= this.#limits.requestsPerClient) throw busy('requests of this client', count);
    this.#all += 1;
    this.#requests.set(address, count + 1);
    return () => {
      this.#all -= 1;
      const left = (this.#requests.get(address) ?? 1) - 1;
      if (left > 0) this.#requests.set(address, left);
      else this.#requests.delete(address);
    };
  }

  /** @returns to be called at the end of the upload. @throws HttpRefusal TOO_MANY_REQUESTS */
  enterUpload(): () => void {
    if (this.#uploads >= this.#limits.uploadsAtOnce) throw busy('uploads', this.#uploads);
    this.#uploads += 1;
    return () => {
      this.#uploads -= 1;
    };
  }
}

function busy(what: string, count: number): HttpRefusal {
  return new HttpRefusal('TOO_MANY_REQUESTS', `${count} ${what} are under way: try again later`, {
    'Retry-After': '10',
  });
}
