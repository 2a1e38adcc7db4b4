import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { PatchVdiError } from '../../errors.js';
import { readCarefully, writeWhole } from '../private-file.js';
import { SECRET_BYTES } from './proof.js';

/** 256 random bits as hex, from which the keys of all hosts are made (0600). It never leaves the master. */
export const POOL_SECRET_FILE = 'pool-secret';

const HEX = /^([0-9a-f]{64})\n?$/;

/**
 * The secret of the state folder, made when there is none. Whoever calls holds the lock of the state.
 *
 * @throws PatchVdiError `usage` when others may read it, `image` when it is damaged, `space` | `sink`
 */
export async function poolSecret(stateFolder: string): Promise<Buffer> {
  const path = join(stateFolder, POOL_SECRET_FILE);
  const text = await readCarefully(path, 'secret');
  if (text === undefined) {
    const secret = randomBytes(SECRET_BYTES);
    await writeWhole(path, `${secret.toString('hex')}\n`, 0o600);
    return secret;
  }
  const hex = HEX.exec(text)?.[1];
  if (hex !== undefined) return Buffer.from(hex, 'hex');
  throw new PatchVdiError('image', 'the pool secret is damaged', {
    context: { operation: 'read the pool secret', path, found: 'another text', expected: '64 hex digits' },
    hint: 'take it from a backup; without it, remove the file, eject all other hosts, and let them join again',
  });
}
