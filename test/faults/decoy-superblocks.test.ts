import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { buildPatchImage } from '../../src/index.js';
import { requireTool } from '../oracles/require-tool.js';
import { runJudge } from '../oracles/run-judge.js';

/*
 * A hostile payload brings a backup superblock of its own, just where e2fsck looks for one when the first is missing.
 * The disk of the attacker is made by mke2fs with 1 KiB blocks; the payload is what lies from 2 MiB on.
 */

const MIB = 1024 * 1024;
const PAYLOAD_START = 2 * MIB;
/** Block 8193 of 1 KiB, the first backup (e2fsck(8), -b). */
const BACKUP = 8193 * 1024;

let folder: string;
let upload: Buffer;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'pv-decoy-'));
  const disk = join(folder, 'disk');
  writeFileSync(disk, '');
  truncateSync(disk, 40 * MIB);
  expect(runJudge('mke2fs', ['-q', '-F', '-t', 'ext2', '-b', '1024', disk]).exitCode).toBe(0);
  upload = readFileSync(disk).subarray(PAYLOAD_START, PAYLOAD_START + 10 * MIB);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeEach((context) => requireTool(context, 'e2fsck', 'mke2fs'));

async function* inChunks(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield await Promise.resolve(bytes.subarray(at, at + size));
}

const build = (bytes: Buffer, chunkBytes: number, contentLength: number | undefined, format: 'raw' | 'vhd') =>
  buildPatchImage({
    source: inChunks(bytes, chunkBytes),
    contentLength,
    format,
    size: 40 * MIB,
    sink: join(folder, `image.${format}`),
    verify: { unsigned: true },
  });

test('e2fsck would take it: the attack is real', () => {
  const image = join(folder, 'unsealed');
  writeFileSync(image, '');
  truncateSync(image, 40 * MIB);
  const bytes = readFileSync(image);
  upload.copy(bytes, PAYLOAD_START);
  writeFileSync(image, bytes);
  // Without -b, and with no superblock at the start, it finds the backup by itself.
  expect(runJudge('e2fsck', ['-fn', image]).stdout).toContain('Pass 1');
  rmSync(image);
});

test.each([
  [65_536, 10 * MIB, 'raw'],
  [65_536, undefined, 'raw'],
  [1009, 10 * MIB, 'vhd'],
  [BACKUP - PAYLOAD_START + 57, 10 * MIB, 'vhd'],
] as const)(
  'in chunks of %i, length %s, %s: it is refused before it is written',
  async (chunk, length, format) => {
    await expect(build(upload, chunk, length, format)).rejects.toMatchObject({
      kind: 'upload',
      message: 'the upload imitates a file system',
      context: { offset: BACKUP - PAYLOAD_START },
    });
    expect(readdirSync(folder)).toEqual(['disk']);
  },
);

test.each([
  ['another magic', 56, 0],
  ['another block size', 24, 7],
])('with %s e2fsck would not take it, and it is an upload like any other', async (_, offset, value) => {
  const harmless = Buffer.from(upload);
  harmless.writeUInt8(value, BACKUP - PAYLOAD_START + offset);
  await build(harmless, 65_536, undefined, 'raw');
  rmSync(join(folder, 'image.raw'));
});
