import type { ByteReader } from '../bytes.js';
import { PatchVdiError } from '../errors.js';
import { isHttpUrl } from '../io/http.js';
import { openReader, type ReaderRequest } from '../io/open-reader.js';

function refused(path: string, found: string): PatchVdiError {
  return new PatchVdiError('image', 'the parent is not opened', {
    context: { path, found, expected: 'a file or block device in the folder of the image, or below' },
  });
}

/**
 * Opens the parent of a differencing disk. Where it is says the image, and whoever made that may want to see other
 * files of ours than a disk, or make us wait or call somewhere: so it must be below the folder of the image that the
 * user named, and be read at any place, which no pipe can.
 *
 * @param imagePath as the user gave it
 * @param path the folder of the child, and text from the image
 * @throws PatchVdiError `image` | `usage`
 */
export async function openParentFile(
  imagePath: string,
  path: string,
  request: ReaderRequest,
): Promise<ByteReader> {
  const folder = imagePath.slice(0, imagePath.lastIndexOf('/') + 1);
  if (isHttpUrl(path)) throw refused(path, 'a URL');
  if (!path.startsWith(folder) || path.slice(folder.length).split('/').includes('..')) {
    throw refused(path, 'a path that leads out of the folder of the image');
  }
  const reader = await openReader(path, request);
  if (!reader.forwardOnly) return reader;
  await reader.close();
  throw refused(path, 'a pipe');
}
