import { writeFileSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { PatchVdiError, systemErrorCode } from '../errors.js';
import type { ToolEnvironment } from './find.js';

/**
 * A failure in the temporary folder as one of our kinds: `space` when it is full, `usage` when it cannot be used.
 * A {@link PatchVdiError} passes unchanged.
 */
export function temporaryFailure(folder: string, cause: unknown): PatchVdiError {
  if (cause instanceof PatchVdiError) return cause;
  const full = ['ENOSPC', 'EDQUOT', 'EFBIG'].includes(systemErrorCode(cause) ?? '');
  const message = full ? 'there is no room left for temporary files' : 'the temporary folder cannot be used';
  return new PatchVdiError(full ? 'space' : 'usage', message, {
    context: {
      operation: 'write temporary files',
      path: folder,
      found: cause instanceof Error ? cause.message : String(cause),
      expected: full ? 'some free space' : 'a writable folder',
    },
    hint: 'set TMPDIR to another folder',
    leftBehind: full ? 'nothing under the final name, nothing mountable' : 'nothing was touched',
    cause,
  });
}

/**
 * A new folder that nobody else can enter (0700). Removing it is up to the caller.
 *
 * @param purpose part of its name: `patch-vdi-PURPOSE-…`
 * @throws PatchVdiError `usage` | `space`
 */
export async function makePrivateFolder(environment: ToolEnvironment, purpose: string): Promise<string> {
  const parent = resolve(environment.temporaryFolder);
  try {
    return await mkdtemp(join(parent, `patch-vdi-${purpose}-`));
  } catch (cause) {
    throw temporaryFailure(parent, cause);
  }
}

/** Writes a small file into a private folder. @throws PatchVdiError `usage` | `space` */
export function writePrivateFile(path: string, text: string): void {
  try {
    writeFileSync(path, text, { mode: 0o600 });
  } catch (cause) {
    throw temporaryFailure(path, cause);
  }
}
