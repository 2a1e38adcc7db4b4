import { tmpdir } from 'node:os';
import { expect, test } from 'vitest';
import { imageIdentity } from '../../src/build/identity.js';
import { Ext4Maker } from '../../src/build/ext4-maker.js';
import { DEFAULT_SEARCH_PATH } from '../../src/tools/find.js';

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
const epochSeconds = 1_700_000_000;
const call = {
  environment: { searchPath: DEFAULT_SEARCH_PATH, temporaryFolder: tmpdir() },
  epochSeconds,
  abortSignal: undefined,
};
const identity = imageIdentity({ sourceDateEpoch: epochSeconds }, ['test']);

/** The facts of a template; with `announced`, the start is asked for first, as for an upload without a length. */
async function factsOf(virtualSize: number, payloadLength: number, announced: boolean) {
  const maker = await Ext4Maker.open(virtualSize, call);
  try {
    const announcement = announced ? await maker.announce() : undefined;
    const { facts, checked } = await maker.make(payloadLength, identity);
    await checked;
    return { facts, announced: announcement?.ranges(payloadLength)[0]?.offset };
  } finally {
    await maker.dispose();
  }
}

// 7552, 15616 and 64512 MiB are sizes at which files of more than four extents would start one unit later.
const SIZES = [16 * MIB, 300 * MIB, 4 * GIB, 7552 * MIB, 15_616 * MIB, 64_512 * MIB];

test.each(SIZES)('with and without a probe, an image of %i bytes comes out the same', async (virtualSize) => {
  for (const payloadLength of [1, 5 * MIB, Math.floor(virtualSize / 2)]) {
    const withProbe = await factsOf(virtualSize, payloadLength, true);
    const withoutProbe = await factsOf(virtualSize, payloadLength, false);
    expect(withoutProbe.facts).toEqual(withProbe.facts);
    expect(withProbe.facts.extents[0]?.fsBlock).toBe((withProbe.announced ?? 0) / 4096);
  }
});
