import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { onTestFinished } from 'vitest';
import type { ByteReader } from '../../src/bytes.js';
import type { Image } from '../../src/inspect/image.js';
import { openImage, type OpenImageOptions } from '../../src/inspect/open-image.js';

/** A reader that counts what is asked of it. */
export interface CountingReader extends ByteReader {
  readonly reads: { readonly offset: number; readonly length: number }[];
  readonly byteCount: number;
  closed: boolean;
}

export function countingReader(path: string): CountingReader {
  const fd = openSync(path, 'r');
  onTestFinished(() => closeSync(fd));
  const reads: { offset: number; length: number }[] = [];
  return {
    name: path,
    sizeBytes: statSync(path).size,
    forwardOnly: false,
    closed: false,
    reads,
    get byteCount() {
      return reads.reduce((sum, { length }) => sum + length, 0);
    },
    readInto(target, offset) {
      reads.push({ offset, length: target.length });
      let done = 0;
      while (done < target.length) {
        const count = readSync(fd, target, done, target.length - done, offset + done);
        if (count === 0) return Promise.reject(new Error('the reader ends'));
        done += count;
      }
      return Promise.resolve();
    },
    close() {
      this.closed = true;
      return Promise.resolve();
    },
  };
}

/** Opens an image that is closed when the test ends. */
export async function opened(place: string | ByteReader, options: OpenImageOptions = {}): Promise<Image> {
  const image = await openImage(place, options);
  onTestFinished(() => image.close());
  return image;
}
