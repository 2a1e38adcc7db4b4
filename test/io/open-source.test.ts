import { closeSync, mkdirSync, openSync, readSync, readdirSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { UploadSource } from '../../src/io/chunk.js';
import { openDescriptorSource, openPathSource } from '../../src/io/open-source.js';
import { requireTool } from '../oracles/require-tool.js';
import { runJudge } from '../oracles/run-judge.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { payloadBytes } from '../plan/materialise.js';

const upload = payloadBytes(0, 100_000);

function uploadFile(): string {
  const path = join(temporaryFolder(), 'upload');
  writeFileSync(path, upload);
  return path;
}

function openedFile(path: string): number {
  const fd = openSync(path, 'r');
  onTestFinished(() => closeSync(fd));
  return fd;
}

async function collect(source: UploadSource): Promise<Buffer> {
  const parts: Buffer[] = [];
  await source.pump(({ bytes, release }) => {
    parts.push(Buffer.from(bytes));
    release();
  }, new AbortController().signal);
  source.close();
  return Buffer.concat(parts);
}

describe('a file', () => {
  test('by its path has its length and its bytes', async () => {
    const path = uploadFile();
    const source = await openPathSource(path, {});
    expect(source).toMatchObject({ name: path, contentLength: upload.length });
    expect((await collect(source)).equals(upload)).toBe(true);
  });

  test('may be announced with its own length, and with no other', async () => {
    const path = uploadFile();
    const source = await openPathSource(path, { announced: upload.length });
    expect(source.contentLength).toBe(upload.length);
    source.close();
    await expect(openPathSource(path, { announced: upload.length + 1 })).rejects.toThrow(
      expect.objectContaining({
        kind: 'usage',
        message: 'the upload does not have the announced length',
        context: { path, found: '100000 bytes', expected: '100001 bytes (--content-length)' },
      }) as Error,
    );
  });

  test('on a descriptor that was read from already is the rest of it', async (context) => {
    // Other systems do not tell where a descriptor stands.
    if (process.platform !== 'linux') context.skip('only Linux tells where a descriptor stands');
    const fd = openedFile(uploadFile());
    readSync(fd, Buffer.alloc(1000), 0, 1000, null);
    const source = await openDescriptorSource('standard input', fd, {});
    expect(source.contentLength).toBe(upload.length - 1000);
    expect((await collect(source)).equals(upload.subarray(1000))).toBe(true);
    expect(readSync(fd, Buffer.alloc(1), 0, 1, null)).toBe(0);
  });
});

describe('a named pipe', () => {
  function makePipe(): string {
    const path = join(temporaryFolder(), 'pipe');
    expect(runJudge('mkfifo', [path]).exitCode).toBe(0);
    return path;
  }

  test('has the length that was announced, or none', async (context) => {
    requireTool(context, 'mkfifo');
    const path = makePipe();
    for (const announced of [undefined, 5]) {
      const source = await openPathSource(path, { announced });
      expect(source.contentLength).toBe(announced);
      source.close();
    }
  });

  test('is opened at once, and waits for a writer that comes later', async (context) => {
    requireTool(context, 'mkfifo');
    const path = makePipe();
    const source = await openPathSource(path, {});
    const collecting = collect(source);
    await new Promise((resolve) => setImmediate(resolve));
    const writer = await open(path, 'w');
    await writer.writeFile(upload);
    await writer.close();
    expect((await collecting).equals(upload)).toBe(true);
  });
});

describe('what cannot be an upload is an error of kind usage', () => {
  test('a file that is not there', async () => {
    await expect(openPathSource('/nowhere/upload', {})).rejects.toThrow(
      expect.objectContaining({
        kind: 'usage',
        message: 'the upload cannot be opened',
        hint: 'check the name of the upload',
      }) as Error,
    );
  });

  test('a folder, by path and by descriptor', async () => {
    const folder = temporaryFolder();
    mkdirSync(join(folder, 'sub'));
    const isFolder = expect.objectContaining({
      kind: 'usage',
      context: expect.objectContaining({ found: 'it is a folder' }) as unknown,
    }) as Error;
    await expect(openPathSource(join(folder, 'sub'), {})).rejects.toThrow(isFolder);
    const fd = openedFile(folder);
    await expect(openDescriptorSource('standard input', fd, {})).rejects.toThrow(isFolder);
  });
});

test('what is refused does not stay open', async (context) => {
  if (process.platform !== 'linux') context.skip('only Linux lists open descriptors');
  const path = uploadFile();
  const openFiles = (): number => readdirSync('/proc/self/fd').length;
  const before = openFiles();
  await expect(openPathSource(path, { announced: 1 })).rejects.toThrow(/announced length/);
  await expect(openPathSource(dirname(path), {})).rejects.toThrow(/cannot be opened/);
  expect(openFiles()).toBe(before);
});

test('a device without a length, such as /dev/null, is read to its end', async () => {
  const source = await openPathSource('/dev/null', {});
  expect(source.contentLength).toBeUndefined();
  expect(await collect(source)).toHaveLength(0);
});
