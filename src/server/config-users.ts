import { PatchVdiError } from '../errors.js';
import { hashPassword } from './password-hash.js';
import { readCarefully } from './private-file.js';
import type { UserConfig } from './serve-config.js';
import type { User } from './users.js';

async function passwordIn(path: string): Promise<string> {
  const text = await readCarefully(path, 'secret');
  const line = text?.split(/\r?\n/, 1)[0] ?? '';
  if (line !== '') return line;
  throw new PatchVdiError('usage', 'there is no password in the file', {
    context: {
      path,
      found: text === undefined ? 'no such file' : 'an empty line',
      expected: 'a line with one',
    },
  });
}

/**
 * The users of a configuration.
 *
 * @throws PatchVdiError `usage` for a file that is missing, has no password or is open to others
 */
export async function configuredUsers(configured: readonly UserConfig[]): Promise<readonly User[]> {
  const users: User[] = [];
  for (const { name, role, passwordHash, passwordFile } of configured) {
    const hash = passwordHash ?? (await hashPassword(await passwordIn(passwordFile ?? '')));
    users.push({ name, role, passwordHash: hash });
  }
  return users;
}
