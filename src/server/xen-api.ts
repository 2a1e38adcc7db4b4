import { dirname } from 'node:path';
import type { Ref } from '../pool/fields.js';
import { NULL_REF } from '../pool/fields.js';
import type { Pool } from '../pool/open-pool.js';
import { PoolError, toPoolError } from '../pool/pool-error.js';
import { requireRole, type Authenticate } from './account.js';
import { methodTable } from './methods/method-table.js';
import type { RpcValue } from './rpc-value.js';
import { AsyncCalls } from './rpc/async-calls.js';
import { EventSource } from './rpc/event-source.js';
import { encodeJson } from './rpc/json-value.js';
import type { Method, Services } from './rpc/method.js';
import { optional, readValue, text } from './rpc/parameters.js';
import { RecordView } from './rpc/record-view.js';
import type { Session, Sessions } from './sessions.js';
import { TaskOwners } from './task-owners.js';

/** Who calls. */
export interface RpcClient {
  readonly address: string;
  /** Aborted when the client has gone. */
  readonly signal: AbortSignal;
}

/** What a log may know of a call: no parameter, no session, no password. */
export interface CallRecord {
  /** As the client wrote it, cut. */
  readonly method: string;
  /** Who called; undefined when that is not known. */
  readonly account: string | undefined;
  readonly address: string;
  /** The code alone: parameters of errors may be what the client sent. */
  readonly error?: string | undefined;
  /** What the pool met, where the code does not say it: an `INTERNAL_ERROR` is a defect or a broken machine. */
  readonly cause?: unknown;
  /** Of an `Async` call: until the task ended. */
  readonly milliseconds: number;
}

export interface XenApiOptions {
  readonly pool: Pool;
  readonly sessions: Sessions;
  readonly authenticate: Authenticate;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  readonly productVersion: string;
  /** The other hosts; undefined: there are none. */
  readonly members?: Services['members'];
  /** Called with every call when it is over. It must not throw. */
  readonly onCall?: ((call: CallRecord) => void) | undefined;
}

const ASYNC_PREFIX = 'Async.';
const LOGIN = 'session.login_with_password';
const LIST_METHODS = 'system.listMethods';
const LOGIN_PARAMETERS = [
  text('uname'),
  text('pwd'),
  optional(text('version'), ''),
  optional(text('originator'), ''),
] as const;

/** Calls that XAPI has no `Async` form of. */
const NEVER_ASYNC = /^(?:session|task|event|system)\./;

const MAX_LOGGED_CHARACTERS = 128;

/** What is known of a call while it goes on. */
interface Caller {
  account?: string;
  /** Set when the call goes on after its answer. */
  following?: Promise<PoolError | undefined>;
}

/** What answers calls, whatever they travel as. */
export type CallTarget = Pick<XenApi, 'call'>;

/** The XenAPI: the table of its methods, whatever they travel as. */
export class XenApi {
  readonly #pool: Pool;
  readonly #sessions: Sessions;
  readonly #authenticate: Authenticate;
  readonly #now: () => number;
  readonly #onCall: XenApiOptions['onCall'];
  readonly #services: Services;
  readonly #events: EventSource;
  readonly #asyncCalls: AsyncCalls;
  readonly #methods: ReadonlyMap<string, Method>;
  /** Whose tasks are whose, also for those that come with an upload. */
  readonly taskOwners: TaskOwners;

  constructor({ pool, sessions, authenticate, now, productVersion, members, onCall }: XenApiOptions) {
    this.#pool = pool;
    this.#sessions = sessions;
    this.#authenticate = authenticate;
    this.#now = now;
    this.#onCall = onCall;
    const view = new RecordView(pool, productVersion);
    this.taskOwners = new TaskOwners(pool.database);
    this.#events = new EventSource(pool.database, view);
    this.#methods = methodTable(view);
    const names = [LOGIN, LIST_METHODS, ...this.#methods.keys()].sort();
    this.#services = {
      pool,
      view,
      owners: this.taskOwners,
      events: this.#events,
      now,
      members,
      endSession: (session) => sessions.close(session),
      methodNames: () => names,
    };
    this.#asyncCalls = new AsyncCalls(pool, (error) => this.#translated(error));
    sessions.onEnd(({ ref }) => this.#events.endSession(ref));
  }

  /**
   * Calls a method by its name, such as `VDI.copy` or `Async.VDI.copy`.
   *
   * @param parameters all of them, the session first where the method has one
   * @throws PoolError
   */
  async call(method: string, parameters: readonly RpcValue[], client: RpcClient): Promise<RpcValue> {
    const startedAt = this.#now();
    const caller: Caller = {};
    const over = (error?: PoolError): void =>
      this.#onCall?.({
        method: method.slice(0, MAX_LOGGED_CHARACTERS),
        account: caller.account,
        address: client.address,
        ...(error === undefined ? {} : { error: error.code, cause: error.cause }),
        milliseconds: this.#now() - startedAt,
      });
    try {
      const result = await this.#call(method, parameters, client, caller);
      if (caller.following === undefined) over();
      else void caller.following.then(over);
      return result;
    } catch (cause) {
      const error = this.#translated(cause);
      over(error);
      throw error;
    }
  }

  /** Ends what waits, cancels `Async` calls that are under way, and resolves when they have ended. */
  async close(): Promise<void> {
    this.#events.close();
    await this.#asyncCalls.close();
  }

  #translated(cause: unknown): PoolError {
    const stateFolder = dirname(this.#pool.patchFolder);
    return toPoolError(cause, { location: stateFolder, task: NULL_REF, stateFolder, upload: 'disk' });
  }

  async #call(
    name: string,
    parameters: readonly RpcValue[],
    client: RpcClient,
    caller: Caller,
  ): Promise<RpcValue> {
    if (name === LOGIN) return await this.#login(parameters, client, caller);
    if (name === LIST_METHODS && parameters.length <= 1) return this.#services.methodNames();
    const isAsync = name.startsWith(ASYNC_PREFIX);
    const plainName = isAsync ? name.slice(ASYNC_PREFIX.length) : name;
    const method = this.#methods.get(plainName);
    if (method === undefined || (isAsync && NEVER_ASYNC.test(plainName))) {
      throw new PoolError('MESSAGE_METHOD_UNKNOWN', [name.slice(0, MAX_LOGGED_CHARACTERS)]);
    }
    const [sessionRef, ...others] = parameters;
    const session = this.#session(sessionRef);
    caller.account = session.account.name;
    requireRole(session.account, method.role, plainName);
    const work = method.prepare(plainName, others);
    const context = { ...this.#services, session };
    if (!isAsync) return await work({ ...context, signal: client.signal, task: undefined });
    // An error would carry it into the task, which everybody may read.
    if (encodeJson(others).includes(session.ref)) throw new PoolError('FIELD_TYPE_ERROR', ['session_id']);
    return await this.#startAsync(
      name,
      session,
      (task, signal) => work({ ...context, signal, task }),
      caller,
    );
  }

  /** @throws PoolError SESSION_INVALID, also for a call without one */
  #session(ref: RpcValue | undefined): Session {
    if (typeof ref !== 'string') throw new PoolError('SESSION_INVALID', ['']);
    return this.#sessions.get(ref);
  }

  async #login(parameters: readonly RpcValue[], { address }: RpcClient, caller: Caller): Promise<string> {
    const counted = parameters.length >= 2 && parameters.length <= LOGIN_PARAMETERS.length;
    if (!counted) {
      throw new PoolError('MESSAGE_PARAMETER_COUNT_MISMATCH', [LOGIN, '2', String(parameters.length)]);
    }
    const [user, password, , originator] = LOGIN_PARAMETERS.map((parameter, index) =>
      readValue(parameter, parameters[index] ?? ''),
    );
    const account = await this.#authenticate(user ?? '', password ?? '', address);
    caller.account = account.name;
    return this.#sessions.open(account, originator ?? '').ref;
  }

  async #startAsync(
    name: string,
    { account }: Session,
    work: (task: Ref, signal: AbortSignal) => ReturnType<ReturnType<Method['prepare']>>,
    caller: Caller,
  ): Promise<Ref> {
    const { task, ended } = await this.#asyncCalls.start(name, work);
    this.taskOwners.add(task, account);
    caller.following = ended;
    return task;
  }
}
