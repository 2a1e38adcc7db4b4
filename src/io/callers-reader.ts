import type { ByteReader } from '../bytes.js';
import { PatchVdiError, isPatchVdiError } from '../errors.js';
import { printable } from '../signature/printable.js';
import { cannotReadImage, checkRange, closedReader } from './reader-range.js';
import { untilAborted } from './until-aborted.js';

const MAX_NAME_CHARACTERS = 200;

function faultOf(reader: ByteReader): string | undefined {
  const { name, sizeBytes, forwardOnly } = reader;
  if (typeof name !== 'string') return 'a name that is no string';
  if (typeof forwardOnly !== 'boolean') return 'forwardOnly that is no boolean';
  if (typeof reader.readInto !== 'function') return 'readInto that is no function';
  if (typeof reader.close !== 'function') return 'close that is no function';
  if (sizeBytes === undefined) return undefined;
  const isSize = Number.isSafeInteger(sizeBytes) && sizeBytes >= 0;
  return isSize ? undefined : `sizeBytes ${String(sizeBytes)}`;
}

/**
 * A reader that the caller brought, behind checks: it is asked only for ranges inside of its size, and what it throws
 * becomes an error of kind `image`, unless it is an error of ours. It stays the caller's: closing this one leaves it
 * open.
 *
 * @throws PatchVdiError `usage` when it is no reader
 */
export function callersReader(inner: ByteReader, abortSignal: AbortSignal): ByteReader {
  const fault = faultOf(inner);
  if (fault !== undefined) {
    throw new PatchVdiError('usage', 'the reader cannot be used', {
      context: { found: fault, expected: 'a ByteReader' },
    });
  }
  const { sizeBytes, forwardOnly } = inner;
  const name = printable(inner.name, MAX_NAME_CHARACTERS);
  let open = true;
  return {
    name,
    sizeBytes,
    forwardOnly,
    async readInto(target, offsetBytes) {
      abortSignal.throwIfAborted();
      if (!open) throw closedReader(name);
      checkRange(name, target, offsetBytes, target.length === 0 ? undefined : sizeBytes);
      if (target.length === 0) return;
      try {
        await untilAborted(Promise.resolve(inner.readInto(target, offsetBytes)), abortSignal);
      } catch (error) {
        abortSignal.throwIfAborted();
        throw isPatchVdiError(error) ? error : cannotReadImage(name, offsetBytes, error);
      }
    },
    close() {
      open = false;
      return Promise.resolve();
    },
  };
}
