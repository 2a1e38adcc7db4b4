import type { SparseBytes } from './sparse-bytes.js';
import type { BytesIo } from './target.js';

/** Bytes that can be exchanged: the targets of a base are found once, and then work on the overlay of each case. */
export class SwitchedBytes implements BytesIo {
  current: SparseBytes;

  constructor(current: SparseBytes) {
    this.current = current;
  }

  read(offset: number, length: number): Uint8Array {
    return this.current.read(offset, length);
  }

  write(offset: number, bytes: Uint8Array): void {
    this.current.write(offset, bytes);
  }
}
