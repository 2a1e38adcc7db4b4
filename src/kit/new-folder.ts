import { lstat } from 'node:fs/promises';
import { PatchVdiError, isPatchVdiError, systemErrorCode } from '../errors.js';

function cannotCreate(path: string, what: string, found: string, cause?: unknown): PatchVdiError {
  return new PatchVdiError('usage', `${what} cannot be created`, {
    context: {
      operation: 'create',
      path,
      found,
      expected: 'a name that is not in use, in a folder that is there',
    },
    hint: 'choose another name',
    cause,
  });
}

/**
 * @param what with article, for the message: `the key folder`
 * @throws PatchVdiError `usage` when something has that name
 */
export async function refuseExisting(path: string, what: string): Promise<void> {
  try {
    await lstat(path);
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return;
    throw cannotCreate(path, what, String(error), error);
  }
  throw cannotCreate(path, what, 'it exists already');
}

/** Our own errors as they are; a full or unwritable disk as one of our kinds. */
export function writeError(path: string, what: string, cause: unknown): unknown {
  if (isPatchVdiError(cause) || systemErrorCode(cause) === undefined) return cause;
  const isFull = ['ENOSPC', 'EDQUOT'].includes(systemErrorCode(cause) ?? '');
  if (!isFull) return cannotCreate(path, what, String(cause), cause);
  return new PatchVdiError('space', `there is no room left for ${what}`, {
    context: { operation: 'create', path, found: String(cause) },
    cause,
  });
}
