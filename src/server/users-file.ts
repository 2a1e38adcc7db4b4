import { randomInt } from 'node:crypto';
import { join } from 'node:path';
import * as v from 'valibot';
import { PatchVdiError } from '../errors.js';
import { printable } from '../signature/printable.js';
import { ROLES } from './account.js';
import { similarName } from '../similar.js';
import { hashPassword, isPasswordHash } from './password-hash.js';
import { readCarefully, writeWhole } from './private-file.js';
import type { User } from './users.js';

/*
 * STATE/users.json (0600): the accounts of a server whose configuration has none.
 *
 *   { "format": "patch-vdi users 1",
 *     "users": [{ "name": "root", "role": "pool-admin", "password_hash": "$scrypt$…", "was_shown": true }] }
 *
 * `was_shown` is false from the moment a password is made until somebody has been told of it. No password ever stands
 * there: one that nobody was told of is made anew at the next start.
 */

export const USERS_FILE = 'users.json';
const FORMAT = 'patch-vdi users 1';

/** What people may call the first administrator: XenServer's do. */
const FIRST_USER = { name: 'root', role: 'pool-admin' } as const;

/** Without those that look like others (0 o, 1 i l). */
const LETTERS = '23456789abcdefghjkmnpqrstuvwxyz';
/** 31^28 is more than 2^138. */
const GROUPS = 7;
const GROUP_LETTERS = 4;

const userSchema = v.strictObject({
  name: v.pipe(v.string(), v.minLength(1), v.maxLength(256)),
  role: v.picklist(ROLES),
  password_hash: v.pipe(v.string(), v.check(isPasswordHash)),
  was_shown: v.boolean(),
});

const fileSchema = v.strictObject({
  format: v.literal(FORMAT),
  users: v.pipe(v.array(userSchema), v.minLength(1), v.maxLength(1000)),
});

type UserRow = v.InferOutput<typeof userSchema>;

/** `k3mf-…`: 138 bits that can be read out on the telephone. */
function newPassword(): string {
  const letter = (): string => LETTERS[randomInt(LETTERS.length)] ?? '';
  const group = (): string => Array.from({ length: GROUP_LETTERS }, letter).join('');
  return Array.from({ length: GROUPS }, group).join('-');
}

function damaged(path: string, found: string): PatchVdiError {
  return new PatchVdiError('image', 'the file of users is damaged', {
    context: { operation: 'read the users', path, found, expected: `"${FORMAT}"` },
    hint: 'remove it: the next start makes a new one, with a new password for root',
  });
}

async function readRows(path: string): Promise<UserRow[] | undefined> {
  const text = await readCarefully(path, 'secret');
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw damaged(path, 'no JSON');
  }
  const result = v.safeParse(fileSchema, value);
  if (!result.success) {
    const at = v.getDotPath(result.issues[0]) ?? 'the whole';
    throw damaged(path, `something else at ${printable(at, 64)}`);
  }
  const { users } = result.output;
  if (new Set(users.map(({ name }) => name)).size < users.length) throw damaged(path, 'a name twice');
  return users;
}

async function writeRows(path: string, users: readonly UserRow[]): Promise<void> {
  await writeWhole(path, `${JSON.stringify({ format: FORMAT, users }, undefined, 2)}\n`, 0o600);
}

export interface StoredUsers {
  readonly users: readonly User[];
  /** Root's new one, of which nobody has been told yet. */
  readonly firstPassword: string | undefined;
  /** To be called when somebody has been told. */
  wasShown(): Promise<void>;
}

/**
 * The users of the state folder. Without any there is `root` with a new password; so there is when nobody was told of
 * the last one. Whoever calls holds the lock of the state until {@link StoredUsers.wasShown} was called.
 *
 * @throws PatchVdiError `image` when the file is damaged, `usage` when others may read it, `space` | `sink`
 */
export async function openStoredUsers(stateFolder: string): Promise<StoredUsers> {
  const path = join(stateFolder, USERS_FILE);
  const found = await readRows(path);
  const untold = found?.find((row) => !row.was_shown);
  if (found !== undefined && untold === undefined) {
    return { users: found.map(userOf), firstPassword: undefined, wasShown: async () => {} };
  }
  const firstPassword = newPassword();
  const hash = await hashPassword(firstPassword);
  const { name, role } = untold ?? FIRST_USER;
  const row: UserRow = { name, role, password_hash: hash, was_shown: false };
  const others = (found ?? []).filter((other) => other !== untold);
  const rows: UserRow[] = [row, ...others];
  await writeRows(path, rows);
  const wasShown = (): Promise<void> => writeRows(path, [{ ...row, was_shown: true }, ...others]);
  return { users: rows.map(userOf), firstPassword, wasShown };
}

function userOf({ name, role, password_hash: passwordHash }: UserRow): User {
  return { name, role, passwordHash };
}

/**
 * Gives a user of the state folder a new password. Whoever calls holds the lock of the state.
 *
 * @throws PatchVdiError `usage` when there is no such user
 */
export async function resetStoredPassword(stateFolder: string, name: string): Promise<string> {
  const path = join(stateFolder, USERS_FILE);
  const rows = await readRows(path);
  const names = (rows ?? []).map((row) => row.name);
  if (rows === undefined || !names.includes(name)) {
    const nearest = similarName(name, names);
    throw new PatchVdiError('usage', 'there is no such user in the state folder', {
      context: {
        path,
        found: `"${printable(name, 64)}"`,
        expected:
          rows === undefined ? 'a state folder that was started' : `one of ${names.slice(0, 8).join(', ')}`,
      },
      hint:
        nearest === undefined
          ? 'users of a configuration have their passwords there: change password_hash or the password_file'
          : `did you mean ${nearest}?`,
    });
  }
  const password = newPassword();
  const hash = await hashPassword(password);
  const changed = (row: UserRow): UserRow => ({ ...row, password_hash: hash, was_shown: true });
  await writeRows(
    path,
    rows.map((row) => (row.name === name ? changed(row) : row)),
  );
  return password;
}
