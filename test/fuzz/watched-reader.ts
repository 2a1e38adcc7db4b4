import type { ByteReader } from '../../src/bytes.js';
import { PatchVdiError } from '../../src/errors.js';
import { MIB } from '../../src/units.js';
import type { SparseBytes } from './sparse-bytes.js';

/** No buffer that is filled from an image is larger (issue 4, "Hostile images"). */
export const MAX_READ_BYTES = 64 * MIB;

/** What everything that is done with one image may cost; see {@link budgetFor}. */
export interface ReadBudget {
  readonly calls: number;
  readonly bytes: number;
}

/** An image in memory, as a reader that counts, and that stops whoever reads without an end. */
export class WatchedReader implements ByteReader {
  readonly name = 'image in memory';
  readonly sizeBytes: number;
  readonly forwardOnly = false;
  calls = 0;
  bytes = 0;
  /** What went beyond the bounds; anything here is a defect of the readers. */
  readonly faults: string[] = [];
  readonly #content: SparseBytes;
  readonly #budget: ReadBudget;

  constructor(content: SparseBytes, budget: ReadBudget) {
    this.#content = content;
    this.#budget = budget;
    this.sizeBytes = content.sizeBytes;
  }

  #fault(text: string): PatchVdiError {
    if (this.faults.length === 0) this.faults.push(text);
    return new PatchVdiError('image', 'the fuzzer reads no more', {
      context: { found: text, expected: 'less' },
    });
  }

  readInto(target: Uint8Array, offsetBytes: number): Promise<void> {
    this.calls += 1;
    this.bytes += target.length;
    if (target.length > MAX_READ_BYTES)
      return Promise.reject(this.#fault(`one read of ${target.length} bytes`));
    if (this.calls > this.#budget.calls)
      return Promise.reject(this.#fault(`more than ${this.#budget.calls} reads`));
    if (this.bytes > this.#budget.bytes)
      return Promise.reject(this.#fault(`more than ${this.#budget.bytes} bytes`));
    if (offsetBytes < 0 || offsetBytes + target.length > this.sizeBytes) {
      const context = {
        offset: offsetBytes,
        found: `an end at ${this.sizeBytes}`,
        expected: `${target.length} bytes`,
      };
      return Promise.reject(new PatchVdiError('image', 'the image ends too early', { context }));
    }
    this.#content.readInto(target, offsetBytes);
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
