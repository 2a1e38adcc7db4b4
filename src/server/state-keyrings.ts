import { mkdir, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { PatchVdiError } from '../errors.js';
import { readFailure, writeFailure } from '../io/system-errors.js';
import type { PatchPolicy } from '../pool/receive-patch.js';
import { requireCare } from './private-file.js';

/** In the state folder. */
export const KEYRING_FOLDER = 'keyrings';
const KEYRING_NAME = /^[^.].*\.(?:gpg|asc|kbx)$/;
const MAX_KEYRINGS = 1000;
/** @throws PatchVdiError `usage` for one that is missing, or that everybody may change */
async function requireKeyring(path: string): Promise<void> {
  try {
    requireCare(path, await stat(path), 'trusted');
  } catch (cause) {
    if (cause instanceof PatchVdiError) throw cause;
    throw new PatchVdiError('usage', 'a keyring cannot be read', {
      context: { path, found: cause instanceof Error ? cause.message : String(cause) },
      cause,
    });
  }
}

/**
 * The policy with the keyrings of the state folder, when the configuration names none. None at all is no error: then no
 * upload can be taken.
 *
 * @throws PatchVdiError `usage` for a keyring that is missing, or that everybody may change; `space` | `sink`
 */
export async function prepareKeyrings(stateFolder: string, configured: PatchPolicy): Promise<PatchPolicy> {
  const folder = join(stateFolder, KEYRING_FOLDER);
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw writeFailure(folder, 0, cause);
  }
  let { keyrings } = configured;
  if (keyrings.length === 0) {
    const names = await readdir(folder).catch((cause: unknown) => {
      throw readFailure(folder, 0, cause);
    });
    const found = names.filter((name) => KEYRING_NAME.test(name)).toSorted();
    keyrings = found.slice(0, MAX_KEYRINGS).map((name) => join(folder, name));
  }
  for (const path of keyrings) await requireKeyring(path);
  return { ...configured, keyrings };
}
