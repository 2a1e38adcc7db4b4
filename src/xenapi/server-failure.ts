import { PatchVdiError, isPatchVdiError, type ErrorContext } from '../errors.js';
import { printable } from '../signature/printable.js';
import type { ServerAddress } from './server-address.js';
import { isXenApiError } from './xen-api-error.js';

/** What is known when nothing is: for calls that may have come through. */
export const UNKNOWN_OUTCOME = 'unknown: whether the server did what was asked, it did not say';
export const UNTOUCHED = 'nothing was changed on the server';

const MAX_WORDS = 300;

/** How a connection was lost: it could not be made, or it stood and broke. One to a wrong server is neither. */
export type Loss = 'unreachable' | 'broken';

const LOSSES = new WeakMap<Error, Loss>();

/** Whether an error is that of a lost connection. */
export function lostConnection(error: unknown): Loss | undefined {
  return error instanceof Error ? LOSSES.get(error) : undefined;
}

export interface FailureDetails {
  readonly found?: string | undefined;
  readonly expected?: string | undefined;
  readonly hint?: string | undefined;
  /** Default: {@link UNTOUCHED}. */
  readonly leftBehind?: string | undefined;
  readonly cause?: unknown;
  readonly loss?: Loss;
}

/** An error of kind `sink`: a server that cannot be reached or believed. */
export function serverFailure(
  address: ServerAddress,
  message: string,
  { found, expected, hint, leftBehind = UNTOUCHED, cause, loss }: FailureDetails,
): PatchVdiError {
  const context: ErrorContext = {
    path: address.name,
    ...(found === undefined ? {} : { found }),
    ...(expected === undefined ? {} : { expected }),
  };
  const error = new PatchVdiError('sink', message, {
    context,
    leftBehind,
    ...(hint === undefined ? {} : { hint }),
    ...(cause === undefined ? {} : { cause }),
  });
  if (loss !== undefined) LOSSES.set(error, loss);
  return error;
}

/** The words of a system error. Of several addresses that were tried in vain, Node gives an error without words. */
export function causeWords(cause: unknown): string {
  const errors = cause instanceof AggregateError ? (cause.errors as unknown[]) : [cause];
  const words = errors.map((error) => (error instanceof Error ? error.message : String(error)));
  return printable([...new Set(words)].join('; '), MAX_WORDS);
}

/**
 * Looks at what was done. When that fails, the error tells that it was done nevertheless.
 *
 * @param done what is there now
 * @throws PatchVdiError; what was thrown, if it is none of a server
 */
export async function afterwards<Result>(
  address: ServerAddress,
  done: string,
  look: () => Promise<Result>,
): Promise<Result> {
  try {
    return await look();
  } catch (error) {
    if (!isPatchVdiError(error) && !isXenApiError(error)) throw error;
    throw serverFailure(address, 'it was done, but the server does not tell how it looks now', {
      found: printable(error.message, MAX_WORDS),
      leftBehind: done,
      cause: error,
    });
  }
}
