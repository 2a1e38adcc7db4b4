import type { Database } from '../pool/database.js';
import type { Ref } from '../pool/fields.js';
import { PoolError } from '../pool/pool-error.js';
import { requireRole, type Account } from './account.js';

/** Records of tasks that one account may have at a time; those that have ended are forgotten by and by. */
const MAX_TASKS_OF_AN_ACCOUNT = 500;

/**
 * Whose tasks are whose: everybody may cancel and destroy his own, a pool-operator all. Only in memory: with a restart
 * all tasks have ended.
 */
export class TaskOwners {
  readonly #database: Database;
  readonly #owners = new Map<Ref, string>();

  constructor(database: Database) {
    this.#database = database;
  }

  /** @throws PoolError TOO_BUSY for one who makes tasks and forgets them */
  requireRoom({ name }: Account): void {
    this.#forgetEnded();
    const own = [...this.#owners.values()].filter((owner) => owner === name);
    if (own.length >= MAX_TASKS_OF_AN_ACCOUNT) throw new PoolError('TOO_BUSY');
  }

  add(task: Ref, { name }: Account): void {
    this.#forgetEnded();
    this.#owners.set(task, name);
  }

  #forgetEnded(): void {
    const tasks = new Set(this.#database.getAll('task'));
    for (const known of this.#owners.keys()) if (!tasks.has(known)) this.#owners.delete(known);
  }

  /**
   * @param permission what is to be done, such as `task.cancel`
   * @throws PoolError HANDLE_INVALID, RBAC_PERMISSION_DENIED
   */
  require(account: Account, task: Ref, permission: string): void {
    this.#database.get('task', task);
    if (this.#owners.get(task) !== account.name) requireRole(account, 'pool-operator', `${permission}/any`);
  }
}
