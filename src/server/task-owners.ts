import type { Database } from '../pool/database.js';
import type { Ref } from '../pool/fields.js';
import { requireRole, type Account } from './account.js';

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

  add(task: Ref, { name }: Account): void {
    const tasks = new Set(this.#database.getAll('task'));
    for (const known of this.#owners.keys()) if (!tasks.has(known)) this.#owners.delete(known);
    this.#owners.set(task, name);
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
