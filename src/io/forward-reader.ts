import type { ByteReader } from '../bytes.js';
import { PatchVdiError } from '../errors.js';
import { describeBytes } from '../units.js';
import type { UploadSource } from './chunk.js';
import { MEMORY_BYTES, PageMemory } from './page-memory.js';
import { PullStream, type PullRequest } from './pull-stream.js';
import { checkRange, closedReader, endsTooEarly } from './reader-range.js';
import { Turns } from './turns.js';

/**
 * A stream, read from front to back. What was passed over is remembered as far as {@link PageMemory} goes. Calls that
 * overlap wait for each other.
 */
export class ForwardReader implements ByteReader {
  readonly name: string;
  readonly sizeBytes: number | undefined;
  readonly forwardOnly = true;
  readonly #stream: PullStream;
  readonly #request: PullRequest;
  readonly #memory: PageMemory;
  readonly #turns = new Turns();
  #closed = false;

  /**
   * @param source becomes the reader's own
   * @param memoryBytes how much of what has gone by is remembered at most
   */
  constructor(name: string, source: UploadSource, request: PullRequest, memoryBytes = MEMORY_BYTES) {
    this.name = name;
    this.#memory = new PageMemory(memoryBytes);
    this.sizeBytes = source.contentLength;
    this.#stream = new PullStream(source, request);
    this.#request = request;
  }

  /** Whether so many bytes there can be read: they come still, or are remembered. When no read is running. */
  reaches(offsetBytes: number, length: number): boolean {
    const { position } = this.#stream;
    return offsetBytes >= position || Math.min(position, offsetBytes + length) <= this.#memory.endBytes;
  }

  readInto(target: Uint8Array, offsetBytes: number): Promise<void> {
    return this.#turns.take(async () => {
      this.#request.abortSignal.throwIfAborted();
      if (this.#closed) throw closedReader(this.name);
      checkRange(this.name, target, offsetBytes, target.length === 0 ? undefined : this.sizeBytes);
      if (target.length === 0) return;
      const behind = Math.min(target.length, Math.max(0, this.#stream.position - offsetBytes));
      if (behind > 0) this.#readBack(target.subarray(0, behind), offsetBytes);
      await this.#readOn(target, behind, offsetBytes);
    });
  }

  #readBack(target: Uint8Array, offsetBytes: number): void {
    const { endBytes } = this.#memory;
    if (offsetBytes + target.length > endBytes) {
      throw new PatchVdiError('image', 'the stream cannot be read backwards', {
        context: {
          operation: 'read',
          path: this.name,
          offset: offsetBytes,
          found: `a place that has gone by: the stream stands at ${this.#stream.position}`,
          expected: `one among the first ${describeBytes(endBytes)}, which are remembered`,
        },
        hint: 'save it to a file first, and name that',
      });
    }
    this.#memory.readInto(target, offsetBytes);
  }

  /** Fills the target from `done` on; that place is not behind the stream's position. */
  async #readOn(target: Uint8Array, start: number, offsetBytes: number): Promise<void> {
    for (let done = start; done < target.length;) {
      const bytes = await this.#stream.peek();
      const { position } = this.#stream;
      if (bytes === undefined) throw endsTooEarly(this.name, offsetBytes, target.length, position);
      const skipped = Math.min(bytes.length, offsetBytes + done - position);
      const read = Math.min(bytes.length - skipped, target.length - done);
      target.set(bytes.subarray(skipped, skipped + read), done);
      this.#memory.append(bytes.subarray(0, skipped + read));
      this.#stream.take(skipped + read);
      done += read;
    }
  }

  async close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true;
      this.#stream.close(closedReader(this.name));
    }
    await this.#turns.over();
  }
}
