import { createCipheriv, createHash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { KIB } from '../units.js';
import { seededBytes, type Seed } from './seed.js';

const CHUNK_BYTES = 256 * KIB;
const ZEROS = new Uint8Array(CHUNK_BYTES);

/**
 * Pseudo-random bytes of any length, 256 KiB at most at a time: the key stream of AES-256 in counter mode, which
 * no compressor makes smaller. Every chunk is new and belongs to the receiver. Between two chunks others may run, so
 * that signals are seen.
 *
 * @throws the reason of `abortSignal`
 */
export async function* filler(
  seed: Seed,
  purpose: string,
  lengthBytes: number,
  abortSignal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const key = seededBytes(seed, `filler key: ${purpose}`, 32);
  const counter = seededBytes(seed, `filler counter: ${purpose}`, 16);
  const cipher = createCipheriv('aes-256-ctr', key, counter);
  for (let left = lengthBytes; left > 0; left -= CHUNK_BYTES) {
    await setImmediate();
    abortSignal?.throwIfAborted();
    yield cipher.update(left < CHUNK_BYTES ? ZEROS.subarray(0, left) : ZEROS);
  }
}

/** Lower-case hex. @throws the reason of `abortSignal` */
export async function fillerSha256(
  seed: Seed,
  purpose: string,
  lengthBytes: number,
  abortSignal?: AbortSignal,
): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of filler(seed, purpose, lengthBytes, abortSignal)) hash.update(chunk);
  return hash.digest('hex');
}
