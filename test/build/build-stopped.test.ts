/* Whatever stops the main job as a library, nothing stays, or it is told. */
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { buildPatchImage, type BuildOptions } from '../../src/index.js';
import { MIB } from '../../src/units.js';
import { requireRoot, requireTool } from '../oracles/require-tool.js';
import { runJudge } from '../oracles/run-judge.js';
import { upload, setUp, optionsFor, expectNothingLeft, inPieces, collector, type Bench } from './bench.js';

beforeEach((context) => requireTool(context, 'mke2fs', 'debugfs', 'e2fsck'));

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
