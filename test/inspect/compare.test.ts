/* What makes two disks the same, and what must not. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { firstDifference } from '../../src/inspect/compare-content.js';
import { compareImages, type Comparison } from '../../src/inspect/compare.js';
import type { FileChunk } from '../../src/inspect/image-file.js';
import { MIB } from '../../src/units.js';
import { ask, change } from '../oracles/debugfs.js';
import { requireTool } from '../oracles/require-tool.js';
import { formatSample } from '../oracles/sample-image.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { opened } from './images.js';

beforeEach((context) => requireTool(context, 'mke2fs', 'debugfs'));

function disk(...commands: readonly string[]): string {
  const path = formatSample(join(temporaryFolder(), 'disk.raw'), 16 * MIB);
  change(path, ...commands);
  return path;
}

async function compared(a: string, b: string): Promise<Comparison> {
  return await compareImages(await opened(a), await opened(b), { contentOnly: true });
}

test('equal files, links and devices are the same', async () => {
  const commands = ['write /dev/null patch', 'symlink link /etc/passwd', 'mknod device c 1 3'];
  expect(await compared(disk(...commands), disk(...commands))).toMatchObject({ same: true, complete: true });
});

test.for([
  ['symlink link /etc/passwd', 'symlink link /etc/shadow', '/link, target'],
  [`symlink link ${'x'.repeat(200)}a`, `symlink link ${'x'.repeat(200)}b`, '/link, target'],
  ['mknod device c 1 3', 'mknod device c 1 5', '/device, device'],
  ['write /dev/null name', 'mkdir name', '/name, type'],
])('%s is not %s', async ([a = '', b = '', what = '']) => {
  const comparison = await compared(disk(a), disk(b));
  expect(comparison).toMatchObject({ same: false, complete: true });
  expect(comparison.differences.map((one) => one.what)).toContain(what);
});

test('names that are no UTF-8 are compared like any other', async () => {
  const changed = (content: string): string => {
    const from = join(temporaryFolder(), 'content');
    writeFileSync(from, content);
    const path = formatSample(join(temporaryFolder(), 'disk.raw'), 16 * MIB, '-O', '^metadata_csum');
    change(path, `write ${from} latQin`);
    const bytes = readFileSync(path);
    bytes[bytes.indexOf('latQin') + 3] = 0xe9;
    writeFileSync(path, bytes);
    return path;
  };
  const [one, other] = [changed('one'), changed('two')];
  expect(await compared(one, one)).toMatchObject({ same: true });
  expect(await compared(one, other)).toMatchObject({ same: false, complete: true });
});

test('two disks whose root cannot be read are not the same', async () => {
  const path = disk('write /dev/null patch');
  const bytes = readFileSync(path);
  bytes.fill(0xff, Number(ask(path, 'bmap / 0')) * 4096, (Number(ask(path, 'bmap / 0')) + 1) * 4096);
  writeFileSync(path, bytes);
  const comparison = await compared(path, path);
  expect(comparison).toMatchObject({ same: false, complete: false, differences: [] });
  expect(comparison.damage.a[0]?.code).toBe('directory-checksum');
});

test('holes are compared with holes without a look, and with data byte by byte', async () => {
  const zeros = new Uint8Array(8);
  async function* chunks(...parts: readonly FileChunk[]): AsyncGenerator<FileChunk> {
    yield* parts;
  }
  const hole = { fileOffset: 0, bytes: zeros, zeros: true };
  const data = { fileOffset: 0, bytes: Uint8Array.of(0, 0, 0, 9, 0, 0, 0, 0), zeros: false };
  expect(await firstDifference(chunks(hole), chunks({ ...hole, zeros: false }))).toBeUndefined();
  expect(await firstDifference(chunks(hole, hole), chunks(hole, data))).toBe(11);
  expect(await firstDifference(chunks(hole), chunks(hole, hole))).toBe(8);
});

test('files that are far larger than their disk, by holes, are refused', async () => {
  const path = disk('write /dev/null patch', 'sif /patch size 16000000000000');
  const [a, b] = [await opened(path), await opened(path)];
  await expect(compareImages(a, b)).rejects.toMatchObject({
    kind: 'image',
    context: { found: expect.stringContaining('16000000000000 bytes') as unknown },
  });
});
