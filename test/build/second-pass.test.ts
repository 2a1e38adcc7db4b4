/* What was verified in a first pass and is read again: whoever gets its end has got the same bytes. */
import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { secondPass } from '../../src/build/second-pass.js';
import type { UploadSource } from '../../src/io/chunk.js';
import { thrownBy } from '../xenapi/pools.js';

const VERIFIED = Buffer.from('the bytes that were verified');

/** Hands out these bytes, three at a time. */
function sourceOf(bytes: Buffer): UploadSource {
  return {
    name: 'upload',
    contentLength: VERIFIED.length,
    repeatable: true,
    close: () => undefined,
    async pump(receive) {
      for (let at = 0; at < bytes.length; at += 3) {
        await receive({ bytes: bytes.subarray(at, at + 3), release: () => undefined });
      }
    },
  };
}

async function readAgain(bytes: Buffer): Promise<{ got: Buffer; error: unknown }> {
  const parts: Buffer[] = [];
  const sha256 = createHash('sha256').update(VERIFIED).digest('hex');
  const pumping = secondPass(sourceOf(bytes), sha256).pump((chunk) => {
    parts.push(Buffer.from(chunk.bytes));
    chunk.release();
  }, new AbortController().signal);
  const error = await pumping.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  return { got: Buffer.concat(parts), error };
}

test('the same bytes come through, all of them', async () => {
  expect(await readAgain(VERIFIED)).toEqual({ got: VERIFIED, error: undefined });
});

const changedAt = (offset: number): Buffer => {
  const bytes = Buffer.from(VERIFIED);
  bytes[offset] = 0x58;
  return bytes;
};

test.each([
  ['another first byte', changedAt(0)],
  ['another last byte', changedAt(VERIFIED.length - 1)],
  ['a byte less', VERIFIED.subarray(0, -1)],
  ['a byte more', Buffer.concat([VERIFIED, Buffer.of(0x58)])],
  ['nothing', Buffer.alloc(0)],
])('%s: the end is held back', async (_, bytes) => {
  const { got, error } = await readAgain(bytes);
  expect(error).toMatchObject({ kind: 'upload', message: 'the upload was changed while it was read' });
  expect(got.length).toBeLessThan(VERIFIED.length);
});

test('sabotage: a source that comes only once is refused', async () => {
  const once = { ...sourceOf(VERIFIED), repeatable: false };
  expect(await thrownBy(Promise.resolve().then(() => secondPass(once, '')))).toMatchObject({
    message: expect.stringContaining('it can be read again') as string,
  });
});
