import { writeSync } from 'node:fs';
import { writeFailure } from './system-errors.js';

/**
 * Writes all of `bytes` at a place of something that does not make anybody wait: a regular file, a block device.
 * There the synchronous call is the fastest one (design, "Speed").
 *
 * @param name for messages
 * @throws PatchVdiError `space` | `sink`
 */
export function writeAt(fd: number, name: string, bytes: Uint8Array, position: number): void {
  let written = 0;
  try {
    while (written < bytes.length) {
      written += writeSync(fd, bytes, written, bytes.length - written, position + written);
    }
  } catch (error) {
    throw writeFailure(name, position + written, error);
  }
}
