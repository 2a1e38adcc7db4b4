import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { chunksOf } from '../../src/server/request-body.js';
import { KIB } from '../../src/units.js';

/** A body whose pieces come when the test pushes them. */
function body(): { readonly stream: Readable; readonly chunks: AsyncGenerator<Buffer> } {
  const stream = new Readable({ read: () => undefined, highWaterMark: 1024 * KIB });
  return { stream, chunks: chunksOf(stream as IncomingMessage, new AbortController().signal) };
}

test('records that come together go on together, in their order', async () => {
  const { stream, chunks } = body();
  const pieces = Array.from({ length: 9 }, (_, index) => Buffer.alloc(16 * KIB, index));
  const first = chunks.next();
  for (const piece of pieces) stream.push(piece);
  stream.push(null);
  const got = [(await first).value as Buffer];
  for await (const chunk of chunks) got.push(chunk);
  expect(got.map(({ length }) => length / KIB)).toEqual([64, 64, 16]);
  expect(Buffer.concat(got).equals(Buffer.concat(pieces))).toBe(true);
});

test('a large piece is not copied, whatever stands before and after it', async () => {
  const { stream, chunks } = body();
  const large = Buffer.alloc(64 * KIB, 2);
  const first = chunks.next();
  for (const piece of [Buffer.from('a'), large, Buffer.from('b'), Buffer.from('c')]) stream.push(piece);
  stream.push(null);
  const got = [(await first).value as Buffer];
  for await (const chunk of chunks) got.push(chunk);
  expect(got.map(String)).toEqual(['a', String(large), 'bc']);
  expect(got[1]?.buffer).toBe(large.buffer);
});

test('one byte does not wait for more', async () => {
  const { stream, chunks } = body();
  const first = chunks.next();
  stream.push(Buffer.from('a'));
  expect(String((await first).value)).toBe('a');
  const second = chunks.next();
  await nextTurn();
  stream.push(Buffer.from('b'));
  expect(String((await second).value)).toBe('b');
  await chunks.return(undefined);
  expect(stream.isPaused()).toBe(true);
});

test('what came before a connection broke is handed out, then the error', async () => {
  const { stream, chunks } = body();
  const first = chunks.next();
  stream.push(Buffer.from('a'));
  await nextTurn();
  stream.destroy(new Error('reset'));
  expect(String((await first).value)).toBe('a');
  await expect(chunks.next()).rejects.toThrow('reset');
});
