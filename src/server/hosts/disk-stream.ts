import { PatchVdiError } from '../../errors.js';
import type { DiskBytes } from '../../pool/storage.js';
import { defineStruct } from '../../struct.js';
import { MIB } from '../../units.js';
import { ALIVE_MILLISECONDS } from './internal-call.js';

/*
 * Part of a disk on its way between two hosts, without its zeros: runs in ascending order, each with a head that says
 * where it goes and how long it is. While one host looks through a large hole it says now and then that it is alive. The last head has the length 0 and the end of the part, so that a stream that was
 * cut off is never taken for a whole one.
 */

export const RUNS_TYPE = 'application/x-patch-vdi-runs';

/** @internal Big endian, as everything else that travels. */
const runHead = defineStruct('run', 'big', 16, {
  /** Bytes from the start of the disk. */
  offset: [0, 'u64'],
  /** Bytes that follow; 0 in the last one. */
  length: [8, 'u32'],
  /** 0: a run, or the end; 1: nothing new, without bytes. */
  kind: [12, 'u32'],
});

const ALIVE = 1;

const MAX_RUN_BYTES = MIB;

/** Half open: from `start` up to, not including, `end`; bytes of the disk. */
export interface DiskPart {
  readonly start: number;
  readonly end: number;
}

function frameOf({ offset, bytes }: DiskBytes): Uint8Array {
  const head = runHead.encode({ offset: BigInt(offset), length: bytes.length });
  const frame = new Uint8Array(head.length + bytes.length);
  frame.set(head);
  frame.set(bytes, head.length);
  return frame;
}

/** What has come, or undefined when it takes longer. */
async function orLater<Value>(value: Promise<Value>): Promise<Value | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const later = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), ALIVE_MILLISECONDS);
  });
  try {
    return await Promise.race([value, later]);
  } finally {
    clearTimeout(timer);
  }
}

/** @param runs of that part; their buffers are copied. What comes out is the receiver's. */
export async function* encodeRuns(
  runs: AsyncIterable<DiskBytes>,
  { start, end }: DiskPart,
): AsyncGenerator<Uint8Array> {
  const iterator = runs[Symbol.asyncIterator]();
  let at = start;
  try {
    for (;;) {
      const next = iterator.next();
      let result = await orLater(next);
      while (result === undefined) {
        yield runHead.encode({ offset: BigInt(at), length: 0, kind: ALIVE });
        result = await orLater(next);
      }
      if (result.done === true) break;
      const { offset, bytes } = result.value;
      for (let from = 0; from < bytes.length; from += MAX_RUN_BYTES) {
        yield frameOf({ offset: offset + from, bytes: bytes.subarray(from, from + MAX_RUN_BYTES) });
      }
      at = offset + bytes.length;
    }
  } finally {
    await iterator.return?.();
  }
  yield runHead.encode({ offset: BigInt(end), length: 0 });
}

function fault(name: string, offset: number, found: string, expected: string): PatchVdiError {
  return new PatchVdiError('sink', 'the other host sends no part of a disk', {
    context: { path: name, offset, found, expected },
  });
}

/** Gathers heads, whatever pieces they come in. */
class HeadReader {
  readonly #bytes = new Uint8Array(runHead.sizeBytes);
  #filled = 0;

  /** Bytes taken; then {@link whole} may be true. */
  take(chunk: Uint8Array): number {
    const piece = chunk.subarray(0, this.#bytes.length - this.#filled);
    this.#bytes.set(piece, this.#filled);
    this.#filled += piece.length;
    return piece.length;
  }

  get whole(): boolean {
    return this.#filled === this.#bytes.length;
  }

  /** And begins a new one. */
  next(): { readonly offset: bigint; readonly length: number; readonly kind: number } {
    this.#filled = 0;
    return runHead.decode(this.#bytes);
  }
}

/**
 * The runs of such a stream, as they come: without a copy, so never more than a chunk of it is held. Each is valid
 * until the next one is asked for.
 *
 * @param name for messages
 * @throws PatchVdiError `sink` for a stream that is cut off, goes back, leaves the part, or goes on behind its end
 */
export async function* decodeRuns(
  chunks: AsyncIterable<Uint8Array>,
  part: DiskPart,
  name: string,
): AsyncGenerator<DiskBytes> {
  const reader = new HeadReader();
  let at = part.start;
  let left = 0;
  let ended = false;
  for await (const chunk of chunks) {
    for (let from = 0; from < chunk.length;) {
      if (ended) throw fault(name, at, 'more bytes', 'the end of the stream');
      if (left > 0) {
        const bytes = chunk.subarray(from, from + left);
        yield { offset: at, bytes };
        from += bytes.length;
        at += bytes.length;
        left -= bytes.length;
        continue;
      }
      from += reader.take(chunk.subarray(from));
      if (!reader.whole) continue;
      const head = reader.next();
      const { offset, length, kind } = head;
      if (kind === ALIVE && length === 0 && offset === BigInt(at)) continue;
      const inside = offset >= BigInt(at) && offset + BigInt(length) <= BigInt(part.end);
      if (!inside || length > MAX_RUN_BYTES || kind !== 0) {
        const found = `${length} bytes at ${offset}, of kind ${kind}`;
        throw fault(name, at, found, `a run between ${at} and ${part.end}`);
      }
      ended = length === 0;
      if (ended && offset !== BigInt(part.end)) {
        throw fault(name, at, `an end at ${offset}`, `an end at ${part.end}`);
      }
      at = Number(head.offset);
      left = head.length;
    }
  }
  if (!ended) throw fault(name, at, 'a stream that is cut off', 'a stream with an end');
}
