import {
  closeSync,
  createReadStream,
  createWriteStream,
  mkdtempSync,
  openSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  checkContentLength,
  checkImageOptions,
  checkVerify,
  toolEnvironment,
  type ImageOptions,
  type SinkOption,
  type SourceOption,
  type VerifyOption,
} from '../../src/build/options.js';
import { openSink, openSource } from '../../src/build/places.js';
import { FileSink } from '../../src/io/file-sink.js';
import { FileSource } from '../../src/io/file-source.js';
import { IterableSource } from '../../src/io/iterable-source.js';
import { DescriptorSink, WritableSink } from '../../src/io/stream-sink.js';
import { DEFAULT_SEARCH_PATH } from '../../src/tools/find.js';
import { MIB } from '../../src/units.js';

const never = new AbortController().signal;

const refusal = (properties: Record<string, unknown>): Error =>
  expect.objectContaining(properties) as unknown as Error;

describe('how the upload is verified', () => {
  const sha256 = 'ab'.repeat(32);
  const signature = { keyrings: ['/keys.gpg'] };

  test.each<[string, VerifyOption]>([
    ['by a signature', { signature }],
    ['by a SHA-256', { sha256 }],
    ['by both', { signature, sha256 }],
    ['not at all, and that is said', { unsigned: true }],
  ])('%s', (_name, verify) => {
    expect(() => checkVerify(verify)).not.toThrow();
  });

  test.each<[string, VerifyOption, string]>([
    ['nothing is said', {}, 'signature'],
    ['no is said to "unsigned"', { unsigned: false }, 'signature'],
    ['both are said', { unsigned: true, sha256 }, 'usage'],
    ['both are said', { unsigned: true, signature }, 'usage'],
    ['the SHA-256 is too short', { sha256: 'ab'.repeat(31) }, 'usage'],
    ['the SHA-256 is none', { sha256: 'xy'.repeat(32) }, 'usage'],
    ['the SHA-256 has a line end', { sha256: `${sha256}\n` }, 'usage'],
  ])('is refused when %s', (_name, verify, kind) => {
    expect(() => checkVerify(verify)).toThrow(refusal({ kind, leftBehind: 'nothing was touched' }));
  });
});

describe('the other options', () => {
  test.each([undefined, 0, 1, Number.MAX_SAFE_INTEGER])('a content length of %s', (length) => {
    expect(checkContentLength(length)).toBe(length);
  });

  test.each([-1, 1.5, Number.NaN, 2 ** 53, Number.POSITIVE_INFINITY])('no content length of %s', (length) => {
    expect(() => checkContentLength(length)).toThrow(refusal({ kind: 'usage' }));
  });

  test('a size is rounded up to 2 MiB', () => {
    expect(checkImageOptions({ format: 'raw', size: 16 * MIB + 1 })).toEqual({ requestedSize: 18 * MIB });
    expect(checkImageOptions({ format: 'vhd' })).toEqual({ requestedSize: undefined });
  });

  test('a format that is none is refused with the names of those there are', () => {
    const options = { format: 'qcow2' } as unknown as ImageOptions;
    expect(() => checkImageOptions(options)).toThrow(
      refusal({ kind: 'usage', context: { found: '"qcow2"', expected: 'raw, vhd, vhd-fixed' } }),
    );
  });

  test('programs are searched for, and temporary files put, where they usually are', () => {
    expect(toolEnvironment(undefined)).toEqual({
      searchPath: DEFAULT_SEARCH_PATH,
      temporaryFolder: tmpdir(),
    });
    expect(toolEnvironment({ searchPath: ['/a'] }).searchPath).toEqual(['/a']);
  });
});

describe('sources and sinks', () => {
  let folder = '';
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'patch-vdi-test-'));
    writeFileSync(join(folder, 'upload'), 'upload');
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  test('a source may be a path, a descriptor, a stream', async () => {
    const path = join(folder, 'upload');
    const fd = openSync(path, 'r');
    const stream = createReadStream(path);
    await once(stream, 'open');
    const cases: Array<readonly [SourceOption, unknown, number | undefined]> = [
      [path, FileSource, 6],
      [{ fd }, FileSource, 6],
      [{ fd, name: 'standard input' }, FileSource, 6],
      // A read stream has an fd, too.
      [stream, IterableSource, undefined],
      [new PassThrough(), IterableSource, undefined],
    ];
    for (const [option, type, contentLength] of cases) {
      const source = await openSource(option, { unzip: false }, never);
      expect(source).toBeInstanceOf(type);
      expect(source.contentLength).toBe(contentLength);
      source.close();
    }
    const named = await openSource({ fd, name: 'standard input' }, {}, never);
    expect(named.name).toBe('standard input');
    stream.destroy();
    closeSync(fd);
  });

  test('what is none of these is refused as a source', async () => {
    const odd = { on: () => undefined } as unknown as SourceOption;
    await expect(openSource(odd, {}, never)).rejects.toThrow(refusal({ kind: 'usage' }));
  });

  test('a sink may be a path, a descriptor, a stream', async () => {
    const path = join(folder, 'image');
    const fd = openSync(join(folder, 'out'), 'w');
    const cases: Array<readonly [SinkOption, unknown]> = [
      [path, FileSink],
      [{ path }, FileSink],
      [{ path: join(folder, 'upload'), force: true }, FileSink],
      [{ fd }, DescriptorSink],
      // A write stream has a path and an fd, too.
      [createWriteStream('', { fd, autoClose: false }), WritableSink],
      [new PassThrough(), WritableSink],
    ];
    const needs = {
      format: 'raw',
      imageBytes: 0,
      environment: toolEnvironment(undefined),
    } as const;
    for (const [option, type] of cases) {
      const sink = await openSink(option, {}, needs, new AbortController());
      expect(sink).toBeInstanceOf(type);
      await sink.discard();
    }
    closeSync(fd);
    const taken = openSink({ path: join(folder, 'upload') }, {}, needs, new AbortController());
    await expect(taken).rejects.toThrow(refusal({ kind: 'usage' }));
  });
});
