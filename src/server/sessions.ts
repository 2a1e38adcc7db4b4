import { randomUUID } from 'node:crypto';
import { PoolError } from '../pool/pool-error.js';
import type { Ref } from '../pool/fields.js';
import type { Account } from './account.js';

/** A client that has logged in. Only in memory: a restart ends them all. */
export interface Session {
  readonly ref: Ref;
  readonly uuid: string;
  readonly account: Account;
  /** What the client calls itself. */
  readonly originator: string;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  lastActiveAt: number;
}

export interface SessionsOptions {
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Without a call for so long, a session ends. Default 24 hours, as XAPI has it. */
  readonly idleMilliseconds?: number | undefined;
  /**
   * Beyond that, the one that was idle longest ends, of the account that has most: who logs in and never out ends his
   * own. Default 500, as XAPI has it.
   */
  readonly maxSessions?: number | undefined;
}

const IDLE_MILLISECONDS = 24 * 3600 * 1000;
const MAX_SESSIONS = 500;

/** The sessions of the server. Their references are secrets: 122 bits of the system's random numbers. */
export class Sessions {
  readonly #now: () => number;
  readonly #idleMilliseconds: number;
  readonly #maxSessions: number;
  /** The one that was idle longest comes first. */
  readonly #sessions = new Map<Ref, Session>();
  readonly #onEnd = new Set<(session: Session) => void>();

  constructor({ now, idleMilliseconds = IDLE_MILLISECONDS, maxSessions = MAX_SESSIONS }: SessionsOptions) {
    this.#now = now;
    this.#idleMilliseconds = idleMilliseconds;
    this.#maxSessions = maxSessions;
  }

  open(account: Account, originator: string): Session {
    const now = this.#now();
    const session: Session = {
      ref: `OpaqueRef:${randomUUID()}`,
      uuid: randomUUID(),
      account,
      originator: originator.slice(0, 256),
      createdAt: now,
      lastActiveAt: now,
    };
    this.#sessions.set(session.ref, session);
    for (const oldest of this.#sessions.values()) {
      if (now - oldest.lastActiveAt <= this.#idleMilliseconds) break;
      this.#end(oldest);
    }
    if (this.#sessions.size > this.#maxSessions) this.#endOneTooMany();
    return session;
  }

  #endOneTooMany(): void {
    const counts = new Map<string, number>();
    for (const { account } of this.#sessions.values()) {
      counts.set(account.name, (counts.get(account.name) ?? 0) + 1);
    }
    const most = Math.max(...counts.values());
    const oldest = [...this.#sessions.values()].find(({ account }) => counts.get(account.name) === most);
    if (oldest !== undefined) this.#end(oldest);
  }

  /** The session, and it is not idle any more. @throws PoolError SESSION_INVALID */
  get(ref: Ref): Session {
    const session = this.#sessions.get(ref);
    if (session === undefined) throw new PoolError('SESSION_INVALID', [ref]);
    const now = this.#now();
    if (now - session.lastActiveAt > this.#idleMilliseconds) {
      this.#end(session);
      throw new PoolError('SESSION_INVALID', [ref]);
    }
    session.lastActiveAt = now;
    this.#sessions.delete(ref);
    this.#sessions.set(ref, session);
    return session;
  }

  /** @throws PoolError SESSION_INVALID */
  close(ref: Ref): void {
    this.#end(this.get(ref));
  }

  /** Calls `listener` with every session that ends, by itself or not. */
  onEnd(listener: (session: Session) => void): void {
    this.#onEnd.add(listener);
  }

  #end(session: Session): void {
    this.#sessions.delete(session.ref);
    for (const listener of this.#onEnd) listener(session);
  }
}
