import fc from 'fast-check';
import { expect, onTestFinished, test, vi } from 'vitest';
import { dataRuns } from '../../../src/pool/disk-runs.js';
import { decodeRuns, encodeRuns } from '../../../src/server/hosts/disk-stream.js';
import { RemoteDisk } from '../../../src/server/hosts/remote-disk.js';
import { KIB } from '../../../src/units.js';

async function* pieces(bytes: Uint8Array, sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  for (let at = 0, index = 0; at < bytes.length; index += 1) {
    const size = sizes[index % sizes.length] ?? 1;
    yield new Uint8Array(bytes.subarray(at, at + size));
    at += size;
  }
}

async function whole(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of chunks) parts.push(part);
  return Buffer.concat(parts);
}

const readerOf = (disk: Uint8Array) => ({
  readInto: (target: Uint8Array, offset: number): Promise<void> => {
    target.set(disk.subarray(offset, offset + target.length));
    return Promise.resolve();
  },
});

/** Big endian: offset, length, zeros. */
function head(offset: bigint, length: number, reserved = 0): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.writeBigUInt64BE(offset, 0);
  bytes.writeUInt32BE(length, 8);
  bytes.writeUInt32BE(reserved, 12);
  return bytes;
}

async function decoded(bytes: Uint8Array, end: number, sizes: readonly number[] = [7]): Promise<Buffer> {
  const disk = Buffer.alloc(end);
  for await (const run of decodeRuns(pieces(bytes, sizes), { start: 0, end }, 'host')) {
    disk.set(run.bytes, run.offset);
  }
  return disk;
}

test('a stream is what its description says', async () => {
  async function* runs() {
    await Promise.resolve();
    yield { offset: 4096, bytes: Buffer.from('abc') };
    yield { offset: 8192, bytes: Buffer.from('d') };
  }
  const expected = Buffer.concat([
    head(4096n, 3),
    Buffer.from('abc'),
    head(8192n, 1),
    Buffer.from('d'),
    head(16_384n, 0),
  ]);
  expect((await whole(encodeRuns(runs(), { start: 0, end: 16_384 }))).equals(expected)).toBe(true);
});

test('while nothing is found it says that it is alive', async () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  let go: (() => void) | undefined;
  async function* runs() {
    await new Promise<void>((resolve) => (go = resolve));
    yield { offset: 50, bytes: Buffer.from('x') };
  }
  const stream = encodeRuns(runs(), { start: 10, end: 100 });
  const parts: Uint8Array[] = [];
  for (const when of ['alive', 'alive', 'found', 'end']) {
    const next = stream.next();
    if (when === 'found') go?.();
    if (when === 'alive') await vi.advanceTimersByTimeAsync(5000);
    parts.push((await next).value as Uint8Array);
  }
  expect((await stream.next()).done).toBe(true);
  const expected = [head(10n, 0, 1), head(10n, 0, 1), head(50n, 1), Buffer.from('x'), head(100n, 0)];
  expect(Buffer.concat(parts).equals(Buffer.concat(expected))).toBe(true);
  const found: number[] = [];
  for await (const run of decodeRuns(pieces(Buffer.concat(parts), [5]), { start: 10, end: 100 }, 'host')) {
    found.push(run.offset);
  }
  expect(found).toEqual([50]);
});

const diskArbitrary = fc
  .array(fc.tuple(fc.nat(39), fc.uint8Array({ minLength: 1, maxLength: 5000 })), { maxLength: 12 })
  .map((writes) => {
    const disk = Buffer.alloc(40 * 4 * KIB);
    for (const [block, bytes] of writes)
      disk.set(bytes.subarray(0, disk.length - block * 4096), block * 4096);
    return disk;
  });

test('any disk comes through any pieces, and its zeros stay behind', async () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 9000 }), { minLength: 1, maxLength: 5 });
  await fc.assert(
    fc.asyncProperty(diskArbitrary, sizes, async (disk, chunkSizes) => {
      const part = { start: 0, end: disk.length };
      const stream = await whole(encodeRuns(dataRuns(readerOf(disk), disk.length), part));
      expect((await decoded(stream, disk.length, chunkSizes)).equals(disk)).toBe(true);
      const used = disk.filter((byte) => byte !== 0).length;
      if (used === 0) expect(stream).toHaveLength(16);
    }),
    { numRuns: 60 },
  );
});

test.for<readonly [string, Buffer]>([
  ['that is empty', Buffer.alloc(0)],
  ['without an end', Buffer.concat([head(0n, 2), Buffer.from('ab')])],
  ['that is cut off in a run', Buffer.concat([head(0n, 3), Buffer.from('ab')])],
  ['that is cut off in a head', head(0n, 3).subarray(0, 9)],
  ['with an end that is not the end', head(99n, 0)],
  ['with an end behind the end', head(101n, 0)],
  ['that goes back', Buffer.concat([head(5n, 1), Buffer.from('a'), head(5n, 1), Buffer.from('b')])],
  ['that leaves the disk', Buffer.concat([head(99n, 2), Buffer.from('ab'), head(100n, 0)])],
  ['with an offset that is no number here', Buffer.concat([head(2n ** 64n - 1n, 2), Buffer.from('ab')])],
  ['with a run of 4 GiB', head(0n, 0xffff_ffff)],
  ['that goes on behind its end', Buffer.concat([head(100n, 0), Buffer.from('x')])],
  ['with a kind that nobody knows', Buffer.concat([head(0n, 1, 2), Buffer.from('x'), head(100n, 0)])],
  ['that is alive, with bytes', Buffer.concat([head(0n, 1, 1), Buffer.from('x'), head(100n, 0)])],
  ['that is alive elsewhere', Buffer.concat([head(7n, 0, 1), head(100n, 0)])],
  ['that is alive and no more', head(0n, 0, 1)],
])('a stream %s is refused', async ([, bytes]) => {
  for (const size of [1, 1000]) {
    await expect(decoded(bytes, 100, [size])).rejects.toMatchObject({ kind: 'sink' });
  }
});

test('a remote disk reads what is there, wherever it is read', async () => {
  const reads = fc.array(fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.nat(300_000)), {
    minLength: 1,
    maxLength: 20,
  });
  const size = 900_000;
  const disk = Buffer.alloc(size);
  for (let at = 0; at < size; at += 70_000) disk.fill(1 + (at % 251), at, at + 9000);
  await fc.assert(
    fc.asyncProperty(reads, fc.boolean(), async (wanted, inOrder) => {
      let streams = 0;
      const remote = new RemoteDisk('disk', size, ({ start, end }) => {
        streams += 1;
        const part = readerOf(disk.subarray(start, end));
        async function* shifted() {
          for await (const { offset, bytes } of dataRuns(part, end - start)) {
            yield { offset: offset + start, bytes };
          }
        }
        return decodeRuns(encodeRuns(shifted(), { start, end }), { start, end }, 'host');
      });
      let next = 0;
      for (const [place, length] of wanted) {
        const offset = inOrder ? next : Math.floor(place * (size - 1));
        const target = Buffer.alloc(Math.min(length, size - offset), 0xee);
        await remote.readInto(target, offset);
        expect(target.equals(disk.subarray(offset, offset + target.length))).toBe(true);
        next = offset + target.length;
      }
      await remote.close();
      // One to look, one to the end.
      if (inOrder) expect(streams).toBeLessThanOrEqual(2);
    }),
    { numRuns: 60 },
  );
});

test('a remote disk of a stream that lies is an error, not zeros', async () => {
  async function* cutOff() {
    await Promise.resolve();
    yield new Uint8Array(head(0n, 2));
  }
  const remote = new RemoteDisk('disk', 4096, (part) => decodeRuns(cutOff(), part, 'host'));
  await expect(remote.readInto(new Uint8Array(16), 0)).rejects.toMatchObject({ kind: 'sink' });
  await remote.close();
});
