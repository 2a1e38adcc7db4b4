import { closeSync, fstatSync, ftruncateSync, openSync, readSync } from 'node:fs';
import { writeAt } from '../io/write-at.js';
import { invariant } from '../errors.js';

/** A file in a private folder, read and written at any place: what the kit works on before it has a name. */
export class DiskFile {
  readonly path: string;
  readonly #fd: number;

  /** @param create as an empty file; else it must exist */
  constructor(path: string, create = false) {
    this.path = path;
    this.#fd = openSync(path, create ? 'wx+' : 'r+');
  }

  get sizeBytes(): number {
    return fstatSync(this.#fd).size;
  }

  /** A new buffer with exactly that range, which must be in the file: it is one that the kit made itself. */
  read(offsetBytes: number, lengthBytes: number): Uint8Array {
    const bytes = new Uint8Array(lengthBytes);
    for (let done = 0; done < lengthBytes;) {
      const count = readSync(this.#fd, bytes, done, lengthBytes - done, offsetBytes + done);
      invariant(count > 0, `${this.path} has ${lengthBytes} bytes at ${offsetBytes}`);
      done += count;
    }
    return bytes;
  }

  write(offsetBytes: number, bytes: Uint8Array): void {
    writeAt(this.#fd, this.path, bytes, offsetBytes);
  }

  /** Cuts the file, or makes it longer with zeros. */
  resize(sizeBytes: number): void {
    ftruncateSync(this.#fd, sizeBytes);
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/** Works on a file and closes it, whatever happens. */
export async function withDiskFile<T>(path: string, use: (file: DiskFile) => T | Promise<T>): Promise<T> {
  const file = new DiskFile(path);
  try {
    return await use(file);
  } finally {
    file.close();
  }
}
