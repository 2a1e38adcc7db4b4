import type { ByteReader } from '../bytes.js';
import { PatchVdiError } from '../errors.js';
import { openReader, type ReaderRequest } from '../io/open-reader.js';

/**
 * Opens the parent of a differencing disk. It must be a file or device: its path is text from the image, which could
 * name a URL, or a pipe to wait for.
 *
 * @throws PatchVdiError `image` for a pipe, `usage` for what cannot be opened
 */
export async function openParent(path: string, request: ReaderRequest): Promise<ByteReader> {
  const reader = await openReader(path.startsWith('/') ? path : `./${path}`, request);
  if (!reader.forwardOnly) return reader;
  await reader.close();
  throw new PatchVdiError('image', 'the parent cannot be read at any place', {
    context: { operation: 'open the parent', path, found: 'a pipe', expected: 'a file or a block device' },
  });
}
