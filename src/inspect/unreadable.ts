import { isPatchVdiError } from '../errors.js';
import type { FindingCode } from '../finding-codes.js';
import type { Finding } from '../findings.js';

/** Errors that hide behind each other, such as a chain of parents. */
const MAX_CAUSES = 8;

/**
 * An error that ended a part of a report, as the finding that it is.
 *
 * @throws what is no error of an image, as it came
 */
export function unreadableFinding(code: FindingCode, error: unknown): Finding {
  let inner = error;
  for (let depth = 0; depth < MAX_CAUSES && !isPatchVdiError(inner); depth += 1) {
    if (!(inner instanceof Error) || inner.cause === undefined) break;
    inner = inner.cause;
  }
  if (!isPatchVdiError(inner) || inner.kind !== 'image') throw error;
  const { offset, space = 'disk', found, expected } = inner.context;
  return {
    code,
    severity: 'error',
    structure: inner.message,
    space,
    offset,
    found: found ?? 'an image that cannot be read',
    expected: expected ?? 'one that can',
    ...(inner.hint === undefined ? {} : { hint: inner.hint }),
  };
}
