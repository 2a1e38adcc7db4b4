import { describe, expect, test } from 'vitest';
import type { ByteReader } from '../../src/bytes.js';
import { PatchVdiError } from '../../src/errors.js';
import { payloadBytes } from '../plan/materialise.js';
import { bytesAt, opened } from './byte-readers.js';

const content = payloadBytes(0, 10_000);

function ownReader(changes: Record<string, unknown> = {}) {
  const calls: [number, number][] = [];
  let closed = 0;
  const reader = {
    name: 'mine',
    sizeBytes: content.length,
    forwardOnly: false,
    readInto(target: Uint8Array, offset: number): Promise<void> {
      calls.push([offset, target.length]);
      target.set(content.subarray(offset, offset + target.length));
      return Promise.resolve();
    },
    close(): Promise<void> {
      closed += 1;
      return Promise.resolve();
    },
    ...changes,
  } as ByteReader;
  return { reader, calls, closed: () => closed };
}

test('is read through, and left open', async () => {
  const { reader, calls, closed } = ownReader();
  const ours = await opened(reader);
  expect(ours).toMatchObject({ name: 'mine', sizeBytes: 10_000, forwardOnly: false });
  expect((await bytesAt(ours, 5, 10)).equals(content.subarray(5, 15))).toBe(true);
  await bytesAt(ours, 10_000, 0);
  await ours.close();
  expect(calls).toEqual([[5, 10]]);
  expect(closed()).toBe(0);
  await expect(bytesAt(ours, 0, 1)).rejects.toMatchObject({ kind: 'usage', message: 'the image is closed' });
});

test('is not asked for what it does not have', async () => {
  const { reader, calls } = ownReader();
  const ours = await opened(reader);
  await expect(bytesAt(ours, 9999, 2)).rejects.toMatchObject({ kind: 'image' });
  await expect(bytesAt(ours, -1, 2)).rejects.toMatchObject({ kind: 'image' });
  expect(calls).toEqual([]);
});

test('a class of its own keeps its this', async () => {
  class Reader {
    readonly name = 'class';
    readonly sizeBytes = undefined;
    readonly forwardOnly = true;
    /** Not the URL of an image. */
    readonly url = 'x';
    readonly #bytes = content;
    readInto(target: Uint8Array, offset: number): Promise<void> {
      target.set(this.#bytes.subarray(offset, offset + target.length));
      return Promise.resolve();
    }
    close = (): Promise<void> => Promise.resolve();
  }
  const ours = await opened(new Reader());
  expect(ours).toMatchObject({ name: 'class', sizeBytes: undefined, forwardOnly: true });
  expect((await bytesAt(ours, 5, 10)).equals(content.subarray(5, 15))).toBe(true);
});

describe('what it throws', () => {
  const cause = new RangeError('no such bytes');
  test.each([
    ['rejects', () => Promise.reject(cause)],
    [
      'throws',
      () => {
        throw cause;
      },
    ],
  ])('%s: becomes an error of kind image', async (_name, readInto) => {
    const ours = await opened(ownReader({ readInto }).reader);
    await expect(bytesAt(ours, 7, 1)).rejects.toMatchObject({
      kind: 'image',
      message: 'the image could not be read',
      cause,
      context: { path: 'mine', offset: 7, found: 'no such bytes' },
    });
  });

  test('stays what it is when it is one of ours', async () => {
    const error = new PatchVdiError('usage', 'not like this');
    const ours = await opened(ownReader({ readInto: () => Promise.reject(error) }).reader);
    await expect(bytesAt(ours, 7, 1)).rejects.toBe(error);
  });

  test('an abort ends the wait for it', async () => {
    const stop = new AbortController();
    const { reader } = ownReader({ readInto: () => new Promise(() => undefined) });
    const ours = await opened(reader, { abortSignal: stop.signal });
    const waiting = bytesAt(ours, 0, 1);
    const reason = new Error('stop it');
    stop.abort(reason);
    await expect(waiting).rejects.toBe(reason);
    await expect(bytesAt(ours, 0, 1)).rejects.toBe(reason);
  });
});

test.each([
  ['a size below 0', { sizeBytes: -1 }],
  ['half a byte', { sizeBytes: 0.5 }],
  ['a size beyond numbers', { sizeBytes: 2 ** 53 }],
  ['a bigint', { sizeBytes: 5n }],
  ['null', { sizeBytes: null }],
  ['no name', { name: undefined }],
  ['no forwardOnly', { forwardOnly: undefined }],
  ['no readInto', { readInto: 5 }],
  ['no close', { close: undefined }],
])('is refused: %s', async (_name, changes) => {
  await expect(opened(ownReader(changes).reader)).rejects.toMatchObject({
    kind: 'usage',
    message: 'the reader cannot be used',
  });
});

test('a name for messages is made printable', async () => {
  expect((await opened(ownReader({ name: 'a\u001b[31m' }).reader)).name).toBe('a\\x1b[31m');
});
