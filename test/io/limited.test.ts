import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { limited } from '../../src/io/limited.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { payloadBytes } from '../plan/materialise.js';
import { bytesAt, opened } from './byte-readers.js';

const content = payloadBytes(0, 10_000);

async function openedFile() {
  const path = join(temporaryFolder(), 'image');
  writeFileSync(path, content);
  return { path, reader: await opened(path) };
}

test.each([0, 1, 512, 9999, 10_000])('a view from %d on', async (offset) => {
  const { path, reader } = await openedFile();
  const view = limited(reader, offset);
  const size = content.length - offset;
  expect(view).toMatchObject({ name: path, sizeBytes: size, forwardOnly: false });
  expect((await bytesAt(view, 0, size)).equals(content.subarray(offset))).toBe(true);
  await expect(bytesAt(view, size, 1)).rejects.toMatchObject({ kind: 'image', context: { offset: 10_000 } });
  await expect(bytesAt(view, -1, 1)).rejects.toMatchObject({ kind: 'image' });
  await view.close();
  await expect(bytesAt(reader, 0, 1)).rejects.toMatchObject({ message: 'the image is closed' });
});

test.each([-1, 0.5, Number.NaN, 10_001, 2 ** 60])('no view from %d on', async (offset) => {
  const { reader } = await openedFile();
  expect(() => limited(reader, offset)).toThrow(
    expect.objectContaining({ kind: 'usage', message: 'the offset is not in the image' }) as Error,
  );
});

test('views of views; of a stream whose length is not known', async () => {
  const { reader } = await openedFile();
  expect((await bytesAt(limited(limited(reader, 1000), 24), 1, 5)).equals(content.subarray(1025, 1030))).toBe(
    true,
  );
  const stream = { ...reader, name: 'x', forwardOnly: true, sizeBytes: undefined };
  expect(limited(stream, 2 ** 40)).toMatchObject({ sizeBytes: undefined, forwardOnly: true });
});
