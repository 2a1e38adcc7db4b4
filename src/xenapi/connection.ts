import * as v from 'valibot';
import { again } from './again.js';
import type { UploadSource } from '../io/chunk.js';
import { withoutSecrets } from '../io/http.js';
import { trace } from '../trace.js';
import type { Server, ServerTimeouts } from './exchange.js';
import { getStream, type ServerDownload } from './get-stream.js';
import { callJsonRpc, isRepeatable, type Json } from './json-rpc.js';
import { openPut, type OpenedPut } from './open-put.js';
import { putStream } from './put-stream.js';
import { printable } from '../signature/printable.js';
import type { ServerAddress } from './server-address.js';
import { serverFailure } from './server-failure.js';
import { isXenApiError } from './xen-api-error.js';

/** Parameters of a handler; undefined ones are left out. The session is added. */
export type Query = Readonly<Record<string, string | undefined>>;

/** A schema for what a server answers. */
export type AnswerSchema = v.GenericSchema;

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
 * A session with a pool. Calls get the session as their first parameter. What comes back was checked by whoever asked
 * for it with a schema; texts in it are the server's, and to be escaped before they are shown.
 */
export class XenConnection {
  readonly #server: Server;
  readonly #login: Login | undefined;
  readonly #signal: AbortSignal | undefined;
  #session: string;
  #closed = false;

  /** @param login undefined: the session is somebody else's, and not closed in the end */
  constructor(server: Server, session: string, login: Login | undefined, signal: AbortSignal | undefined) {
    this.#server = server;
    this.#session = session;
    this.#login = login;
    this.#signal = signal;
  }

  /** `https://host:8443`: the master, if another one was asked first. */
  get name(): string {
    return this.#server.address.name;
  }

  get address(): ServerAddress {
    return this.#server.address;
  }

  get timeouts(): ServerTimeouts {
    return this.#server.timeouts;
  }

  /** Stops everything. */
  get signal(): AbortSignal | undefined {
    return this.#signal;
  }

  get #secrets(): string[] {
    return secretWords([this.#session, ...(this.#login === undefined ? [] : [this.#login.password])]);
  }

  /** A text of the server's without what must not be shown. */
  readonly clean = (text: string): string => withoutSecrets(text, this.#secrets);

  async #rpc(
    method: string,
    params: readonly Json[],
    signal: AbortSignal | undefined,
    timeout: number,
  ): Promise<unknown> {
    const secrets = this.#secrets;
    return await callJsonRpc(this.#server, {
      method,
      params: [this.#session, ...params],
      secrets,
      signal,
      timeout,
    });
  }

  /**
   * A call. One that only reads is made again with a new session when the old one has ended; another one could have
   * been made by somebody else meanwhile for reasons that are no longer good. One that may be made twice is made again
   * when the connection was lost, a few times.
   *
   * @throws XenApiError; PatchVdiError `sink`; the reason of the signal
   */
  async call(method: string, ...params: readonly Json[]): Promise<unknown> {
    if (!isRepeatable(method)) return await this.#callOnce(method, params);
    const { poll: pause } = this.#server.timeouts;
    const work = (): Promise<unknown> => this.#callOnce(method, params);
    return await again(work, { after: ['unreachable', 'broken'], pause, signal: this.#signal });
  }

  async #callOnce(method: string, params: readonly Json[]): Promise<unknown> {
    const { call: timeout } = this.#server.timeouts;
    try {
      return await this.#rpc(method, params, this.#signal, timeout);
    } catch (error) {
      const ended = isXenApiError(error) && error.code === 'SESSION_INVALID';
      if (!ended || this.#login === undefined || !isRepeatable(method)) throw error;
      trace('xenapi', () => `${method}: the session has ended, logging in again`);
      this.#session = await logIn(this.#server, this.#login, this.#signal);
      return await this.#rpc(method, params, this.#signal, timeout);
    }
  }

  /** The same, and what comes back is what it should be. @throws PatchVdiError `sink` when it is not */
  async callAs<Schema extends AnswerSchema>(
    schema: Schema,
    method: string,
    ...params: readonly Json[]
  ): Promise<v.InferOutput<Schema>> {
    return this.check(schema, method, await this.call(method, ...params));
  }

  /** @throws PatchVdiError `sink` */
  check<Schema extends AnswerSchema>(
    schema: Schema,
    operation: string,
    answer: unknown,
  ): v.InferOutput<Schema> {
    const parsed = v.safeParse(schema, answer, { abortEarly: true });
    if (parsed.success) return parsed.output;
    const [issue] = parsed.issues;
    const where = v.getDotPath(issue);
    const found = `${issue.received.slice(0, 60)}${where === null ? '' : ` as ${where.slice(0, 100)}`}`;
    throw serverFailure(this.#server.address, `the server's answer makes no sense: ${operation}`, {
      found: printable(found, 200),
      expected: issue.expected ?? issue.message.slice(0, 100),
      hint: 'it may be of another version, or no pool at all',
    });
  }

  /**
   * For what must be said before we end, also after the signal: no longer than a farewell may take. It is about
   * something of our own: so it is said again in a new session if the old one has ended.
   */
  async callBeforeEnd(method: string, ...params: readonly Json[]): Promise<unknown> {
    const { farewell } = this.#server.timeouts;
    try {
      return await this.#rpc(method, params, undefined, farewell);
    } catch (error) {
      const ended = isXenApiError(error) && error.code === 'SESSION_INVALID';
      if (!ended || this.#login === undefined || method.startsWith('session.')) throw error;
      this.#session = await logIn(this.#server, this.#login, AbortSignal.timeout(farewell));
      return await this.#rpc(method, params, undefined, farewell);
    }
  }

  /**
   * A call that makes something: when the signal comes meanwhile, the answer is waited for a little longer, so that
   * what was made is known.
   */
  async callToMake(method: string, ...params: readonly Json[]): Promise<unknown> {
    const signal = this.#signal;
    signal?.throwIfAborted();
    const { call, farewell } = this.#server.timeouts;
    const late = new AbortController();
    let timer: NodeJS.Timeout | undefined;
    const onAbort = (): void => {
      timer = setTimeout(() => late.abort(signal?.reason), farewell);
    };
    signal?.addEventListener('abort', onAbort);
    try {
      return await this.#rpc(method, params, late.signal, call);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /** `PUT path`: see {@link openPut}. */
  async openPut(
    path: string,
    query: Query,
    contentLength: number,
    signal: AbortSignal | undefined,
  ): Promise<OpenedPut> {
    return await openPut(this.#server, {
      path,
      query: { ...query, session_id: this.#session },
      contentLength,
      secrets: this.#secrets,
      signal,
    });
  }

  /** `PUT path`: see {@link putStream}. */
  async putStream(
    path: string,
    query: Query,
    source: UploadSource,
    onProgress?: (bytes: number) => void,
  ): Promise<string> {
    return await putStream(this.#server, source, {
      path,
      query: { ...query, session_id: this.#session },
      secrets: this.#secrets,
      signal: this.#signal,
      onProgress,
    });
  }

  /** `GET path`: see {@link getStream}. */
  async getStream(path: string, query: Query, followRedirects = false): Promise<ServerDownload> {
    return await getStream(this.#server, {
      followRedirects,
      path,
      query: { ...query, session_id: this.#session },
      secrets: this.#secrets,
      signal: this.#signal,
    });
  }

  /** Logs out, if we have logged in. Never fails: a session that is forgotten ends by itself. */
  async close(): Promise<void> {
    if (this.#closed || this.#login === undefined) return;
    this.#closed = true;
    try {
      await this.callBeforeEnd('session.logout');
    } catch (error) {
      trace('xenapi', () => `logout: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}
