import { createCipheriv } from 'node:crypto';
import { closeSync, openSync, writeSync } from 'node:fs';

export const KIB = 1024;
export const MIB = 1024 * KIB;
export const GIB = 1024 * MIB;

/** Incompressible bytes, the same for the same seed: AES in counter mode over zeros. */
function* incompressible(length: number, seed: number): Generator<Buffer> {
  const cipher = createCipheriv('aes-128-ctr', Buffer.alloc(16, seed), Buffer.alloc(16));
  const zeros = Buffer.alloc(Math.min(length, MIB));
  for (let left = length; left > 0; left -= zeros.length) {
    yield cipher.update(zeros.subarray(0, Math.min(left, zeros.length)));
  }
}

/** An upload in memory. No byte at its ends is zero, so that a cut or a hole shows. */
export function uploadBytes(length: number, seed = 7): Buffer {
  const bytes = Buffer.concat([...incompressible(length, seed)]);
  if (length > 0) {
    bytes[0] = 0xa5;
    bytes[length - 1] = 0x5a;
  }
  return bytes;
}

/** A large upload in a file. */
export function writeUpload(path: string, length: number, seed = 7): string {
  const fd = openSync(path, 'w');
  try {
    for (const bytes of incompressible(length, seed)) writeSync(fd, bytes);
  } finally {
    closeSync(fd);
  }
  return path;
}
