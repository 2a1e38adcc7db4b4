/* The main job as a library: any source, any sink, the same bytes. */
import { createHash } from 'node:crypto';
import { closeSync, openSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { buildPatchImage, planPatchImage, type BuildOptions } from '../../src/index.js';
import { GIB, MIB } from '../../src/units.js';
import { clean } from '../oracles/e2fsck.js';
import { dumpFile, statFile } from '../oracles/debugfs.js';
import { superblockFields } from '../oracles/dumpe2fs.js';
import { convertToRaw } from '../oracles/qemu-img.js';
import { requireTool } from '../oracles/require-tool.js';
import { upload, EPOCH, setUp, optionsFor, build, inPieces, collector, type Bench } from './bench.js';

beforeEach((context) => requireTool(context, 'mke2fs', 'debugfs', 'e2fsck'));

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
      expect(result.spooled).toBe(false);
      expect(readdirSync(bench.temporary)).toEqual([]);
    },
  );

  test.each(['raw', 'vhd', 'vhd-fixed'] as const)(
    '%s through a stream, of an upload that comes only once',
    async (format) => {
      const bench = setUp();
      const inFile = await build(bench, { format });
      const { stream, bytes } = collector();
      const source = inPieces(upload, 65_536);
      const once = { format, sink: stream, source, contentLength: upload.length };
      const result = await buildPatchImage(optionsFor(bench, once));
      expect(bytes().equals(inFile)).toBe(true);
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
    expect(await build(bench)).toHaveLength(plan.outputLength);
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
  for (const phase of ['verify', 'write']) {
    const counts = told.flatMap(([of, bytes]) => (of === phase ? [bytes] : []));
    expect(counts).toEqual([...counts].sort((a, b) => a - b));
    expect(counts.at(-1)).toBe(upload.length);
  }
});
