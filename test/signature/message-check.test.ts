import { deflateRawSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { MessageCheck } from '../../src/signature/message-check.js';
import {
  compressed,
  compressedToTheEnd,
  CONTENT,
  GOOD,
  mallory,
  message,
  ONE_PASS,
} from './container-attacks.js';
import { uint } from './craft.js';
import { pieces, refusal } from './drive.js';

/** The container alone, without gpgv, so that every length can be tried. */
async function check(
  upload: Uint8Array,
  chunks: number | readonly number[] = upload.length || 1,
): Promise<number> {
  let found: Error | undefined;
  const checker = new MessageCheck(1 << 20, (error) => {
    found = error;
  });
  let lent = 0;
  let taken = 0;
  try {
    for (const piece of pieces(upload, chunks)) {
      checker.write(piece, () => (taken += 1));
      lent += 1;
    }
    const signatures = await checker.finish();
    expect([taken, found]).toEqual([lent, undefined]);
    return signatures;
  } finally {
    await checker.destroy();
  }
}

/** A message as gpg writes it from a pipe: a literal in parts, here of 512, 1024 and the rest. */
function inParts(): Buffer {
  const content = Buffer.alloc(2000, 0x61);
  const body = message(Buffer.from('b\0\0\0\0\0'), content);
  return message(
    ONE_PASS,
    Buffer.of(0xcb, 0xe9),
    body.subarray(0, 512),
    Buffer.of(0xea),
    body.subarray(512, 1536),
    Buffer.of(0xff),
    uint(body.length - 1536, 4),
    body.subarray(1536),
    mallory.version4(content),
  );
}

const MESSAGES: readonly (readonly [string, Buffer])[] = [
  ['uncompressed', GOOD],
  ['in parts', inParts()],
  ['compressed', compressed(GOOD)],
  ['compressed up to the end', compressedToTheEnd(GOOD)],
  ['compressed, in parts inside', compressed(inParts())],
  [
    'compressed in stored blocks, in parts outside',
    (() => {
      const body = message(Buffer.of(1), deflateRawSync(inParts(), { level: 0 }));
      return message(
        Buffer.of(0xc8, 0xe9),
        body.subarray(0, 512),
        Buffer.of(0xff),
        uint(body.length - 512, 4),
        body.subarray(512),
      );
    })(),
  ],
];

describe.each(MESSAGES)('%s', (_, good) => {
  it('is one message however it is cut into chunks', async () => {
    for (const chunks of [good.length, 1, 2, [1, 5, 17], 100]) expect(await check(good, chunks)).toBe(1);
  });

  it('is refused when cut off anywhere', async () => {
    for (let length = 0; length < good.length; length += 1) {
      const error = await refusal(check(good.subarray(0, length)));
      expect(error.kind).toBe('signature');
    }
  });

  it('is refused with anything behind it', async () => {
    for (const extra of [Buffer.of(0), Buffer.of(0xff), CONTENT, ONE_PASS, good]) {
      const error = await refusal(check(message(good, extra)));
      expect(error.kind).toBe('signature');
    }
  });
});
