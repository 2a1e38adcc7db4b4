import { closeSync, openSync, readSync } from 'node:fs';
import { PatchVdiError } from '../errors.js';

/** A file opened for reading at any place. Reads are synchronous: they are small, and of files in the page cache. */
export interface RandomAccessFile {
  /**
   * Reads exactly that range into a buffer that is valid until the next read.
   *
   * @throws PatchVdiError `image` when the file ends before the range does
   */
  read(offsetBytes: number, lengthBytes: number): Uint8Array;
  close(): void;
}

/** @param path of an existing file */
export function openRandomAccess(path: string): RandomAccessFile {
  const fd = openSync(path, 'r');
  let buffer = Buffer.alloc(0);
  let open = true;
  return {
    read(offsetBytes, lengthBytes) {
      if (buffer.length < lengthBytes) buffer = Buffer.allocUnsafe(lengthBytes);
      let done = 0;
      while (done < lengthBytes) {
        const count = readSync(fd, buffer, done, lengthBytes - done, offsetBytes + done);
        if (count === 0) {
          throw new PatchVdiError('image', 'the image ends too early', {
            context: { path, offset: offsetBytes, found: `${done} bytes`, expected: `${lengthBytes} bytes` },
          });
        }
        done += count;
      }
      return buffer.subarray(0, lengthBytes);
    },
    close() {
      if (open) closeSync(fd);
      open = false;
    },
  };
}
