import type { ByteReader } from '../bytes.js';
import { PatchVdiError } from '../errors.js';
import { checkRange } from './reader-range.js';

/**
 * The same bytes without the first `offsetBytes`: an image inside of another one, such as a partition. Closing the
 * view closes the reader. Offsets in errors count from the reader's start.
 *
 * @param offsetBytes as the user gave it
 * @throws PatchVdiError `usage` when that is no place in the image
 */
export function limited(reader: ByteReader, offsetBytes: number): ByteReader {
  const { name, sizeBytes, forwardOnly } = reader;
  const last = sizeBytes ?? Number.MAX_SAFE_INTEGER;
  if (!Number.isSafeInteger(offsetBytes) || offsetBytes < 0 || offsetBytes > last) {
    throw new PatchVdiError('usage', 'the offset is not in the image', {
      context: { path: name, found: `${offsetBytes} bytes`, expected: `0 to ${last} bytes` },
      hint: 'check the offset',
    });
  }
  const size = sizeBytes === undefined ? undefined : sizeBytes - offsetBytes;
  return {
    name,
    sizeBytes: size,
    forwardOnly,
    async readInto(target, offset) {
      // The sum could be a number that is in the image although the place is not.
      checkRange(name, target, offset, undefined);
      await reader.readInto(target, offsetBytes + offset);
    },
    close: () => reader.close(),
  };
}
