import { close, read } from 'node:fs';
import { promisify } from 'node:util';
import type { ByteReader } from '../bytes.js';
import { PatchVdiError } from '../errors.js';
import { MIB } from '../units.js';
import { cannotReadImage, checkRange, closedReader } from './reader-range.js';

const readAsync = promisify(read);
const closeAsync = promisify(close);

/** In one go: between two, an abort is noticed. */
const MAX_READ_BYTES = 8 * MIB;

export interface OpenFile {
  readonly name: string;
  readonly fd: number;
  /** Where the image begins in the file; its end is `startBytes + sizeBytes`. */
  readonly startBytes: number;
  readonly sizeBytes: number;
  /** Whether `fd` is closed with the reader. */
  readonly ownsFd: boolean;
  readonly abortSignal: AbortSignal;
}

/** A regular file or a block device. Reads run in threads, straight into the target, and move no file position. */
export class FileReader implements ByteReader {
  readonly name: string;
  readonly sizeBytes: number;
  readonly forwardOnly = false;
  readonly #file: OpenFile;
  readonly #running = new Set<Promise<void>>();
  #closing: Promise<void> | undefined;

  constructor(file: OpenFile) {
    this.name = file.name;
    this.sizeBytes = file.sizeBytes;
    this.#file = file;
  }

  async readInto(target: Uint8Array, offsetBytes: number): Promise<void> {
    this.#file.abortSignal.throwIfAborted();
    if (this.#closing !== undefined) throw closedReader(this.name);
    checkRange(this.name, target, offsetBytes, target.length === 0 ? undefined : this.sizeBytes);
    const reading = this.#fill(target, offsetBytes);
    this.#running.add(reading);
    try {
      await reading;
    } finally {
      this.#running.delete(reading);
    }
  }

  async #fill(target: Uint8Array, offsetBytes: number): Promise<void> {
    const { fd, startBytes, abortSignal } = this.#file;
    for (let done = 0; done < target.length;) {
      const length = Math.min(target.length - done, MAX_READ_BYTES);
      let count: number;
      try {
        const { bytesRead } = await readAsync(fd, target, done, length, startBytes + offsetBytes + done);
        count = bytesRead;
      } catch (cause) {
        throw cannotReadImage(this.name, offsetBytes + done, cause);
      }
      abortSignal.throwIfAborted();
      if (count === 0) throw this.#shrunk(offsetBytes + done);
      done += count;
    }
  }

  #shrunk(endBytes: number): PatchVdiError {
    return new PatchVdiError('image', 'the image became shorter while it was read', {
      context: {
        operation: 'read',
        path: this.name,
        offset: endBytes,
        found: 'its end',
        expected: `${this.sizeBytes} bytes, as when it was opened`,
      },
    });
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    // A descriptor closed under a running read could be another file's by then.
    await Promise.allSettled(this.#running);
    if (this.#file.ownsFd) await closeAsync(this.#file.fd);
  }
}
