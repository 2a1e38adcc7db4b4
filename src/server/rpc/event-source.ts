import type { RecordChange } from '../../pool/change-log.js';
import { CLASS_NAMES, isClassName, type ClassName } from '../../pool/classes.js';
import type { Database } from '../../pool/database.js';
import type { Ref } from '../../pool/fields.js';
import { PoolError } from '../../pool/pool-error.js';
import { Int32, type RpcStruct, type RpcValue } from '../rpc-value.js';
import type { Session } from '../sessions.js';
import { formatToken, parseToken } from './event-token.js';
import { EventWait } from './event-wait.js';
import type { RecordView } from './record-view.js';

export interface EventRequest {
  readonly session: Session;
  /** `class`, `class/ref` or `*`, in any case. */
  readonly classes: readonly string[];
  /** As the last call gave it; '' for everything that is there. */
  readonly token: string;
  readonly timeoutSeconds: number;
  readonly signal: AbortSignal;
}

/** Which records somebody follows. */
type Subscription = (name: ClassName, ref: Ref) => boolean;

/** Longer a call does not wait; clients ask again. */
const MAX_TIMEOUT_SECONDS = 3600;

/** Calls that wait for one session; another one ends the oldest, with what there is. */
const MAX_WAITS_OF_A_SESSION = 8;

/** The same of all together: each looks at every change. */
const MAX_WAITS = 256;

/** What happens within this time is told at once. */
const COALESCE_MILLISECONDS = 50;

function subscriptionTo(classes: readonly string[]): Subscription {
  const wanted = new Set(
    classes.map((entry) => {
      const [name = '', ...ref] = entry.split('/');
      return [name.toLowerCase(), ...ref].join('/');
    }),
  );
  return (name, ref) => {
    const lower = name.toLowerCase();
    return wanted.has('*') || wanted.has(lower) || wanted.has(`${lower}/${ref}`);
  };
}

function endOldest(waits: ReadonlySet<EventWait>, max: number): void {
  const waiting = [...waits].filter(({ ended }) => ended === undefined);
  if (waiting.length > max) waiting[0]?.end('superseded');
}

/** `event.from`: how clients follow the pool. A follower sees every record as it came to be, none twice. */
export class EventSource {
  readonly #database: Database;
  readonly #view: RecordView;
  /** The oldest of a session first. */
  readonly #waits = new Map<Ref, Set<EventWait>>();
  readonly #all = new Set<EventWait>();
  #closed = false;

  constructor(database: Database, view: RecordView) {
    this.#database = database;
    this.#view = view;
  }

  /** @throws PoolError EVENT_FROM_TOKEN_PARSE_FAILURE, EVENTS_LOST, SESSION_INVALID when the session ends meanwhile */
  async from(request: EventRequest): Promise<RpcStruct> {
    const follows = subscriptionTo(request.classes);
    const token = parseToken(request.token);
    if (token === undefined) return this.#answer(this.#everything(follows));
    if (token.incarnation !== this.#database.incarnation) throw new PoolError('EVENTS_LOST');
    const wait = this.#begin(request);
    const unsubscribe = this.#database.subscribe(() => wait.notify());
    try {
      for (let since = token.generation; ;) {
        const events = this.#changes(follows, since);
        if (wait.ended === 'session') throw new PoolError('SESSION_INVALID', [request.session.ref]);
        if (events.length > 0 || wait.ended !== undefined) return this.#answer(events);
        since = this.#database.generation;
        await wait.next(COALESCE_MILLISECONDS);
      }
    } finally {
      unsubscribe();
      this.#end(request.session.ref, wait);
    }
  }

  /**
   * `event.inject`: tells of a record as if it had changed.
   *
   * @returns the token of the moment before it
   * @throws PoolError HANDLE_INVALID
   */
  inject(name: string, ref: Ref): string {
    const known = isClassName(name) ? name : CLASS_NAMES.find((one) => one.toLowerCase() === name);
    if (known === undefined) throw new PoolError('HANDLE_INVALID', [name, ref]);
    const before = this.#token();
    this.#database.announce(known, ref);
    return before;
  }

  /** Ends what waits for a session that has ended. */
  endSession(session: Ref): void {
    for (const wait of this.#waits.get(session) ?? []) wait.end('session');
  }

  /** Ends everything that waits. */
  close(): void {
    this.#closed = true;
    for (const wait of this.#all) wait.end('closed');
  }

  #begin({ session, timeoutSeconds, signal }: EventRequest): EventWait {
    const seconds = Math.min(Math.max(timeoutSeconds, 0), MAX_TIMEOUT_SECONDS);
    const wait = new EventWait(seconds * 1000, signal);
    const waits = this.#waits.get(session.ref) ?? new Set();
    this.#waits.set(session.ref, waits);
    waits.add(wait);
    endOldest(waits, MAX_WAITS_OF_A_SESSION);
    this.#all.add(wait);
    endOldest(this.#all, MAX_WAITS);
    if (seconds === 0) wait.end('timeout');
    if (this.#closed) wait.end('closed');
    return wait;
  }

  #end(session: Ref, wait: EventWait): void {
    wait.dispose();
    this.#all.delete(wait);
    const waits = this.#waits.get(session);
    waits?.delete(wait);
    if (waits?.size === 0) this.#waits.delete(session);
  }

  #everything(follows: Subscription): RpcValue[] {
    const { generation } = this.#database;
    return CLASS_NAMES.flatMap((className) =>
      Object.entries(this.#database.getAllRecords(className))
        .filter(([ref]) => follows(className, ref))
        .map(([ref, record]) => this.#event({ className, ref, operation: 'add', generation, record })),
    );
  }

  #changes(follows: Subscription, since: number): RpcValue[] {
    const changes = since > this.#database.generation ? undefined : this.#database.changesSince(since);
    // What was forgotten may have been the end of a record: only reading everything again helps.
    if (changes === undefined) throw new PoolError('EVENTS_LOST');
    return changes
      .filter(({ className, ref }) => follows(className, ref))
      .map((change) => this.#event(change));
  }

  #event({ className, ref, operation, generation, record }: RecordChange): RpcStruct {
    return {
      id: String(generation),
      timestamp: '0.0',
      class: className.toLowerCase(),
      operation,
      ref,
      ...(record === undefined ? {} : { snapshot: this.#view.of(className, ref, record) }),
    };
  }

  #answer(events: readonly RpcValue[]): RpcStruct {
    const counts = CLASS_NAMES.map((name) => [
      name.toLowerCase(),
      new Int32(this.#database.getAll(name).length),
    ]);
    return { events, token: this.#token(), valid_ref_counts: Object.fromEntries(counts) as RpcStruct };
  }

  #token(): string {
    const { generation, incarnation } = this.#database;
    return formatToken({ generation, incarnation });
  }
}
