/*
 * Where the payload starts is announced before the template is made (design, decision 1). The real template, read by
 * debugfs, must keep the word, for every size of image and every length of payload.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { imageIdentity } from '../../src/build/identity.js';
import { planPatchImage } from '../../src/build/plan-image.js';
import { Ext4Maker } from '../../src/build/ext4-maker.js';
import { mergeExtents } from '../../src/ext/file-extents.js';
import { DEFAULT_SEARCH_PATH } from '../../src/tools/find.js';
import { GIB, KIB, MIB } from '../../src/units.js';
import { listExtents, statFile } from '../oracles/debugfs.js';
import { requireTool } from '../oracles/require-tool.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';

beforeEach((context) => requireTool(context, 'mke2fs', 'debugfs', 'e2fsck'));

const BLOCK_BYTES = 4 * KIB;
const identity = imageIdentity({ sourceDateEpoch: 1_000_000_000 }, []);

async function openMaker(virtualSize: number) {
  const folder = temporaryFolder();
  const environment = { searchPath: DEFAULT_SEARCH_PATH, temporaryFolder: folder };
  const stop = new AbortController();
  const call = { environment, epochSeconds: identity.timeSeconds, abortSignal: stop.signal };
  const maker = await Ext4Maker.open(virtualSize, call);
  onTestFinished(async () => {
    // e2fsck takes longest, and its opinion is asked elsewhere.
    stop.abort();
    await maker.dispose();
  });
  const templatePath = (): string => join(folder, readdirSync(folder)[0] ?? '', 'template');
  return { maker, templatePath };
}

/** Makes the template and lets debugfs say where `patch` really lies. */
async function compareWithTemplate(
  { maker, templatePath }: Awaited<ReturnType<typeof openMaker>>,
  payloadLength: number,
): Promise<void> {
  const [announced] = (await maker.announce()).ranges(payloadLength);
  await maker.make(payloadLength, identity);
  const { extents } = listExtents(templatePath(), '/patch');
  const inOneRun = mergeExtents(extents).map((extent) => ({
    ...extent,
    start: extent.fsBlock * BLOCK_BYTES,
  }));
  const blockCount = Math.ceil(payloadLength / BLOCK_BYTES);
  expect(inOneRun).toMatchObject([{ fileBlock: 0, start: announced?.offset, blockCount, unwritten: false }]);
  expect(statFile(templatePath(), '/patch')).toMatchObject({ size: payloadLength, mode: '0755' });
}

describe('the payload starts where it was announced', () => {
  const sizes = [
    16 * MIB,
    18 * MIB,
    64 * MIB,
    256 * MIB,
    GIB,
    4 * GIB,
    // Where mke2fs alone would start a long file 2 MiB later than a short one (measured).
    7552 * MIB,
    15_616 * MIB,
    64_512 * MIB,
    2040 * GIB,
  ];

  test.for(sizes)('in an image of %d bytes, be it short or the longest that fits', async (size) => {
    const short = await openMaker(size);
    await compareWithTemplate(short, 1);
    const long = await openMaker(size);
    const { capacity, ranges } = await long.maker.announce();
    await compareWithTemplate(long, capacity);
    expect(ranges(1)[0]?.offset).toBe((await short.maker.announce()).ranges(1)[0]?.offset);
    expect(ranges(1)[0]?.offset).toBeLessThan(size / 8 + 4 * MIB);

    await expect(long.maker.make(capacity + 1, identity)).rejects.toMatchObject({
      kind: 'space',
      message: 'the upload does not fit into the image',
    });
  });

  test('in an image of 4 GiB at block 4608', async () => {
    const { maker } = await openMaker(4 * GIB);
    expect((await maker.announce()).ranges(GIB)[0]).toMatchObject({
      offset: 4608 * BLOCK_BYTES,
      length: GIB,
    });
  });

  test('in an image of 16 MiB there is room for 12 MiB', async () => {
    const { maker } = await openMaker(16 * MIB);
    expect((await maker.announce()).capacity).toBe(12 * MIB);
  });

  test('in images of any size, with payloads of any length', async () => {
    const units = fc.oneof(fc.integer({ min: 8, max: 2048 }), fc.integer({ min: 2048, max: 40_000 }));
    await fc.assert(
      fc.asyncProperty(units, fc.double({ min: 0, max: 1, noNaN: true }), async (unitCount, part) => {
        const bench = await openMaker(unitCount * 2 * MIB);
        const { capacity } = await bench.maker.announce();
        await compareWithTemplate(bench, Math.max(1, Math.floor(capacity * part)));
      }),
      { numRuns: 6 },
    );
  });
});

describe('a dynamic VHD is at most 8 MiB larger than its payload', () => {
  test.for([KIB, 100 * MIB, GIB])('of %d bytes', async (contentLength) => {
    const plan = await planPatchImage({ contentLength, format: 'vhd', sourceDateEpoch: 1 });
    expect(plan.outputLength).toBeGreaterThan(contentLength);
    expect(plan.outputLength - contentLength).toBeLessThanOrEqual(8 * MIB);
  });
});
