import * as v from 'valibot';
import { again } from './again.js';
import type { Server } from './exchange.js';
import { callJsonRpc } from './json-rpc.js';
import { serverFailure } from './server-failure.js';
import { isXenApiError } from './xen-api-error.js';

/** Who logs in. */
export interface Login {
  readonly user: string;
  readonly password: string;
}

/** `session.login_with_password`'s last parameter: what the server's log calls us. */
const ORIGINATOR = 'patch-vdi';
const API_VERSION = '1.0';

/** A secret of fewer characters cannot be told from ordinary text. */
const MIN_SECRET_CHARACTERS = 4;

/** What must not be shown, in the forms in which a server could repeat it. */
function secretWords(words: readonly string[]): string[] {
  const forms = words.flatMap((word) => [word, encodeURIComponent(word), JSON.stringify(word).slice(1, -1)]);
  return [...new Set(forms)].filter((word) => word.length >= MIN_SECRET_CHARACTERS);
}

/** @throws XenApiError when the name or password is wrong, or the server is a slave; PatchVdiError `sink` */
export async function logIn(
  server: Server,
  { user, password }: Login,
  signal: AbortSignal | undefined,
): Promise<string> {
  const method = 'session.login_with_password';
  const ask = (): Promise<unknown> =>
    callJsonRpc(server, {
      method,
      params: [user, password, API_VERSION, ORIGINATOR],
      secrets: secretWords([password]),
      signal,
      timeout: server.timeouts.call,
    });
  // A session that was made and not told of ends by itself. Where nothing listens, people are told at once.
  const answer = await again(ask, { after: ['broken'], pause: server.timeouts.poll, signal });
  const parsed = v.safeParse(v.pipe(v.string(), v.regex(/^[\u0021-\u007e]{1,256}$/)), answer);
  if (parsed.success) return parsed.output;
  throw serverFailure(server.address, 'the server logs us in without a session', {
    found: `${typeof answer} as an answer`,
    expected: 'a reference of visible characters',
  });
}

/**
 * The session of a connection, and of all that were made of it for other signals: when it ends, they get the new one
 * together.
 */
export class Session {
  readonly #server: Server;
  readonly #login: Login | undefined;
  #ref: string;
  /** While somebody logs in again: nobody else does. */
  #renewal: Promise<void> | undefined;

  /** @param login undefined: it is somebody else's, and not made again */
  constructor(server: Server, ref: string, login: Login | undefined) {
    this.#server = server;
    this.#ref = ref;
    this.#login = login;
  }

  get ref(): string {
    return this.#ref;
  }

  /** Whether we have logged in. */
  get isOwn(): boolean {
    return this.#login !== undefined;
  }

  /** What must not be shown. */
  get secrets(): string[] {
    return secretWords([this.#ref, ...(this.#login === undefined ? [] : [this.#login.password])]);
  }

  /**
   * Logs in again, unless somebody has done so since.
   *
   * @param ended the session that has ended
   * @returns false when that is not ours to do
   * @throws XenApiError; PatchVdiError `sink`; the reason of the signal
   */
  async renew(ended: string, signal: AbortSignal | undefined): Promise<boolean> {
    const login = this.#login;
    if (login === undefined) return false;
    if (this.#ref !== ended) return true;
    this.#renewal ??= this.#logIn(login, signal).finally(() => (this.#renewal = undefined));
    try {
      await this.#renewal;
    } catch (error) {
      // Whoever logged in for all of us may have been stopped for reasons of his own.
      if (signal?.aborted === true || isXenApiError(error)) throw error;
      await this.#logIn(login, signal);
    }
    return true;
  }

  async #logIn(login: Login, signal: AbortSignal | undefined): Promise<void> {
    this.#ref = await logIn(this.#server, login, signal);
  }
}
