import { clientOf } from './addresses.js';
import { HttpRefusal } from './http-refusal.js';
import type { Limits } from './limits.js';

type ClientLimit = 'connectionsPerClient' | 'requestsAtOnce' | 'requestsPerClient' | 'uploadsAtOnce';

/** Counts what is under way, of each client and of all. */
export class Clients {
  readonly #limits: Pick<Limits, ClientLimit>;
  readonly #connections = new Map<string, number>();
  readonly #requests = new Map<string, number>();
  #all = 0;
  #uploads = 0;

  constructor(limits: Pick<Limits, ClientLimit>) {
    this.#limits = limits;
  }

  /** @returns to be called at the end of the connection; undefined when the client has too many: without a word */
  connect(address: string): (() => void) | undefined {
    const client = clientOf(address);
    if ((this.#connections.get(client) ?? 0) >= this.#limits.connectionsPerClient) return undefined;
    return countIn(this.#connections, client);
  }

  /** @returns to be called at the end of the request. @throws HttpRefusal TOO_MANY_REQUESTS */
  enter(address: string): () => void {
    const client = clientOf(address);
    const count = this.#requests.get(client) ?? 0;
    if (this.#all >= this.#limits.requestsAtOnce) throw busy('requests', this.#all);
    if (count >= this.#limits.requestsPerClient) throw busy('requests of this client', count);
    this.#all += 1;
    const leave = countIn(this.#requests, client);
    return () => {
      this.#all -= 1;
      leave();
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

/** @returns what takes it back */
function countIn(counts: Map<string, number>, client: string): () => void {
  counts.set(client, (counts.get(client) ?? 0) + 1);
  return () => {
    const left = (counts.get(client) ?? 1) - 1;
    if (left > 0) counts.set(client, left);
    else counts.delete(client);
  };
}

function busy(what: string, count: number): HttpRefusal {
  return new HttpRefusal('TOO_MANY_REQUESTS', `${count} ${what} are under way: try again later`, {
    'Retry-After': '10',
  });
}
