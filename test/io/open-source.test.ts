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
    const source = openPathSource(path, undefined);
    expect(source).toMatchObject({ name: path, contentLength: upload.length });
    expect((await collect(source)).equals(upload)).toBe(true);
  });

  test('may be announced with its own length, and with no other', () => {
    const path = uploadFile();
    const source = openPathSource(path, upload.length);
    expect(source.contentLength).toBe(upload.length);
    source.close();
    expect(() => openPathSource(path, upload.length + 1)).toThrow(
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
    const source = openDescriptorSource('standard input', fd, undefined);
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

  test('has the length that was announced, or none', (context) => {
    requireTool(context, 'mkfifo');
    const path = makePipe();
    for (const announced of [undefined, 5]) {
      const source = openPathSource(path, announced);
      expect(source.contentLength).toBe(announced);
      source.close();
    }
  });

  test('is opened at once, and waits for a writer that comes later', async (context) => {
    requireTool(context, 'mkfifo');
    const path = makePipe();
    const source = openPathSource(path, undefined);
    const collecting = collect(source);
    await new Promise((resolve) => setImmediate(resolve));
    const writer = await open(path, 'w');
    await writer.writeFile(upload);
    await writer.close();
    expect((await collecting).equals(upload)).toBe(true);
  });
});

describe('what cannot be an upload is an error of kind usage', () => {
  test('a file that is not there', () => {
    expect(() => openPathSource('/nowhere/upload', undefined)).toThrow(
      expect.objectContaining({
        kind: 'usage',
        message: 'the upload cannot be opened',
        hint: 'check the name of the upload',
      }) as Error,
    );
  });

  test('a folder, by path and by descriptor', () => {
    const folder = temporaryFolder();
    mkdirSync(join(folder, 'sub'));
    const isFolder = expect.objectContaining({
      kind: 'usage',
      context: expect.objectContaining({ found: 'it is a folder' }) as unknown,
    }) as Error;
    expect(() => openPathSource(join(folder, 'sub'), undefined)).toThrow(isFolder);
    const fd = openedFile(folder);
    expect(() => openDescriptorSource('standard input', fd, undefined)).toThrow(isFolder);
  });
});

test('what is refused does not stay open', (context) => {
  if (process.platform !== 'linux') context.skip('only Linux lists open descriptors');
  const path = uploadFile();
  const openFiles = (): number => readdirSync('/proc/self/fd').length;
  const before = openFiles();
  expect(() => openPathSource(path, 1)).toThrow(/announced length/);
  expect(() => openPathSource(dirname(path), undefined)).toThrow(/cannot be opened/);
  expect(openFiles()).toBe(before);
});

test('a device without a length, such as /dev/null, is read to its end', async () => {
  const source = openPathSource('/dev/null', undefined);
  expect(source.contentLength).toBeUndefined();
  expect(await collect(source)).toHaveLength(0);
});
