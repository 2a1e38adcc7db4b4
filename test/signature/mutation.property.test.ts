import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { isPatchVdiError } from '../../src/errors.js';
import { drive } from './drive.js';
import { OpenPgpBench, splice, type BenchKey } from './openpgp-bench.js';

/**
 * The promise as a whole: whatever happens to one byte, an upload is refused, or else gpgv puts out exactly what was
 * signed.
 */
let bench: OpenPgpBench;
let alice: BenchKey;
let keyring: string;
const CONTENT = Buffer.from('echo some content\r\n');

beforeAll(() => {
  bench = new OpenPgpBench();
  alice = bench.key('Alice <alice@example.org>');
  keyring = bench.keyring();
});

afterAll(() => bench.close());

interface Mutation {
  readonly at: number;
  readonly removed: number;
  readonly inserted: Uint8Array;
}

const mutations = (length: number) =>
  fc.record({
    at: fc.nat({ max: length }),
    removed: fc.nat({ max: 2 }),
    inserted: fc.uint8Array({ maxLength: 2 }),
  });

async function accepted(upload: Uint8Array, chunks: number): Promise<boolean> {
  try {
    await drive(upload, { keyrings: [keyring] }, { temporaryFolder: bench.temporaryFolder, chunks });
    return true;
  } catch (error) {
    if (isPatchVdiError(error) && error.kind === 'signature') return false;
    throw error;
  }
}

it.each([
  ['uncompressed', 'none', 300],
  ['zip', 'zip', 150],
  ['zlib', 'zlib', 150],
])(
  '%s: a mutation is refused, or harmless',
  async (_, algorithm, numRuns) => {
    const good = bench.sign(CONTENT, [alice], '--compress-algo', algorithm);
    expect(await accepted(good, 64)).toBe(true);
    const property = async ({ at, removed, inserted }: Mutation, chunks: number) => {
      const upload = splice(good, at, inserted, removed);
      if (!(await accepted(upload, chunks))) return;
      const { clearText, exitCode, status } = bench.gpgv(upload, keyring);
      expect(exitCode).toBe(0);
      expect(status).toContain('VALIDSIG');
      expect(clearText).toEqual(CONTENT);
    };
    await fc.assert(fc.asyncProperty(mutations(good.length), fc.integer({ min: 1, max: 300 }), property), {
      numRuns,
    });
  },
  120_000,
);
