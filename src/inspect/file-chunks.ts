import type { FileHandle } from 'node:fs/promises';
import { MIB } from '../units.js';
import type { FileChunk } from './image-file.js';

/**
 * A file that the system has opened, from its first byte to where a read finds nothing more. A chunk's bytes belong to
 * its receiver until it asks for the next one. The file is not closed.
 *
 * @throws the system's error; the reason of `signal`
 */
export async function* chunksOf(file: FileHandle, signal?: AbortSignal): AsyncGenerator<FileChunk> {
  const buffer = new Uint8Array(MIB);
  for (let fileOffset = 0; ;) {
    signal?.throwIfAborted();
    const { bytesRead } = await file.read(buffer, 0, buffer.length, fileOffset);
    if (bytesRead === 0) return;
    yield { fileOffset, bytes: buffer.subarray(0, bytesRead), zeros: false };
    fileOffset += bytesRead;
  }
}
