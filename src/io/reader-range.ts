import { PatchVdiError, invariant } from '../errors.js';

/**
 * What every reader asks of a range before it reads. The place may come from a hostile image: one that cannot be is an
 * error of kind `image`. The target comes from us.
 *
 * @param sizeBytes of what is read; undefined: not known
 * @throws PatchVdiError `image`
 */
export function checkRange(
  name: string,
  target: Uint8Array,
  offsetBytes: number,
  sizeBytes: number | undefined,
): void {
  invariant(target instanceof Uint8Array, 'a reader fills a Uint8Array');
  if (!Number.isSafeInteger(offsetBytes) || offsetBytes < 0 || offsetBytes > Number.MAX_SAFE_INTEGER / 2) {
    throw new PatchVdiError('image', 'a place that no image has', {
      context: { operation: 'read', path: name, found: `offset ${offsetBytes}`, expected: '0 to 2^52 bytes' },
    });
  }
  if (sizeBytes === undefined || offsetBytes + target.length <= sizeBytes) return;
  throw endsTooEarly(name, offsetBytes, target.length, sizeBytes);
}

/** The bytes end at `endBytes`, before the range does. An empty range never gets here. */
export function endsTooEarly(
  name: string,
  offsetBytes: number,
  lengthBytes: number,
  endBytes: number,
): PatchVdiError {
  const there = Math.max(0, Math.min(lengthBytes, endBytes - offsetBytes));
  return new PatchVdiError('image', 'the image ends too early', {
    context: {
      operation: 'read',
      path: name,
      offset: offsetBytes,
      space: 'file',
      found: `${there} bytes: it ends at ${endBytes}`,
      expected: `${lengthBytes} bytes`,
    },
  });
}

/** A read that failed below us. */
export function cannotReadImage(name: string, offsetBytes: number, cause: unknown): PatchVdiError {
  return new PatchVdiError('image', 'the image could not be read', {
    context: {
      operation: 'read',
      path: name,
      offset: offsetBytes,
      space: 'file',
      found: cause instanceof Error ? cause.message : String(cause),
    },
    cause,
  });
}

/** What a call gets that comes after, or runs during, {@link ByteReader.close}. */
export function closedReader(name: string): PatchVdiError {
  return new PatchVdiError('usage', 'the image is closed', {
    context: { operation: 'read', path: name, found: 'a read after close', expected: 'close at the end' },
  });
}
