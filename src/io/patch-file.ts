import { closeSync, openSync, writeSync } from 'node:fs';
import { MIB } from '../units.js';

/** Patches that follow each other are written together, up to so many bytes. */
const BATCH_BYTES = MIB;

/** Bytes to be written over those of a file; valid until the next piece is asked for. */
interface Piece {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/**
 * Writes pieces into an existing file as they come, those that follow each other in one go.
 *
 * @throws whatever the system says; a piece is then written in part, or not at all
 */
export async function patchFile(path: string, pieces: AsyncIterable<Piece>): Promise<void> {
  const fd = openSync(path, 'r+');
  const batch = Buffer.allocUnsafe(BATCH_BYTES);
  let batchOffset = 0;
  let batchLength = 0;
  const writeAll = (bytes: Uint8Array, offset: number): void => {
    for (let done = 0; done < bytes.length;) {
      done += writeSync(fd, bytes, done, bytes.length - done, offset + done);
    }
  };
  const flush = (): void => {
    writeAll(batch.subarray(0, batchLength), batchOffset);
    batchLength = 0;
  };
  try {
    for await (const { offset, bytes } of pieces) {
      const continues = offset === batchOffset + batchLength && batchLength + bytes.length <= BATCH_BYTES;
      if (!continues) flush();
      if (bytes.length > BATCH_BYTES) writeAll(bytes, offset);
      else {
        if (batchLength === 0) batchOffset = offset;
        batch.set(bytes, batchLength);
        batchLength += bytes.length;
      }
    }
    flush();
  } finally {
    closeSync(fd);
  }
}
