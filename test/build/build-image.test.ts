/* The main job as a library: any source, any sink, the same bytes; and whatever stops it, nothing stays. */
import { createHash } from 'node:crypto';
import { closeSync, mkdirSync, openSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { buildPatchImage, planPatchImage, type BuildOptions } from '../../src/index.js';
import { GIB, MIB } from '../../src/units.js';
import { clean } from '../oracles/e2fsck.js';
import { dumpFile, statFile } from '../oracles/debugfs.js';
import { superblockFields } from '../oracles/dumpe2fs.js';
import { convertToRaw } from '../oracles/qemu-img.js';
import { requireRoot, requireTool } from '../oracles/require-tool.js';
import { runJudge } from '../oracles/run-judge.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { payloadBytes } from '../plan/materialise.js';

beforeEach((context) => requireTool(context, 'mke2fs', 'debugfs', 'e2fsck'));

const upload = payloadBytes(0, 5 * MIB + 3);
const EPOCH = 1_000_000_000;

interface Bench {
  readonly folder: string;
  /** Where outputs go; nothing else is there. */
  readonly out: string;
  /** Where temporary files go. */
  readonly temporary: string;
  readonly uploadPath: string;
}

function setUp(): Bench {
  const folder = temporaryFolder();
  const bench = {
    folder,
    out: join(folder, 'out'),
    temporary: join(folder, 'tmp'),
    uploadPath: join(folder, 'upload'),
  };
  for (const path of [bench.out, bench.temporary]) mkdirSync(path);
  writeFileSync(bench.uploadPath, upload);
  return bench;
}

function optionsFor(bench: Bench, more: Partial<BuildOptions> = {}): BuildOptions {
  return {
    source: bench.uploadPath,
    sink: join(bench.out, 'image'),
    format: 'vhd',
    verify: { unsigned: true },
    sourceDateEpoch: EPOCH,
    environment: { temporaryFolder: bench.temporary },
    ...more,
  };
}

/** Builds into a file and gives its bytes. */
async function build(bench: Bench, more: Partial<BuildOptions> = {}): Promise<Buffer> {
  const path = join(bench.out, `image-${readdirSync(bench.out).length}`);
  await buildPatchImage(optionsFor(bench, { sink: path, ...more }));
  return readFileSync(path);
}

function expectNothingLeft(bench: Bench): void {
  expect(readdirSync(bench.out)).toEqual([]);
  expect(readdirSync(bench.temporary)).toEqual([]);
}

async function* inPieces(bytes: Buffer, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) {
    await Promise.resolve();
    yield bytes.subarray(at, at + size);
  }
}

describe.each(['raw', 'vhd', 'vhd-fixed'] as const)('with an epoch, %s', (format) => {
  test('comes out the same twice, and other with another epoch', async () => {
    const bench = setUp();
    const first = await build(bench, { format });
    const second = await build(bench, { format });
    const later = await build(bench, { format, sourceDateEpoch: EPOCH + 1 });
    expect(second.equals(first)).toBe(true);
    expect(later.equals(first)).toBe(false);
    expect(later).toHaveLength(first.length);
  });
});

describe('every source gives the same image', () => {
  test.each<[string, (bench: Bench) => Partial<BuildOptions>]>([
    ['a Readable', () => ({ source: Readable.from(inPieces(upload, 65_536)), contentLength: upload.length })],
    ['a generator', () => ({ source: inPieces(upload, 99_991), contentLength: upload.length })],
    ['one large chunk', () => ({ source: Readable.from([upload]), contentLength: upload.length })],
    [
      'a web stream',
      () => ({
        source: ReadableStream.from(inPieces(upload, 1_000_003)) as AsyncIterable<Uint8Array>,
        contentLength: upload.length,
      }),
    ],
    [
      'an open descriptor, which stays open',
      ({ uploadPath }) => {
        const fd = openSync(uploadPath, 'r');
        onTestFinished(() => closeSync(fd));
        return { source: { fd } };
      },
    ],
  ])('%s', async (_name, more) => {
    const bench = setUp();
    const fromPath = await build(bench);
    expect((await build(bench, more(bench))).equals(fromPath)).toBe(true);
    expect(readdirSync(bench.temporary)).toEqual([]);
  });
});

function collector(): { stream: Writable; bytes: () => Buffer } {
  const parts: Buffer[] = [];
  const stream = new Writable({
    write(chunk: Buffer, _encoding, callback) {
      parts.push(Buffer.from(chunk));
      setImmediate(callback);
    },
  });
  return { stream, bytes: () => Buffer.concat(parts) };
}

describe('every sink gets the same image', () => {
  test.each(['raw', 'vhd', 'vhd-fixed'] as const)(
    '%s through a stream, which is left open',
    async (format) => {
      const bench = setUp();
      const inFile = await build(bench, { format });
      const { stream, bytes } = collector();
      const result = await buildPatchImage(optionsFor(bench, { format, sink: stream }));
      expect(bytes().equals(inFile)).toBe(true);
      expect(stream.writableEnded).toBe(false);
      // Only a dynamic VHD can be sealed at its end.
      expect(result.spooled).toBe(format !== 'vhd');
      expect(readdirSync(bench.temporary)).toEqual([]);
    },
  );

  test('a descriptor of a file', async () => {
    const bench = setUp();
    const inFile = await build(bench);
    const path = join(bench.folder, 'redirected');
    const fd = openSync(path, 'w');
    await buildPatchImage(optionsFor(bench, { sink: { fd } }));
    closeSync(fd);
    expect(readFileSync(path).equals(inFile)).toBe(true);
  });
});

describe('the image', () => {
  test('holds the upload, as e2fsck, debugfs, dumpe2fs and qemu-img see it', async (context) => {
    requireTool(context, 'qemu-img', 'dumpe2fs');
    const bench = setUp();
    const uuid = '01020304-0506-4708-890a-0b0c0d0e0f10';
    const more = { uuid, label: 'größe', digest: true, size: 64 * MIB };
    const paths = { raw: join(bench.out, 'a.raw'), vhd: join(bench.out, 'a.vhd') };
    const raw = await buildPatchImage(optionsFor(bench, { ...more, format: 'raw', sink: paths.raw }));
    await buildPatchImage(optionsFor(bench, { ...more, sink: paths.vhd }));

    clean(paths.raw);
    dumpFile(paths.raw, '/patch', join(bench.folder, 'dumped'));
    expect(readFileSync(join(bench.folder, 'dumped')).equals(upload)).toBe(true);
    expect(statFile(paths.raw, '/patch')).toMatchObject({ type: 'regular', mode: '0755', user: 0, group: 0 });
    const fields = superblockFields(paths.raw);
    expect(fields.get('Filesystem UUID')).toBe(uuid);
    expect(fields.get('Filesystem volume name')).toBe('größe');
    expect(raw).toMatchObject({
      output: paths.raw,
      format: 'raw',
      filesystem: 'ext4',
      virtualSize: 64 * MIB,
      outputLength: 64 * MIB,
      payloadLength: upload.length,
      scratchBytes: Number(fields.get('Free blocks')) * 4096,
      filesystemUuid: uuid,
      label: 'größe',
      vhdUuid: undefined,
      verifiedBy: 'nothing',
      signatures: [],
      sha256: createHash('sha256').update(upload).digest('hex'),
      spooled: false,
      warnings: [],
    });

    convertToRaw(paths.vhd, join(bench.folder, 'converted'));
    clean(join(bench.folder, 'converted'));
    dumpFile(join(bench.folder, 'converted'), '/patch', join(bench.folder, 'dumped'));
    expect(readFileSync(join(bench.folder, 'dumped')).equals(upload)).toBe(true);
  });

  test('of an upload without a length has 4 GiB, and the upload is not kept anywhere else', async () => {
    const bench = setUp();
    const path = join(bench.out, 'a.raw');
    const source = inPieces(upload, 65_536);
    const result = await buildPatchImage(optionsFor(bench, { format: 'raw', sink: path, source }));
    expect(result).toMatchObject({ virtualSize: 4 * GIB, payloadLength: upload.length, spooled: false });
    clean(path);
    dumpFile(path, '/patch', join(bench.folder, 'dumped'));
    expect(readFileSync(join(bench.folder, 'dumped')).equals(upload)).toBe(true);
  });

  test('has the length that its plan tells', async () => {
    const bench = setUp();
    const plan = await planPatchImage({
      contentLength: upload.length,
      format: 'vhd',
      sourceDateEpoch: EPOCH,
    });
    expect(await build(bench)).toHaveLength(plan.totalLength);
  });

  test('replaces another one only with force', async () => {
    const bench = setUp();
    const path = join(bench.out, 'image');
    writeFileSync(path, 'precious');
    await expect(buildPatchImage(optionsFor(bench, { sink: path }))).rejects.toMatchObject({ kind: 'usage' });
    expect(readFileSync(path, 'utf8')).toBe('precious');
    await buildPatchImage(optionsFor(bench, { sink: { path, force: true } }));
    expect(readFileSync(path).subarray(0, 8).toString()).toBe('conectix');
  });
});

test('progress is told chunk by chunk, up to the whole', async () => {
  const bench = setUp();
  const told: Array<readonly [string, number, number | undefined]> = [];
  const { stream } = collector();
  await buildPatchImage(
    optionsFor(bench, {
      format: 'raw',
      sink: stream,
      onProgress: ({ phase, bytes, totalBytes }) => told.push([phase, bytes, totalBytes]),
    }),
  );
  expect(told.every(([, , total]) => total === upload.length)).toBe(true);
  for (const phase of ['spool', 'write']) {
    const counts = told.flatMap(([of, bytes]) => (of === phase ? [bytes] : []));
    expect(counts).toEqual([...counts].sort((a, b) => a - b));
    expect(counts.at(-1)).toBe(upload.length);
  }
});

describe('whatever stops a build, nothing stays', () => {
  const silent = (): AsyncIterable<Uint8Array> => ({
    [Symbol.asyncIterator]: () => ({ next: () => new Promise<never>(() => undefined) }),
  });
  const contentLength = upload.length;

  test('an abort before the start', async () => {
    const bench = setUp();
    const signal = AbortSignal.abort(new Error('no more'));
    await expect(buildPatchImage(optionsFor(bench, { signal }))).rejects.toMatchObject({
      kind: 'interrupted',
    });
    expectNothingLeft(bench);
  });

  test.each(['raw', 'vhd'] as const)('an abort in the middle of a %s', async (format) => {
    const bench = setUp();
    const stop = new AbortController();
    const building = buildPatchImage(
      optionsFor(bench, {
        format,
        source: inPieces(upload, 65_536),
        contentLength,
        signal: stop.signal,
        onProgress: ({ bytes }) => {
          if (bytes > MIB) stop.abort();
        },
      }),
    );
    await expect(building).rejects.toMatchObject({ kind: 'interrupted', message: 'the build was stopped' });
    expectNothingLeft(bench);
  });

  test.each([
    ['with a length', contentLength],
    ['without one', undefined],
  ])('an abort while a source %s is silent', async (_name, length) => {
    const bench = setUp();
    const stop = new AbortController();
    const options = { source: silent(), contentLength: length, signal: stop.signal };
    const building = buildPatchImage(optionsFor(bench, options));
    setTimeout(() => stop.abort(), 50);
    await expect(building).rejects.toMatchObject({ kind: 'interrupted' });
    expectNothingLeft(bench);
  });

  test.each(['raw', 'vhd'] as const)('an abort while the reader of a %s has stalled', async (format) => {
    const bench = setUp();
    const stop = new AbortController();
    const stalled = new Writable({ write: () => setTimeout(() => stop.abort(), 20) });
    const building = buildPatchImage(optionsFor(bench, { format, sink: stalled, signal: stop.signal }));
    await expect(building).rejects.toMatchObject({ kind: 'interrupted' });
    expectNothingLeft(bench);
  });

  test.each<[string, (bench: Bench) => Partial<BuildOptions>]>([
    ['a path', () => ({})],
    ['an iterable', () => ({ source: inPieces(upload, 65_536), contentLength })],
    ['an iterable without a length', () => ({ source: inPieces(upload, 65_536) })],
    ['an iterable, to a stream', () => ({ source: inPieces(upload, 65_536), sink: collector().stream })],
  ])('what onProgress throws, from %s, is what the build throws', async (_name, more) => {
    const bench = setUp();
    const fault = new Error('the progress bar is broken');
    const onProgress = (): void => {
      throw fault;
    };
    await expect(buildPatchImage(optionsFor(bench, { ...more(bench), onProgress }))).rejects.toBe(fault);
    expectNothingLeft(bench);
  });

  test.each<[string, Partial<BuildOptions>, Record<string, unknown>]>([
    [
      'too short an upload',
      { contentLength: contentLength + 1 },
      { kind: 'upload', message: 'the upload ended too early' },
    ],
    [
      'too long an upload',
      { contentLength: contentLength - 1 },
      { kind: 'upload', message: 'the upload is longer than announced' },
    ],
    ['another SHA-256', { contentLength, verify: { sha256: '0'.repeat(64) } }, { kind: 'signature' }],
    [
      'too small an image',
      { contentLength: 13 * MIB, size: 16 * MIB },
      { kind: 'space', message: 'the upload does not fit into the image' },
    ],
    [
      'too small an image for an upload without a length',
      { size: 16 * MIB, source: inPieces(Buffer.alloc(13 * MIB, 1), MIB) },
      { kind: 'space', message: 'the upload has outgrown the image' },
    ],
    ['no word about verification', { verify: {} }, { kind: 'signature' }],
    ['a label that is too long', { label: 'x'.repeat(17) }, { kind: 'usage' }],
  ])('%s', async (_name, more, properties) => {
    const bench = setUp();
    const options = optionsFor(bench, { source: inPieces(upload, 65_536), ...more });
    await expect(buildPatchImage(options)).rejects.toMatchObject(properties);
    expectNothingLeft(bench);
  });

  test('an empty upload', async () => {
    const bench = setUp();
    for (const length of [undefined, 0]) {
      const options = optionsFor(bench, { source: inPieces(Buffer.alloc(0), 1), contentLength: length });
      await expect(buildPatchImage(options)).rejects.toMatchObject({
        kind: 'upload',
        message: 'the upload is empty',
      });
      expectNothingLeft(bench);
    }
  });

  test('an upload that breaks off', async () => {
    const bench = setUp();
    const cause = new Error('connection reset');
    async function* breaking(): AsyncGenerator<Uint8Array> {
      yield upload.subarray(0, MIB);
      await Promise.resolve();
      throw cause;
    }
    const building = buildPatchImage(optionsFor(bench, { source: breaking(), contentLength }));
    await expect(building).rejects.toMatchObject({ kind: 'upload', message: 'the upload broke off', cause });
    expectNothingLeft(bench);
  });
});

describe('what could not be removed is told', () => {
  /** Puts a mount into the folder of the template, which can then not be removed. */
  function hold({ temporary }: Bench): void {
    const [template = ''] = readdirSync(temporary);
    const held = join(temporary, template, 'held');
    mkdirSync(held);
    expect(runJudge('mount', ['-t', 'tmpfs', 'tmpfs', held]).exitCode).toBe(0);
    onTestFinished(() => void runJudge('umount', [held]));
  }

  test('with the error, when there is one', async (context) => {
    requireTool(context, 'mount', 'umount');
    requireRoot(context);
    const bench = setUp();
    const options = optionsFor(bench, {
      source: inPieces(upload, 65_536),
      contentLength: upload.length - 1,
      onProgress: ({ bytes }) => {
        if (bytes === 65_536) hold(bench);
      },
    });
    await expect(buildPatchImage(options)).rejects.toMatchObject({
      kind: 'upload',
      leftBehind: expect.stringMatching(
        /^nothing under the final name, nothing mountable; but not all could be removed: .*EBUSY/,
      ) as unknown,
    });
    expect(readdirSync(bench.out)).toEqual([]);
  });

  test('as a warning, when the image is good', async (context) => {
    requireTool(context, 'mount', 'umount');
    requireRoot(context);
    const bench = setUp();
    let isHeld = false;
    const onProgress = (): void => {
      if (!isHeld) hold(bench);
      isHeld = true;
    };
    const { warnings } = await buildPatchImage(optionsFor(bench, { onProgress }));
    expect(warnings).toEqual([expect.stringContaining('EBUSY')]);
    expect(readdirSync(bench.out)).toEqual(['image']);
  });
});
