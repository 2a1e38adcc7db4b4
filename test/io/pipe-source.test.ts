import { constants, createWriteStream, fstatSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { once } from 'node:events';
import type { Writable } from 'node:stream';
import fc from 'fast-check';
import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import type { Chunk } from '../../src/io/chunk.js';
import { PipeSource } from '../../src/io/pipe-source.js';
import { KIB, MIB } from '../../src/units.js';
import { requireTool } from '../oracles/require-tool.js';
import { runJudge } from '../oracles/run-judge.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { payloadBytes } from '../plan/materialise.js';
import { eventually } from './eventually.js';

/** What a source has at most: sixteen buffers of 64 KiB. */
const BUFFER_COUNT = 16;
const BUFFER_BYTES = 64 * KIB;

const never = new AbortController().signal;

beforeEach((context) => requireTool(context, 'mkfifo'));

/** A pipe, with a source at its end. */
function openPipe(): { source: PipeSource; fd: number; writer: Writable } {
  const path = join(temporaryFolder(), 'pipe');
  expect(runJudge('mkfifo', [path]).exitCode).toBe(0);
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const writer = createWriteStream('', { fd: openSync(path, 'w') });
  // A reader that goes away is part of some tests.
  writer.on('error', () => undefined);
  const source = new PipeSource('a pipe', fd, undefined);
  onTestFinished(() => {
    source.close();
    writer.destroy();
  });
  return { source, fd, writer };
}

const settled = (promise: Promise<unknown>): Promise<string> =>
  Promise.race([
    promise.then(
      () => 'resolved',
      () => 'rejected',
    ),
    new Promise<string>((resolve) => setImmediate(() => setImmediate(() => resolve('pending')))),
  ]);

const isOpen = (fd: number): boolean => {
  try {
    fstatSync(fd);
    return true;
  } catch {
    return false;
  }
};

describe('the bytes', () => {
  test('arrive in order, in chunks of at most 64 KiB, when each is released at once', async () => {
    const { source, writer } = openPipe();
    const upload = payloadBytes(0, 3 * MIB + 17);
    writer.end(upload);
    const parts: Buffer[] = [];
    await source.pump(({ bytes, release }) => {
      parts.push(Buffer.from(bytes));
      release();
    }, never);
    expect(Buffer.concat(parts).equals(upload)).toBe(true);
    expect(Math.max(...parts.map(({ length }) => length))).toBeLessThanOrEqual(BUFFER_BYTES);
  });

  test('stay as they are until they are released: with all buffers held, the source waits', async () => {
    const { source, writer } = openPipe();
    const upload = payloadBytes(0, 4 * MIB);
    writer.end(upload);
    const held: Chunk[] = [];
    const pumping = source.pump((chunk) => void held.push(chunk), never);
    let checked = 0;
    let rounds = 0;
    const memory = new Set<ArrayBufferLike>();
    while (checked < upload.length) {
      await eventually(() => expect(held.length).toBeGreaterThanOrEqual(1));
      // No more comes while nothing is released, but for what was on its way.
      await new Promise((resolve) => setTimeout(resolve, 5));
      expect(held.length).toBeLessThanOrEqual(BUFFER_COUNT);
      for (const { bytes, release } of held.splice(0)) {
        expect(Buffer.from(bytes).equals(upload.subarray(checked, checked + bytes.length))).toBe(true);
        checked += bytes.length;
        memory.add(bytes.buffer);
        release();
      }
      rounds += 1;
    }
    await pumping;
    expect(rounds).toBeGreaterThan(2);
    expect(memory.size).toBeLessThanOrEqual(BUFFER_COUNT);
  });

  test('arrive in order however late and in whatever order the chunks are released', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(20), { minLength: 1, maxLength: 30 }), async (turns) => {
        const { source, writer } = openPipe();
        const upload = payloadBytes(0, MIB + 3);
        writer.end(upload);
        const held: Chunk[] = [];
        let received = 0;
        let intact = true;
        const check = (bytes: Uint8Array, at: number): boolean =>
          Buffer.from(bytes).equals(upload.subarray(at, at + bytes.length));
        const places = new Map<Chunk, number>();
        const releaseOne = (index: number): void => {
          const [chunk] = held.splice(index % held.length, 1);
          if (chunk === undefined) return;
          intact &&= check(chunk.bytes, places.get(chunk) ?? -1);
          chunk.release();
        };
        let turn = 0;
        await source.pump((chunk) => {
          places.set(chunk, received);
          received += chunk.bytes.length;
          held.push(chunk);
          const wish = turns[turn++ % turns.length] ?? 0;
          if (wish < 8 && held.length < BUFFER_COUNT - 2) return;
          setImmediate(() => releaseOne(wish));
          if (held.length > BUFFER_COUNT / 2) while (held.length > 3) releaseOne(wish);
        }, never);
        for (const chunk of held) intact &&= check(chunk.bytes, places.get(chunk) ?? -1);
        expect(intact).toBe(true);
        expect(received).toBe(upload.length);
      }),
      { numRuns: 15 },
    );
  });

  test('stop while the receiver is busy', async () => {
    const { source, writer } = openPipe();
    writer.end(payloadBytes(0, MIB));
    let busy = false;
    let received = 0;
    await source.pump(async ({ bytes, release }) => {
      expect(busy, 'one chunk at a time').toBe(false);
      busy = true;
      await new Promise((resolve) => setImmediate(resolve));
      received += bytes.length;
      busy = false;
      release();
    }, never);
    expect(received).toBe(MIB);
  });

  test('of an empty upload are none', async () => {
    const { source, writer } = openPipe();
    writer.end();
    const receive = vi.fn<() => void>();
    await source.pump(receive, never);
    expect(receive).not.toHaveBeenCalled();
  });
});

describe('an abort', () => {
  const reason = new Error('stop it');

  test('ends a pump whose writer is silent', async () => {
    const { source } = openPipe();
    const stop = new AbortController();
    const pumping = source.pump(() => undefined, stop.signal);
    expect(await settled(pumping)).toBe('pending');
    stop.abort(reason);
    await expect(pumping).rejects.toBe(reason);
  });

  test('before the start ends it, too, and nothing is received', async () => {
    const { source, writer } = openPipe();
    writer.end(payloadBytes(0, 1000));
    const receive = vi.fn<() => void>();
    await expect(source.pump(receive, AbortSignal.abort(reason))).rejects.toBe(reason);
    expect(receive).not.toHaveBeenCalled();
  });

  test('ends it while all buffers are held, and while the receiver never answers', async () => {
    const stop = new AbortController();
    const [first, second] = [openPipe(), openPipe()];
    for (const { writer } of [first, second]) writer.write(payloadBytes(0, 2 * MIB));
    const holding = first.source.pump(() => undefined, stop.signal);
    const waiting = second.source.pump(() => new Promise<void>(() => undefined), stop.signal);
    expect(await settled(Promise.all([holding, waiting]))).toBe('pending');
    stop.abort(reason);
    await expect(holding).rejects.toBe(reason);
    await expect(waiting).rejects.toBe(reason);
  });

  test('from within the receiver ends it after that chunk', async () => {
    const { source, writer } = openPipe();
    writer.end(payloadBytes(0, MIB));
    const stop = new AbortController();
    let chunks = 0;
    const pumping = source.pump(() => {
      chunks += 1;
      stop.abort(reason);
    }, stop.signal);
    await expect(pumping).rejects.toBe(reason);
    expect(chunks).toBe(1);
  });
});

describe('the error of a receiver is the error of the pump', () => {
  const fault = new Error('disk full');

  test('when it is thrown', async () => {
    const { source, writer } = openPipe();
    writer.write(payloadBytes(0, MIB));
    const pumping = source.pump(() => {
      throw fault;
    }, never);
    await expect(pumping).rejects.toBe(fault);
  });

  test('when a promise is rejected', async () => {
    const { source, writer } = openPipe();
    writer.write(payloadBytes(0, MIB));
    await expect(source.pump(() => Promise.reject(fault), never)).rejects.toBe(fault);
  });
});

describe('the descriptor is closed', () => {
  test('when the upload has ended', async () => {
    const { source, fd, writer } = openPipe();
    writer.end(payloadBytes(0, 10));
    await source.pump(({ release }) => release(), never);
    await eventually(() => expect(isOpen(fd)).toBe(false));
    source.close();
  });

  test('when the source is closed without ever being pumped', () => {
    const { source, fd } = openPipe();
    expect(isOpen(fd)).toBe(true);
    source.close();
    expect(isOpen(fd)).toBe(false);
    expect(() => source.close()).not.toThrow();
  });

  test('so that the writer learns that nobody reads any more', async () => {
    const { source, writer } = openPipe();
    const failed = once(writer, 'error').then(([error]: unknown[]) => error);
    source.close();
    writer.write(payloadBytes(0, MIB));
    expect(await failed).toMatchObject({ code: 'EPIPE' });
  });
});
