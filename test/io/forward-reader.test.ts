import { describe, expect, test } from 'vitest';
import type { ChunkReceiver, UploadSource } from '../../src/io/chunk.js';
import { ForwardReader } from '../../src/io/forward-reader.js';
import { KIB, MIB } from '../../src/units.js';
import { payloadBytes } from '../plan/materialise.js';
import { bytesAt } from './byte-readers.js';

const never = { abortSignal: new AbortController().signal, idleMilliseconds: undefined };

/** A source that hands out these pieces, two of them at most at a time, and uses each buffer again. */
class PieceSource implements UploadSource {
  readonly name = 'pieces';
  readonly contentLength: number | undefined;
  readonly #pieces: Iterable<Uint8Array>;
  readonly #failure: Error | undefined;
  given = 0;
  isClosed = false;

  constructor(pieces: Iterable<Uint8Array>, options: { failure?: Error; contentLength?: number } = {}) {
    this.#pieces = pieces;
    this.#failure = options.failure;
    this.contentLength = options.contentLength;
  }

  async pump(receive: ChunkReceiver, abortSignal: AbortSignal): Promise<void> {
    let held = 0;
    let wake = (): void => undefined;
    abortSignal.addEventListener('abort', () => wake());
    for (const piece of this.#pieces) {
      while (held === 2 && !abortSignal.aborted) await new Promise<void>((resolve) => (wake = resolve));
      abortSignal.throwIfAborted();
      held += 1;
      this.given += piece.length;
      const bytes = new Uint8Array(piece);
      const release = (): void => {
        bytes.fill(0xdd);
        held -= 1;
        wake();
      };
      await receive({ bytes, release });
    }
    if (this.#failure !== undefined) throw this.#failure;
  }

  close(): void {
    this.isClosed = true;
  }
}

function* cut(bytes: Uint8Array, sizes: readonly number[]): Generator<Uint8Array> {
  for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
    const size = sizes[turn % sizes.length] ?? 1;
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

const content = payloadBytes(0, 300 * KIB + 11);

describe.each([
  ['one byte at a time', [1]],
  ['odd pieces', [1, 4095, 2, 4097, 0, 65_536, 333]],
  ['at once', [content.length]],
] as const)('%s', (_name, sizes) => {
  test('forwards, with gaps, and back to anywhere', async () => {
    const reader = new ForwardReader('x', new PieceSource(cut(content, sizes)), never);
    for (const [offset, length] of [
      [0, 10],
      [1024, 1024],
      [5, 4],
      [70_000, 100_000],
      [0, 200_000],
      [content.length - 1, 1],
      [content.length, 0],
      [4095, 2],
      [0, content.length],
    ] as const) {
      const found = await bytesAt(reader, offset, length);
      expect(found.equals(content.subarray(offset, offset + length)), `${offset}, ${length}`).toBe(true);
    }
    await reader.close();
  });

  test('reads no more than it needs, and two pieces ahead', async () => {
    const source = new PieceSource(cut(content, sizes));
    const reader = new ForwardReader('x', source, never);
    expect(source.given).toBe(0);
    await bytesAt(reader, 100, 10);
    const most = 110 + 3 * Math.max(...sizes);
    expect(source.given).toBeLessThanOrEqual(most);
    await reader.close();
    expect(source.isClosed).toBe(true);
  });
});

test('calls that overlap wait for each other', async () => {
  const reader = new ForwardReader('x', new PieceSource(cut(content, [1000])), never);
  const places = [200_000, 0, 100_000, 299_999];
  const found = await Promise.all(places.map((place) => bytesAt(reader, place, 777)));
  for (const [index, place] of places.entries()) {
    expect(found[index]?.equals(content.subarray(place, place + 777))).toBe(true);
  }
});

describe('beyond the memory', () => {
  const PIECE = payloadBytes(0, MIB - 1);
  const long = function* (): Generator<Uint8Array> {
    for (let count = 0; count < 40; count += 1) yield PIECE;
  };

  test('what is in it can be read, the rest cannot: an error that says so', async () => {
    const reader = new ForwardReader('a stream', new PieceSource(long()), never);
    await bytesAt(reader, 39 * MIB, 5);
    expect((await bytesAt(reader, 0, 1000)).equals(PIECE.subarray(0, 1000))).toBe(true);
    expect((await bytesAt(reader, 32 * MIB - 1, 1)).length).toBe(1);
    await expect(bytesAt(reader, 32 * MIB, 1)).rejects.toMatchObject({
      kind: 'image',
      message: 'the stream cannot be read backwards',
      hint: expect.stringContaining('save it to a file') as unknown,
      context: {
        path: 'a stream',
        offset: 32 * MIB,
        found: `a place that has gone by: the stream stands at ${39 * MIB + 5}`,
        expected: 'one among the first 32 MiB, which are remembered',
      },
    });
    await expect(bytesAt(reader, 32 * MIB - 1, 2)).rejects.toMatchObject({ kind: 'image' });
    // Neither error has moved the stream.
    const next = 39 * MIB + 5;
    const [found] = await bytesAt(reader, next, 1);
    expect(found).toBe(PIECE[next % PIECE.length]);
  });
});

describe('ends', () => {
  test('a stream that ends before the range', async () => {
    const reader = new ForwardReader('x', new PieceSource(cut(content, [1000])), never);
    await expect(bytesAt(reader, content.length - 3, 8)).rejects.toMatchObject({
      kind: 'image',
      message: 'the image ends too early',
      context: {
        offset: content.length - 3,
        found: `3 bytes: it ends at ${content.length}`,
        expected: '8 bytes',
      },
    });
    await expect(bytesAt(reader, content.length + 100, 8)).rejects.toMatchObject({
      context: { found: `0 bytes: it ends at ${content.length}` },
    });
    expect((await bytesAt(reader, 7, 9)).equals(content.subarray(7, 16))).toBe(true);
  });

  test('a known length: nothing is read to find out that it is too short', async () => {
    const source = new PieceSource(cut(content, [1000]), { contentLength: content.length });
    const reader = new ForwardReader('x', source, never);
    expect(reader.sizeBytes).toBe(content.length);
    await expect(bytesAt(reader, content.length - 3, 8)).rejects.toMatchObject({ kind: 'image' });
    expect(source.given).toBe(0);
  });

  test('a source that fails: what came before it can be read', async () => {
    const failure = new Error('broken');
    const reader = new ForwardReader('x', new PieceSource(cut(content, [1000]), { failure }), never);
    expect((await bytesAt(reader, content.length - 9, 9)).length).toBe(9);
    await expect(bytesAt(reader, content.length, 1)).rejects.toBe(failure);
    expect((await bytesAt(reader, 0, 9)).equals(content.subarray(0, 9))).toBe(true);
  });

  test.each([-1, 0.5, Number.NaN, Infinity, 2 ** 53])('a place that cannot be: %d', async (offset) => {
    const reader = new ForwardReader('x', new PieceSource(cut(content, [1000])), never);
    await expect(bytesAt(reader, offset, 1)).rejects.toMatchObject({ kind: 'image' });
  });
});

describe('a source that is silent', () => {
  class SilentSource extends PieceSource {
    override async pump(receive: ChunkReceiver, abortSignal: AbortSignal): Promise<void> {
      await receive({ bytes: content.subarray(0, 10), release: () => undefined });
      await new Promise<void>((_, reject) => {
        abortSignal.addEventListener('abort', () => reject(abortSignal.reason as Error));
      });
    }
  }

  test('an abort before, and while it is waited for', async () => {
    const reason = new Error('stop it');
    const before = new ForwardReader('x', new SilentSource([]), {
      ...never,
      abortSignal: AbortSignal.abort(reason),
    });
    await expect(bytesAt(before, 0, 1)).rejects.toBe(reason);
    const stop = new AbortController();
    const reader = new ForwardReader('x', new SilentSource([]), { ...never, abortSignal: stop.signal });
    await bytesAt(reader, 0, 10);
    const waiting = bytesAt(reader, 10, 1);
    setTimeout(() => stop.abort(reason), 10);
    await expect(waiting).rejects.toBe(reason);
    await expect(bytesAt(reader, 0, 1)).rejects.toBe(reason);
  });

  test('the idle time', async () => {
    const reader = new ForwardReader('x', new SilentSource([]), { ...never, idleMilliseconds: 50 });
    await expect(bytesAt(reader, 0, 11)).rejects.toMatchObject({
      kind: 'image',
      message: 'the image does not go on',
      context: { offset: 10, found: 'nothing for 0.05 seconds' },
    });
  });

  test('no time passes while nobody waits', async () => {
    const reader = new ForwardReader('x', new PieceSource(cut(content, [10])), {
      ...never,
      idleMilliseconds: 30,
    });
    await bytesAt(reader, 0, 10);
    await new Promise((resolve) => setTimeout(resolve, 90));
    expect((await bytesAt(reader, 10, 90)).equals(content.subarray(10, 100))).toBe(true);
  });

  test('closing ends a wait, and twice is as good as once', async () => {
    const reader = new ForwardReader('x', new SilentSource([]), never);
    const waiting = bytesAt(reader, 0, 11);
    const failed = expect(waiting).rejects.toMatchObject({ kind: 'usage', message: 'the image is closed' });
    await new Promise((resolve) => setImmediate(resolve));
    await reader.close();
    await reader.close();
    await failed;
    await expect(bytesAt(reader, 0, 1)).rejects.toMatchObject({ kind: 'usage' });
  });
});
