import { PoolError } from '../pool/pool-error.js';

/** The roles of the XenAPI, each with the rights of all before it. */
export const ROLES = [
  'read-only',
  'vm-operator',
  'vm-admin',
  'vm-power-admin',
  'pool-operator',
  'pool-admin',
] as const;

export type Role = (typeof ROLES)[number];

/** Who somebody is, once his password was right. */
export interface Account {
  readonly name: string;
  readonly role: Role;
}

/**
 * Finds out who somebody is. It takes as long for a name that nobody has as for a wrong password.
 *
 * @param address of the client: who tries passwords out is slowed down
 * @throws PoolError SESSION_AUTHENTICATION_FAILED
 */
export type Authenticate = (name: string, password: string, address: string) => Promise<Account>;

/**
 * @param permission what is to be done, such as `pool_patch.destroy`
 * @throws PoolError RBAC_PERMISSION_DENIED
 */
export function requireRole({ name, role }: Account, needed: Role, permission: string): void {
  if (ROLES.indexOf(role) >= ROLES.indexOf(needed)) return;
  throw new PoolError('RBAC_PERMISSION_DENIED', [permission, `${name} is ${role}; this needs ${needed}`]);
}
