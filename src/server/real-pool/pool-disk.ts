import type { ByteReader } from '../../bytes.js';
import { PatchVdiError } from '../../errors.js';
import type { ForwardReader } from '../../io/forward-reader.js';
import { Turns } from '../../io/turns.js';

/** Each is a download from the start. Nobody who reads a disk in order needs more than two. */
const MAX_DOWNLOADS = 16;

/**
 * The disk of a VDI of a real pool. The pool offers no ranges, so it is read forward; whoever goes back further than
 * what is remembered starts a new download. Never all of it at once, and no further than somebody wants.
 */
export class PoolDisk implements ByteReader {
  readonly name: string;
  readonly sizeBytes: number;
  readonly forwardOnly = false;
  readonly #open: () => Promise<ForwardReader>;
  readonly #turns = new Turns();
  #reader: ForwardReader | undefined;
  #downloads = 0;

  /**
   * @param name for messages
   * @param open a new download, from the first byte
   */
  constructor(name: string, sizeBytes: number, open: () => Promise<ForwardReader>) {
    this.name = name;
    this.sizeBytes = sizeBytes;
    this.#open = open;
  }

  readInto(target: Uint8Array, offsetBytes: number): Promise<void> {
    return this.#turns.take(async () => {
      const reader = await this.#readerAt(offsetBytes, target.length);
      await reader.readInto(target, offsetBytes);
    });
  }

  async #readerAt(offsetBytes: number, length: number): Promise<ForwardReader> {
    if (this.#reader?.reaches(offsetBytes, length) === true) return this.#reader;
    await this.#leave();
    this.#downloads += 1;
    if (this.#downloads > MAX_DOWNLOADS) throw this.#tooOften(offsetBytes);
    return (this.#reader = await this.#open());
  }

  #tooOften(offset: number): PatchVdiError {
    return new PatchVdiError('image', 'the disk cannot be read in the order in which its file system lies', {
      context: {
        operation: 'read',
        path: this.name,
        offset,
        found: `${MAX_DOWNLOADS} downloads of it, and still a place that has gone by`,
        expected: 'a file that lies in order on its disk, as our images have it',
      },
    });
  }

  async #leave(): Promise<void> {
    const reader = this.#reader;
    this.#reader = undefined;
    await reader?.close();
  }

  async close(): Promise<void> {
    // A read that waits for the pool ends with its download.
    const reader = this.#reader;
    await reader?.close();
    await this.#turns.over();
    await this.#leave();
  }
}
