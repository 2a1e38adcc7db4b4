/* The fuzzer can fail: each of its oracles is shown a defect of the kind that it is there for. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { PatchVdiError } from '../../src/errors.js';
import { MIB } from '../../src/units.js';
import { fixtureBytes } from '../ext/fixture-images.js';
import { requireTool } from '../oracles/require-tool.js';
import { watchAllocations, type AllocationWatch } from './allocations.js';
import { makeBase, type Base } from './base.js';
import { errorFaults, lookAt } from './look.js';
import { mutate, type Mutation } from './mutate.js';
import { Random } from './random.js';
import { Contents, judgeCase, runCase, type CaseTools } from './run-case.js';
import type { SparseBytes } from './sparse-bytes.js';
import { WATCHDOG_PROGRAM } from './watchdog.js';
import { MAX_READ_BYTES, WatchedReader } from './watched-reader.js';

/** Without checksums, so that a pointer may change and nobody complains. */
const FIXTURE = 'ext2-2k';
const WISHES = { compare: false, sample: false };

let folder: string;
let base: Base;
let allocations: AllocationWatch;
let tools: CaseTools;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'pv-fuzz-'));
  base = await makeBase({ name: FIXTURE, format: 'raw', bytes: fixtureBytes(FIXTURE) });
  allocations = watchAllocations();
  tools = { bases: [base], contents: new Contents(), allocations, folder };
});
afterAll(() => {
  allocations.stop();
  rmSync(folder, { recursive: true, force: true });
});
beforeEach((context) => requireTool(context, 'debugfs'));

/** The image with one byte in the middle of the file's data changed, which no checksum covers. */
async function withOtherByte(): Promise<SparseBytes> {
  const image = base.image.overlay();
  const reader = new WatchedReader(image, { calls: 1e6, bytes: 1e9 });
  const { content } = await lookAt(reader, {
    format: undefined,
    offsetBytes: 0,
    compare: false,
    parent: undefined,
  });
  const start = content?.findIndex((byte) => byte !== 0) ?? -1;
  const sample = Buffer.from(content?.subarray(start, start + 64) ?? []);
  const at = Buffer.from(image.read(0, image.sizeBytes)).indexOf(sample);
  if (start < 0 || at <= 0) throw new Error(`${FIXTURE} has no data`);
  image.write(at + 7, Uint8Array.of(((sample[7] ?? 0) + 1) % 256));
  return image;
}

const mutationOf = (image: SparseBytes): Mutation => ({
  image,
  words: [],
  touched: [],
  fixed: false,
  truncated: false,
});

describe('other bytes than those of the good image', () => {
  test('that debugfs reads, too, are nobody’s fault', async () => {
    const result = await judgeCase('good reader', base, mutationOf(await withOtherByte()), WISHES, tools);
    expect(result).toMatchObject({ judged: 'agrees', faults: [] });
  });

  test('that nobody else reads are a fault', async () => {
    // The defect: what is judged is the good image, so the reader has made the byte up.
    const judged = { writeTo: (path: string) => base.image.writeTo(path) };
    const image = Object.assign(await withOtherByte(), judged);
    const result = await judgeCase('bad reader', base, mutationOf(image), WISHES, tools);
    expect(result).toMatchObject({
      judged: 'disagrees',
      faults: [expect.stringContaining('other bytes than debugfs')],
    });
  });
});

describe('what costs too much is a fault:', () => {
  const lookWithin = async (calls: number, bytes: number): Promise<string[]> => {
    const reader = new WatchedReader(base.image, { calls, bytes });
    await lookAt(reader, { format: undefined, offsetBytes: 0, compare: false, parent: undefined });
    return reader.faults;
  };

  test('too many reads', async () => expect(await lookWithin(10, 1e9)).toEqual(['more than 10 reads']));
  test('too many bytes', async () => expect(await lookWithin(1e6, 4000)).toEqual(['more than 4000 bytes']));
  test('and enough is enough', async () => expect(await lookWithin(1e6, 1e9)).toEqual([]));

  test('one large read', async () => {
    const reader = new WatchedReader(base.image, { calls: 10, bytes: 1e9 });
    await expect(reader.readInto(new Uint8Array(MAX_READ_BYTES + 1), 0)).rejects.toThrow();
    expect(reader.faults).toEqual([`one read of ${MAX_READ_BYTES + 1} bytes`]);
  });

  test('one large buffer', () => {
    allocations.largest();
    expect(new Uint32Array(20 * MIB).length + Buffer.alloc(3).length).toBe(20 * MIB + 3);
    expect(allocations.largest()).toBe(80 * MIB);
    expect(allocations.largest()).toBe(0);
  });
});

describe('an error is a fault', () => {
  const image = (context: ConstructorParameters<typeof PatchVdiError>[2]): PatchVdiError =>
    new PatchVdiError('image', 'bad', context);

  test.for([
    ['of JavaScript', new TypeError('x is undefined'), 'not an error of ours'],
    ['of another kind', new PatchVdiError('usage', 'bad'), 'of kind usage'],
    ['without what was found', image({ context: { expected: 'b' } }), 'found is missing'],
    ['without what was expected', image({ context: { found: 'a' } }), 'expected is missing'],
    ['with control characters', image({ context: { found: '\u001b[31m', expected: 'b' } }), 'not printable'],
    ['at no place', image({ context: { found: 'a', expected: 'b', offset: -1 } }), 'offset -1'],
    ['that is a novel', image({ context: { found: 'a'.repeat(1000), expected: 'b' } }), '1000 characters'],
  ] as const)('%s', ([, error, words]) => {
    expect(errorFaults('step', error)).toEqual([expect.stringContaining(words)]);
  });

  test('and a good one is none', () => {
    expect(errorFaults('step', image({ context: { found: 'a', expected: 'b', offset: 7 } }))).toEqual([]);
  });
});

test('a case that hangs is ended, and named', () => {
  const program = `
    const { Worker } = require('node:worker_threads');
    const words = new Int32Array(new SharedArrayBuffer(4));
    const title = new Uint8Array(new SharedArrayBuffer(64));
    title.set(Buffer.from('case 7:8'));
    const worker = new Worker(${JSON.stringify(WATCHDOG_PROGRAM)}, { eval: true, workerData: { words, title, limitMilliseconds: 500 } });
    worker.once('online', () => { for (;;); });`;
  const { signal, stderr } = spawnSync(process.execPath, ['-e', program], {
    encoding: 'utf8',
    timeout: 30_000,
  });
  expect(signal).toBe('SIGKILL');
  expect(stderr).toContain('case 7:8 takes more than 500 ms');
});

test('a seed and a number mean the same case again', async () => {
  const pages = (image: SparseBytes): Buffer => Buffer.from(image.read(0, image.sizeBytes));
  for (let number = 0; number < 20; number += 1) {
    const [one, other] = [1, 2].map(() => mutate(Random.ofCase(5, number), base));
    expect(one?.words).toEqual(other?.words);
    expect(one && other && pages(one.image).equals(pages(other.image))).toBe(true);
  }
  const { title, words } = await runCase(5, 3, tools);
  expect(await runCase(5, 3, tools)).toMatchObject({ title, words });
  expect((await runCase(5, 4, tools)).words).not.toEqual(words);
});
