import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { beforeEach, describe, expect, test } from 'vitest';
import { buildPatchImage, openImage, type BuildOptions } from '../../src/index.js';
import { inspectImage } from '../../src/inspect/report.js';
import { GIB, MIB } from '../../src/units.js';
import { DEFAULT_SEARCH_PATH } from '../../src/tools/find.js';
import { listExtents, statFile } from '../oracles/debugfs.js';
import { convertToRaw } from '../oracles/qemu-img.js';
import { requireTool } from '../oracles/require-tool.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { uploadBytes } from '../e2e/uploads.js';
import { countingReader, opened } from './images.js';

beforeEach((context) => requireTool(context, 'mke2fs', 'debugfs', 'qemu-img'));

const UPLOAD = uploadBytes(5_000_000);

async function build(folder: string, options: Partial<BuildOptions> = {}): Promise<string> {
  const path = join(folder, `image.${options.format ?? 'vhd'}`);
  const temporary = join(folder, 'tmp');
  mkdirSync(temporary, { recursive: true });
  await buildPatchImage({
    source: Readable.from([UPLOAD]),
    contentLength: UPLOAD.length,
    format: 'vhd',
    sink: { path },
    verify: { unsigned: true },
    environment: { searchPath: DEFAULT_SEARCH_PATH, temporaryFolder: temporary },
    ...options,
  });
  return path;
}

describe('what the library gives', () => {
  test('format, size, bytes of the disk: qemu-img has the same', async () => {
    const folder = temporaryFolder();
    const path = await build(folder);
    const raw = join(folder, 'raw');
    convertToRaw(path, raw);
    const disk = readFileSync(raw);
    const image = await opened(path);
    expect(image).toMatchObject({ format: 'vhd', virtualSize: disk.length });
    for (const [offset, length] of [
      [0, 4096],
      [1, 1],
      [2 * MIB - 100, 200],
      [disk.length - 512, 512],
      [0, disk.length],
    ] as const) {
      expect(Buffer.compare(await image.read(offset, length), disk.subarray(offset, offset + length))).toBe(
        0,
      );
    }
  });

  test('patch: size, mode, mtime, content and extents: debugfs has the same', async () => {
    const folder = temporaryFolder();
    const path = await build(folder, { format: 'raw' });
    const image = await opened(path);
    const patch = await image.patch();
    const told = statFile(path, '/patch');
    expect(patch.size).toBe(UPLOAD.length);
    expect(patch.mode.toString(8).padStart(4, '0')).toBe(told.mode);
    expect(patch.mtime.getTime()).toBeGreaterThan(Date.now() - 60_000);
    expect(Buffer.compare(await buffer(Readable.from(patch.stream())), UPLOAD)).toBe(0);
    const extents = [];
    for await (const extent of patch.extents()) extents.push(extent);
    expect(extents).toEqual(listExtents(path, '/patch').extents);
  });

  test('buffers of a stream are the receiver’s: they do not change when more is read', async () => {
    const image = await opened(await build(temporaryFolder()));
    const parts: Uint8Array[] = [];
    for await (const part of (await image.patch()).stream()) parts.push(part);
    expect(Buffer.compare(Buffer.concat(parts), UPLOAD)).toBe(0);
  });

  test('a reader of the caller’s own is read, and stays open', async () => {
    const reader = countingReader(await build(temporaryFolder()));
    const image = await openImage(reader);
    expect((await image.patch()).size).toBe(UPLOAD.length);
    await image.close();
    expect(reader.closed).toBe(false);
  });

  test('a reader that fails is an error of kind image, with its cause', async () => {
    const reader = countingReader(await build(temporaryFolder()));
    const broken = { ...reader, readInto: () => Promise.reject(new Error('the cable is out')) };
    await expect(openImage(broken)).rejects.toMatchObject({
      kind: 'image',
      cause: expect.objectContaining({ message: 'the cable is out' }) as unknown,
    });
  });

  test('an abort ends reading with its reason', async () => {
    const controller = new AbortController();
    const image = await opened(await build(temporaryFolder()), { signal: controller.signal });
    const patch = await image.patch();
    const reason = new Error('enough');
    controller.abort(reason);
    await expect(buffer(Readable.from(patch.stream()))).rejects.toBe(reason);
  });

  test.for([
    [-1, 1],
    [0.5, 1],
    [0, -1],
    [Number.MAX_SAFE_INTEGER, 1],
    [0, 33 * MIB],
  ] as const)('read(%d, %d) is refused', async ([offset, length]) => {
    const image = await opened(await build(temporaryFolder()));
    await expect(image.read(offset, length)).rejects.toMatchObject({ kind: 'usage' });
  });

  test('a read behind the end of the disk is an error of kind image', async () => {
    const image = await opened(await build(temporaryFolder()));
    const size = image.virtualSize ?? 0;
    await expect(image.read(size - 1, 2)).rejects.toMatchObject({
      kind: 'image',
      context: { offset: size - 1 },
    });
  });
});

describe('reading costs what it must', () => {
  test.for(['raw', 'vhd', 'vhd-fixed'] as const)('a %s of 4 GiB: less than 2 MiB', async (format) => {
    const reader = countingReader(await build(temporaryFolder(), { format, size: 4 * GIB }));
    const image = await opened(reader);
    const report = await inspectImage(image);
    expect(report).toMatchObject({ healthy: true, bitmapsChecked: true });
    expect(reader.byteCount).toBeLessThan(2 * MIB);
  });

  test('content is read once', async () => {
    const reader = countingReader(await build(temporaryFolder()));
    const image = await opened(reader);
    const patch = await image.patch();
    const before = reader.byteCount;
    await buffer(Readable.from(patch.stream()));
    expect(reader.byteCount - before).toBeLessThan(UPLOAD.length * 1.01 + 8192);
  });

  test('opening reads the ends of the file only', async () => {
    const reader = countingReader(await build(temporaryFolder(), { size: 4 * GIB }));
    await opened(reader);
    expect(reader.byteCount).toBeLessThan(64 * 1024);
  });
});

test('a file that is no image: every call says so, and closes', async () => {
  const path = join(temporaryFolder(), 'text');
  writeFileSync(path, 'no image at all\n'.repeat(10_000));
  const image = await opened(path);
  await expect(image.filesystem()).rejects.toMatchObject({ kind: 'image' });
  await expect(image.patch()).rejects.toMatchObject({ kind: 'image' });
  await image.close();
  await image.close();
});

test.for([null, undefined, 5, true])('%s is no place of an image', async (place) => {
  await expect(openImage(place as unknown as string)).rejects.toMatchObject({ kind: 'usage' });
});
