import { dirname } from 'node:path';
import { PatchVdiError, systemErrorCode, type ErrorKind } from '../errors.js';

const OPERATION = 'write the clear text';

function wordsOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

function noRoom(folder: string, found: string, cause?: unknown): PatchVdiError {
  return new PatchVdiError('space', 'there is no room left for the clear text', {
    context: { operation: OPERATION, path: folder, found, expected: 'room for the whole clear text' },
    hint: 'free some space there or choose another folder',
    cause,
  });
}

/**
 * gpgv could not write: `space`, else `tool`.
 *
 * @param reason strerror's words in the C locale of glibc, musl or a BSD, as gpgv printed them
 */
export function gpgvCannotWrite(folder: string, reason: string): PatchVdiError {
  const full = /^(?:No space left on device|Dis[ck] quota exceeded|Quota exceeded|File too large)$/;
  if (full.test(reason)) return noRoom(folder, reason);
  return new PatchVdiError('tool', 'gpgv could not write the clear text', {
    context: { operation: OPERATION, path: folder, found: reason, expected: 'the whole clear text' },
  });
}

/** gpgv said nothing, and yet the file has another length than the clear text. */
export function wrongLength(path: string, foundBytes: number, expectedBytes: number): PatchVdiError {
  return new PatchVdiError('tool', 'gpgv did not write the clear text as it is', {
    context: {
      operation: OPERATION,
      path,
      found: `${foundBytes} bytes`,
      expected: `${expectedBytes} bytes`,
    },
  });
}

export function nameInUse(path: string, cause?: unknown): PatchVdiError {
  return new PatchVdiError('usage', 'the file for the clear text exists already', {
    context: {
      operation: OPERATION,
      path,
      found: 'something of that name',
      expected: 'a name that is not in use',
    },
    hint: 'choose another name',
    leftBehind: 'what is there was not touched; of ours nothing is left',
    cause,
  });
}

export function notPrivate(folder: string, mode: number): PatchVdiError {
  return new PatchVdiError('usage', 'the folder for the clear text cannot be kept private', {
    context: {
      operation: OPERATION,
      path: folder,
      found: `a new folder there gets mode 0${mode.toString(8)}`,
      expected: 'mode 0700',
    },
    hint: 'choose a folder on a file system with Unix permissions',
  });
}

export function replaced(path: string): PatchVdiError {
  return new PatchVdiError('sink', 'the clear text was replaced while it was being written', {
    context: {
      operation: OPERATION,
      path,
      found: 'a file that is not ours',
      expected: 'the file gpgv wrote',
    },
    hint: 'somebody else writes to that folder: choose one that only you may write to',
    leftBehind: `what is now called ${path} is not ours: look at it`,
  });
}

export function cannotRemove(path: string, cause: unknown): PatchVdiError {
  return new PatchVdiError('sink', 'the unverified clear text could not be removed', {
    context: { operation: 'remove the clear text', path, found: wordsOf(cause) },
    leftBehind: `${path}, which may hold clear text that nobody vouches for: remove it`,
    cause,
  });
}

/**
 * A system error as one of ours. A {@link PatchVdiError} passes unchanged.
 *
 * @param path the final name
 * @param kind of a failure that has to do neither with space nor with a name in use
 */
export function clearTextFailure(
  path: string,
  cause: unknown,
  kind: ErrorKind & ('usage' | 'sink'),
): PatchVdiError {
  if (cause instanceof PatchVdiError) return cause;
  const code = systemErrorCode(cause) ?? '';
  if (code === 'EEXIST') return nameInUse(path, cause);
  if (['ENOSPC', 'EDQUOT', 'EFBIG'].includes(code)) return noRoom(dirname(path), wordsOf(cause), cause);
  return new PatchVdiError(kind, 'the file for the clear text cannot be created', {
    context: {
      operation: OPERATION,
      path,
      found: wordsOf(cause),
      expected: 'a new file, in a folder that you may write to',
    },
    cause,
  });
}
