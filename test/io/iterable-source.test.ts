import { Readable } from 'node:stream';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, test, vi } from 'vitest';
import type { Chunk } from '../../src/io/chunk.js';
import { IterableSource } from '../../src/io/iterable-source.js';
import { KIB } from '../../src/units.js';
import { payloadBytes } from '../plan/materialise.js';
import { eventually } from './eventually.js';

const never = new AbortController().signal;
const reason = new Error('stop it');
const silence = (): Promise<never> => new Promise(() => undefined);

async function* chunksOf(...sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  let at = 0;
  for (const size of sizes) {
    await Promise.resolve();
    yield payloadBytes(at, size);
    at += size;
  }
}

const sourceOf = (iterable: AsyncIterable<Uint8Array>): IterableSource =>
  new IterableSource('upload', iterable, undefined);

async function collect(iterable: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Buffer[] = [];
  await sourceOf(iterable).pump(({ bytes, release }) => {
    parts.push(Buffer.from(bytes));
    release();
  }, never);
  return Buffer.concat(parts);
}

describe('the bytes', () => {
  test.each([
    ['of a generator', () => chunksOf(1, 2, 70_000, 3)],
    ['with empty chunks between', () => chunksOf(0, 1, 0, 0, 70_005, 0)],
    ['of a Node stream', () => Readable.from(chunksOf(70_006))],
    ['of a web stream', () => ReadableStream.from(chunksOf(6, 70_000)) as AsyncIterable<Uint8Array>],
    ['of forty chunks', () => chunksOf(...Array.from({ length: 40 }, () => 1750), 6)],
  ])('%s arrive in order', async (_name, make) => {
    expect((await collect(make())).equals(payloadBytes(0, 70_006))).toBe(true);
  });

  test('are used where they stand, not copied', async () => {
    const original = payloadBytes(0, 10);
    const receive = vi.fn<(chunk: Chunk) => void>();
    await sourceOf(Readable.from([original])).pump(receive, never);
    expect(receive.mock.calls[0]?.[0].bytes).toBe(original);
  });

  test('of nothing are none', async () => {
    expect(await collect(chunksOf())).toHaveLength(0);
    expect(await collect(chunksOf(0, 0))).toHaveLength(0);
  });

  test('wait while sixteen chunks are not yet released', async () => {
    const held: Chunk[] = [];
    const sizes = Array.from({ length: 20 }, () => 1);
    const pumping = sourceOf(chunksOf(...sizes)).pump((chunk) => void held.push(chunk), never);
    await eventually(() => expect(held).toHaveLength(16));
    await new Promise((resolve) => setImmediate(resolve));
    expect(held).toHaveLength(16);
    held.shift()?.release();
    await eventually(() => expect(held).toHaveLength(16));
    for (const { release } of held) release();
    await pumping;
    expect(held).toHaveLength(19);
  });

  test('are not remembered: memory does not grow with the upload', async () => {
    setFlagsFromString('--expose-gc');
    const collectGarbage = runInNewContext('gc') as () => void;
    const seen: Array<WeakRef<Uint8Array>> = [];
    async function* upload(): AsyncGenerator<Uint8Array> {
      for (let index = 0; index < 64; index += 1) {
        await new Promise((resolve) => setImmediate(resolve));
        yield Buffer.alloc(64 * KIB, index);
      }
    }
    let stillThere = Number.NaN;
    await sourceOf(upload()).pump(async ({ bytes, release }) => {
      seen.push(new WeakRef(bytes));
      release();
      if (seen.length < 60) return;
      await new Promise((resolve) => setImmediate(resolve));
      collectGarbage();
      stillThere = seen.filter((chunk) => chunk.deref() !== undefined).length;
    }, never);
    expect(seen).toHaveLength(64);
    expect(stillThere).toBeLessThan(20);
  });
});

describe('an abort', () => {
  test('before the start: the iterable is not even asked', async () => {
    const asked = vi.fn<() => AsyncIterator<Uint8Array>>();
    const pumping = sourceOf({ [Symbol.asyncIterator]: asked }).pump(
      () => undefined,
      AbortSignal.abort(reason),
    );
    await expect(pumping).rejects.toBe(reason);
    expect(asked).not.toHaveBeenCalled();
  });

  test('while the iterable is silent: it is told to end, and not waited for', async () => {
    const stop = new AbortController();
    const ended = vi.fn<() => Promise<never>>(silence);
    const iterable = { [Symbol.asyncIterator]: () => ({ next: silence, return: ended }) };
    const pumping = sourceOf(iterable).pump(() => undefined, stop.signal);
    stop.abort(reason);
    await expect(pumping).rejects.toBe(reason);
    expect(ended).toHaveBeenCalledTimes(1);
  });

  test('while the receiver never answers, and while nothing is released', async () => {
    const stop = new AbortController();
    const waiting = sourceOf(chunksOf(5, 5)).pump(silence, stop.signal);
    const receive = vi.fn<() => void>();
    const sizes = Array.from({ length: 20 }, () => 1);
    const holding = sourceOf(chunksOf(...sizes)).pump(receive, stop.signal);
    await eventually(() => expect(receive).toHaveBeenCalledTimes(16));
    stop.abort(reason);
    await expect(waiting).rejects.toBe(reason);
    await expect(holding).rejects.toBe(reason);
  });
});

describe('errors', () => {
  test.each(['text', 7, null, { length: 5 }, new Uint16Array(3)])('%s is no chunk of bytes', async (odd) => {
    async function* upload(): AsyncGenerator<Uint8Array> {
      yield payloadBytes(0, 5);
      await Promise.resolve();
      yield odd as Uint8Array;
    }
    await expect(collect(upload())).rejects.toMatchObject({
      kind: 'upload',
      message: 'the upload is not made of bytes',
      context: { expected: 'Uint8Array chunks' },
    });
  });

  test('of the iterable are of kind upload, with their cause', async () => {
    const cause = new Error('connection reset');
    async function* upload(): AsyncGenerator<Uint8Array> {
      yield payloadBytes(0, 5);
      await Promise.resolve();
      throw cause;
    }
    await expect(collect(upload())).rejects.toMatchObject({
      kind: 'upload',
      message: 'the upload broke off',
      context: { path: 'upload', found: 'connection reset' },
      cause,
    });
  });

  test('of a stream that is destroyed are of kind upload', async () => {
    const stream = new Readable({ read: () => undefined });
    const collecting = collect(stream);
    stream.push(payloadBytes(0, 5));
    stream.destroy();
    await expect(collecting).rejects.toMatchObject({ kind: 'upload', message: 'the upload broke off' });
  });

  test.each([
    [
      'thrown',
      (fault: Error) => (): void => {
        throw fault;
      },
    ],
    ['rejected', (fault: Error) => (): Promise<void> => Promise.reject(fault)],
  ])(
    'of the receiver, %s, are those of the pump, and the iterable is told to end',
    async (_name, receiver) => {
      const fault = new Error('a defect');
      let ended = false;
      async function* upload(): AsyncGenerator<Uint8Array> {
        try {
          yield* chunksOf(5, 5);
        } finally {
          ended = true;
        }
      }
      await expect(sourceOf(upload()).pump(receiver(fault), never)).rejects.toBe(fault);
      await eventually(() => expect(ended).toBe(true));
    },
  );
});
