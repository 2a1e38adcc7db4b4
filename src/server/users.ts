import { createHmac, randomBytes } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import { invariant } from '../errors.js';
import { PoolError } from '../pool/pool-error.js';
import type { Account, Authenticate, Role } from './account.js';
import { AttemptCounter, NEXT_ATTEMPT_SECONDS } from './attempts.js';
import { HttpRefusal } from './http-refusal.js';
import { verifyPassword } from './password-hash.js';

export interface User {
  readonly name: string;
  readonly role: Role;
  /** As `hashPassword` makes it. */
  readonly passwordHash: string;
}

/** Right credentials are believed again without scrypt for so long: clients with Basic authentication send them always. */
const REMEMBER_MILLISECONDS = 60_000;
const MAX_REMEMBERED = 1024;

interface Remembered {
  readonly account: Account;
  readonly until: number;
}

/** Nothing is told of the password, which nobody has looked at: who has typed a right one should not doubt it. */
function tooMany(): PoolError {
  const words = `too many wrong passwords from your address: try again in ${NEXT_ATTEMPT_SECONDS} s`;
  const refusal = new HttpRefusal('TOO_MANY_REQUESTS', words, {
    'Retry-After': String(NEXT_ATTEMPT_SECONDS),
  });
  return new PoolError('SESSION_AUTHENTICATION_FAILED', [words], refusal);
}

function failed(cause?: unknown): PoolError {
  return new PoolError('SESSION_AUTHENTICATION_FAILED', [], cause);
}

/**
 * The accounts of the server.
 *
 * - A name that nobody has costs as much as a wrong password: it is checked against a hash of nothing.
 * - A client (an IPv4 address, 64 bits of an IPv6 one) may be wrong 20 times at once and 10 times a minute; beyond that
 *   it is refused without a look, and told so (429). Accounts are never locked, and other clients do not notice.
 * - What was right is remembered for 60 s, as an HMAC under a key of this process, also for a client that is refused.
 * - Equal checks at the same time are one check.
 */
export class Users {
  readonly #users: ReadonlyMap<string, User>;
  readonly #now: () => number;
  readonly #attempts: AttemptCounter;
  readonly #key = randomBytes(32);
  /** By HMAC; who was remembered first comes first. */
  readonly #remembered = new Map<string, Remembered>();
  readonly #checking = new Map<string, Promise<Account | undefined>>();
  /** One for each cost that there is, so that time tells no more than the name does. */
  readonly #dummies: readonly string[];

  private constructor(users: readonly User[], now: () => number) {
    this.#users = new Map(users.map((user) => [user.name, user]));
    this.#now = now;
    this.#attempts = new AttemptCounter(now);
    this.#dummies = users.map(({ passwordHash }) => dummyOf(passwordHash));
  }

  /**
   * @param users at least one, each with a name of its own and a hash that can be checked
   * @param now milliseconds that only grow; default: since the process began
   */
  static of(users: readonly User[], now: () => number = () => performance.now()): Users {
    invariant(users.length > 0, 'a server has users');
    invariant(new Set(users.map(({ name }) => name)).size === users.length, 'names of users differ');
    return new Users(users, now);
  }

  /** @throws PoolError SESSION_AUTHENTICATION_FAILED, whatever the reason; with a reason when it is no password */
  readonly authenticate: Authenticate = async (name, password, address) => {
    const id = this.#idOf(name, password);
    const remembered = this.#recall(id);
    if (remembered !== undefined) return remembered;
    // All of them are taken before the first check ends: a client gains nothing from asking at once.
    if (!this.#attempts.take(address)) throw tooMany();
    const shared = this.#checking.get(id);
    let account: Account | undefined;
    try {
      account = await (shared ?? this.#start(id, name, password));
    } catch (error) {
      // Too many at once: nobody has learnt anything.
      this.#attempts.giveBack(address);
      throw failed(error);
    }
    if (account === undefined) throw failed();
    this.#attempts.giveBack(address);
    return account;
  };

  #start(id: string, name: string, password: string): Promise<Account | undefined> {
    const check = this.#check(name, password)
      .then((account) => {
        if (account !== undefined) this.#remember(id, account);
        return account;
      })
      .finally(() => this.#checking.delete(id));
    this.#checking.set(id, check);
    return check;
  }

  async #check(name: string, password: string): Promise<Account | undefined> {
    const user = this.#users.get(name);
    const isRight = await verifyPassword(password, user?.passwordHash ?? this.#dummyFor(name));
    return user !== undefined && isRight ? { name: user.name, role: user.role } : undefined;
  }

  #idOf(name: string, password: string): string {
    const hmac = createHmac('sha256', this.#key);
    return hmac
      .update(`${Buffer.byteLength(name)}:${name}:`)
      .update(password)
      .digest('base64');
  }

  #dummyFor(name: string): string {
    const digest = createHmac('sha256', this.#key).update(`dummy:${name}`).digest();
    const dummy = this.#dummies[digest.readUInt32BE() % this.#dummies.length];
    invariant(dummy !== undefined, 'there is a hash for names that nobody has');
    return dummy;
  }

  #recall(id: string): Account | undefined {
    const found = this.#remembered.get(id);
    if (found === undefined) return undefined;
    if (found.until > this.#now()) return found.account;
    this.#remembered.delete(id);
    return undefined;
  }

  #remember(id: string, account: Account): void {
    this.#remembered.set(id, { account, until: this.#now() + REMEMBER_MILLISECONDS });
    const oldest = this.#remembered.keys().next();
    if (this.#remembered.size > MAX_REMEMBERED && oldest.done !== true) this.#remembered.delete(oldest.value);
  }
}

/** A hash of the same cost that belongs to no password that anybody can find. */
function dummyOf(passwordHash: string): string {
  const [, scheme, cost, salt = '', hash = ''] = passwordHash.split('$');
  const randomAs = (base64: string): string =>
    randomBytes(Buffer.from(base64, 'base64').length).toString('base64').replaceAll('=', '');
  return `$${scheme}$${cost}$${randomAs(salt)}$${randomAs(hash)}`;
}
