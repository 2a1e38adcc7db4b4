import { isPatchVdiError } from '../../errors.js';
import { connectPool, type ConnectOptions } from '../../xenapi/connect.js';
import type { XenConnection } from '../../xenapi/connection.js';
import { DEFAULT_TIMEOUTS, type ServerTimeouts } from '../../xenapi/exchange.js';
import { parseServerUrl } from '../../xenapi/server-address.js';
import { lostConnection } from '../../xenapi/server-failure.js';
import type { Login } from '../../xenapi/session.js';
import { readSrInventory, type SrInventory } from '../../xenapi/sr-inventory.js';
import type { ServerTrust } from '../../xenapi/trust.js';
import { isXenApiError } from '../../xenapi/xen-api-error.js';

/** Shorter than for people who wait at a terminal: somebody else waits for us. */
const TIMEOUTS: ServerTimeouts = { ...DEFAULT_TIMEOUTS, call: 120_000 };

/** How long a look at the pool counts, whatever came of it. */
const LOOK_MILLISECONDS = 5000;
/** One look; nobody waits longer for it. */
const LOOK_LIMIT_MILLISECONDS = 30_000;

export interface PoolLinkOptions extends Pick<ConnectOptions, 'allowPlainHttp'> {
  readonly url: string;
  readonly credentials: Login;
  readonly trust: ServerTrust;
  /** Stops the first login. */
  readonly signal?: AbortSignal | undefined;
  readonly timeouts?: Partial<ServerTimeouts> | undefined;
  /** How long a look at the pool counts; default 5000. */
  readonly lookMilliseconds?: number | undefined;
}

interface Look {
  readonly at: number;
  readonly seen: Promise<SrInventory>;
}

/**
 * The way to a real pool, for as long as a server runs: one session, made again when it has ended; and the master is
 * looked for again when another host has become it.
 */
export class PoolLink {
  readonly #options: PoolLinkOptions;
  readonly #closing = new AbortController();
  #connection: Promise<XenConnection> | undefined;
  #look: Look | undefined;

  private constructor(options: PoolLinkOptions, connection: XenConnection) {
    this.#options = options;
    this.#connection = Promise.resolve(connection);
  }

  /** @throws XenApiError SESSION_AUTHENTICATION_FAILED and others; PatchVdiError `usage` | `sink`; the signal's reason */
  static async open(options: PoolLinkOptions): Promise<PoolLink> {
    return new PoolLink(options, await connect(options, options.signal));
  }

  /** As it was given: `https://host:port`. */
  get name(): string {
    return parseServerUrl(this.#options.url, { allowPlainHttp: this.#options.allowPlainHttp }).name;
  }

  /**
   * Does something with the pool.
   *
   * @param signal stops it
   * @throws XenApiError; PatchVdiError; what `work` throws
   */
  async use<Result>(
    signal: AbortSignal | undefined,
    work: (connection: XenConnection) => Promise<Result>,
  ): Promise<Result> {
    signal?.throwIfAborted();
    const promise = (this.#connection ??= connect(this.#options, this.#closing.signal));
    let connection: XenConnection;
    try {
      connection = await promise;
    } catch (error) {
      if (this.#connection === promise) this.#connection = undefined;
      throw error;
    }
    try {
      return await work(connection.withSignal(signal));
    } catch (error) {
      if (this.#connection === promise && this.#isElsewhere(error, connection)) this.#connection = undefined;
      throw error;
    }
  }

  /** Another host is the master, or the one that we were sent to is away: the next one asks at the URL again. */
  #isElsewhere(error: unknown, { name }: XenConnection): boolean {
    const cause = isPatchVdiError(error) && isXenApiError(error.cause) ? error.cause : error;
    if (isXenApiError(cause)) return cause.code === 'HOST_IS_SLAVE';
    return lostConnection(error) === 'unreachable' && name !== this.name;
  }

  /** What the pool has; a few seconds old at most. @throws XenApiError; PatchVdiError `sink` */
  async look(): Promise<SrInventory> {
    const { lookMilliseconds = LOOK_MILLISECONDS } = this.#options;
    if (this.#look === undefined || performance.now() - this.#look.at > lookMilliseconds) {
      const limits = [this.#closing.signal, AbortSignal.timeout(LOOK_LIMIT_MILLISECONDS)];
      const seen = this.use(AbortSignal.any(limits), readSrInventory);
      // Whoever waits for it sees what came of it.
      seen.catch(() => undefined);
      this.#look = { at: performance.now(), seen };
    }
    return await this.#look.seen;
  }

  /** Logs out. Never fails. When nothing is under way. */
  async close(): Promise<void> {
    this.#closing.abort();
    const connection = await this.#connection?.catch(() => undefined);
    await connection?.close();
  }
}

async function connect(options: PoolLinkOptions, signal: AbortSignal | undefined): Promise<XenConnection> {
  const { url, credentials, trust, timeouts, allowPlainHttp } = options;
  return await connectPool({
    url,
    credentials,
    trust,
    signal,
    timeouts: { ...TIMEOUTS, ...timeouts },
    allowPlainHttp,
  });
}
