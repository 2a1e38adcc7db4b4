import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { openRandomAccess } from '../../src/io/random-access-file.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { payloadBytes } from '../plan/materialise.js';

const content = payloadBytes(0, 10_000);

function opened() {
  const path = join(temporaryFolder(), 'file');
  writeFileSync(path, content);
  const file = openRandomAccess(path);
  onTestFinished(() => file.close());
  return { path, file };
}

test.each([
  [0, 0],
  [0, 10_000],
  [9_999, 1],
  [4096, 512],
  [10_000, 0],
])('reads at %d exactly %d bytes', (offset, length) => {
  const { file } = opened();
  expect(Buffer.from(file.read(offset, length)).equals(content.subarray(offset, offset + length))).toBe(true);
});

test('reads small pieces after large ones, in any order', () => {
  const { file } = opened();
  for (const [offset, length] of [
    [0, 9000],
    [5000, 3],
    [9990, 10],
    [1, 7000],
  ] as const) {
    expect(Buffer.from(file.read(offset, length)).equals(content.subarray(offset, offset + length))).toBe(
      true,
    );
  }
});

test.each([
  [9_999, 2, '1 bytes'],
  [10_000, 1, '0 bytes'],
  [99_999, 4096, '0 bytes'],
])('at %d there are no %d bytes: an error of kind image', (offset, length, found) => {
  const { path, file } = opened();
  expect(() => file.read(offset, length)).toThrow(
    expect.objectContaining({
      kind: 'image',
      message: 'the image ends too early',
      context: { path, offset, found, expected: `${length} bytes` },
    }) as Error,
  );
});

test('may be closed twice', () => {
  const { file } = opened();
  file.close();
  expect(() => file.close()).not.toThrow();
  expect(() => file.read(0, 1)).toThrow('EBADF');
});
