import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable, type Transform } from 'node:stream';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildPatchImage } from '../../src/index.js';
import { readWithVhdLib } from './vhd-lib.js';

const streamChunker = createRequire(import.meta.url)('stream-chunker') as (
  chunkBytes: number,
  options: { readonly flush: boolean },
) => Transform;

const MIB = 1024 * 1024;
const identity = {
  sourceDateEpoch: 1_700_000_000,
  uuid: '11111111-2222-4333-8444-555555555555',
} as const;

let folder: string;
beforeAll(() => (folder = mkdtempSync(join(tmpdir(), 'pv-interop-'))));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function build(upload: Buffer, name: string, chunkBytes: number): Promise<string> {
  const path = join(folder, name);
  await buildPatchImage({
    ...identity,
    // stream-chunker makes streams of an old kind, which have no async iterator.
    source: new Readable().wrap(Readable.from([upload]).pipe(streamChunker(chunkBytes, { flush: true }))),
    contentLength: upload.length,
    format: name.endsWith('.raw') ? 'raw' : 'vhd',
    sink: path,
    verify: { unsigned: true },
  });
  return path;
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

test.each([
  [1, 7],
  [4097, 512],
  [2 * MIB + 1, 65_537],
  [5 * MIB + 3, 1_000_003],
])(
  'vhd-lib reads the disk of an upload of %i bytes, which came in chunks of %i',
  async (length, chunkBytes) => {
    const upload = randomBytes(length);
    const disk = await readWithVhdLib(await build(upload, `${length}.vhd`, chunkBytes));

    expect(disk.length).toBe(Math.max(16 * MIB, 2 * MIB * Math.ceil((4 * length) / (2 * MIB))));
    // A short needle could stand anywhere: the payload starts at a boundary of 2 MiB.
    const starts = Array.from({ length: disk.length / (2 * MIB) }, (_, block) => block * 2 * MIB);
    const found = starts.filter((start) => disk.subarray(start, start + length).equals(upload));
    expect(found).toHaveLength(1);
    const end = (found[0] ?? 0) + length;
    const tail = disk.subarray(end, (found[0] ?? 0) + 2 * MIB * Math.ceil(length / (2 * MIB)));
    expect(tail.every((byte) => byte === 0)).toBe(true);
  },
);

test('the chunks in which an upload comes do not change a byte of the image', async () => {
  const upload = randomBytes(3 * MIB + 17);
  const digests = new Set<string>();
  for (const chunkBytes of [4096, 65_536, 777_777]) {
    digests.add(sha256(readFileSync(await build(upload, `chunks-${chunkBytes}.vhd`, chunkBytes))));
  }
  expect(digests.size).toBe(1);
});

test('sabotage: vhd-lib sees a footer whose checksum does not hold', async () => {
  const path = await build(randomBytes(1000), 'sabotage.vhd', 100);
  const bytes = readFileSync(path);
  bytes.writeUInt8(bytes.readUInt8(50) ^ 1, 50);
  writeFileSync(path, bytes);
  await expect(readWithVhdLib(path)).rejects.toThrow(/invalid footer checksum/);
});
