import { readFileSync } from 'node:fs';
import { beforeAll, afterAll, expect, test } from 'vitest';
import { execa } from 'execa';
import { CLI } from './cli.js';
import { MIB, uploadBytes } from './uploads.js';
import { makeWorkspace, type Workspace } from './workspace.js';

/*
 * The bytes of a VHD against lists written by hand from the "Virtual Hard Disk Image Format Specification", version
 * 1.0, for an upload of 5 MiB + 3 bytes, whose disk has 22 MiB. No code of ours decodes them.
 */

const UPLOAD_BYTES = 5 * MIB + 3;

/** "Hard Disk Footer Format": field, offset, bytes in hex. Everything is big-endian. */
const FOOTER = [
  ['Cookie', 0, Buffer.from('conectix').toString('hex')],
  ['Features', 8, '00000002'],
  ['File Format Version', 12, '00010000'],
  ['Data Offset', 16, '0000000000000200'],
  // 2023-11-14T22:13:20Z, that is 1700000000 - 946684800 seconds after 2000-01-01.
  ['Time Stamp', 24, (753_315_200).toString(16).padStart(8, '0')],
  ['Creator Application', 28, Buffer.from('tap\0').toString('hex')],
  ['Creator Version', 32, '00010001'],
  ['Creator Host OS', 36, '00000000'],
  ['Original Size', 40, '0000000001600000'],
  ['Current Size', 48, '0000000001600000'],
  // 45056 sectors: 45056 / 17 = 2650 tracks, 4 heads at least, 2650 / 4 = 662 cylinders.
  ['Disk Geometry', 56, '0296' + '04' + '11'],
  ['Disk Type', 60, '00000003'],
  ['Unique Id', 68, '00112233445546778899aabbccddeeff'],
  ['Saved State', 84, '00'],
  ['Reserved', 85, '00'.repeat(427)],
] as const;

/** "Dynamic Disk Header Format". */
const HEADER = [
  ['Cookie', 0, Buffer.from('cxsparse').toString('hex')],
  ['Data Offset', 8, 'ffffffffffffffff'],
  ['Table Offset', 16, '0000000000000600'],
  ['Header Version', 24, '00010000'],
  ['Max Table Entries', 28, '0000000b'],
  ['Block Size', 32, '00200000'],
  ['Parent Unique ID', 40, '00'.repeat(16)],
  ['Parent Time Stamp', 56, '00000000'],
  ['Reserved', 60, '00000000'],
  ['Parent Unicode Name', 64, '00'.repeat(512)],
  ['Parent Locator Entries', 576, '00'.repeat(192)],
  ['Reserved', 768, '00'.repeat(256)],
] as const;

/** By hand: blocks of 4096 + 2 MiB from byte 4096, each bitmap in the last sector before its data; block 0 is last. */
const BLOCK_SECTORS = [12_327, 15, 4119, 8223];

let work: Workspace;
let vhd: Buffer;
beforeAll(async () => {
  work = makeWorkspace();
  const upload = work.input('upload', uploadBytes(UPLOAD_BYTES));
  const image = work.output('image.vhd');
  const fixed = ['--source-date-epoch', '1700000000', '--vhd-uuid', '00112233-4455-4677-8899-AABBCCDDEEFF'];
  await execa(process.execPath, [CLI, 'build', upload, '-o', image, '--allow-unsigned', ...fixed]);
  vhd = readFileSync(image);
});
afterAll(() => work.remove());

const hexAt = (offset: number, hexDigits: number): string =>
  vhd.toString('hex', offset, offset + hexDigits / 2);

/** "One's complement of the sum of all the bytes in the structure without the checksum field." */
function checksum(start: number, length: number, checksumAt: number): number {
  let sum = 0;
  for (let at = start; at < start + length; at += 1) {
    if (at < start + checksumAt || at >= start + checksumAt + 4) sum += vhd.readUInt8(at);
  }
  return 0xffffffff - sum;
}

test('the lists cover the structures but for their checksums', () => {
  const bytes = (fields: readonly (readonly [string, number, string])[]): number =>
    fields.reduce((sum, [, , hex]) => sum + hex.length / 2, 0);
  expect(bytes(FOOTER)).toBe(512 - 4);
  expect(bytes(HEADER)).toBe(1024 - 4);
});

test.for(FOOTER)('footer: %s', ([, offset, expected]) => {
  expect(hexAt(offset, expected.length)).toBe(expected);
  expect(hexAt(vhd.length - 512 + offset, expected.length), 'trailing footer').toBe(expected);
});

test.for(HEADER)('header: %s', ([, offset, expected]) => {
  expect(hexAt(512 + offset, expected.length)).toBe(expected);
});

test('the checksums are right', () => {
  expect(vhd.readUInt32BE(64)).toBe(checksum(0, 512, 64));
  expect(vhd.readUInt32BE(vhd.length - 512 + 64)).toBe(checksum(0, 512, 64));
  expect(vhd.readUInt32BE(512 + 36)).toBe(checksum(512, 1024, 36));
});

test('the block allocation table leads to four blocks, the one with the superblock last', () => {
  expect(vhd.length).toBe(4096 + 4 * (4096 + 2 * MIB) + 512);
  const entries = Array.from({ length: 128 }, (_, index) => vhd.readUInt32BE(1536 + 4 * index));
  expect(entries.slice(0, 4)).toEqual(BLOCK_SECTORS);
  // Entries of blocks without data, and the padding to a sector.
  expect(new Set(entries.slice(4))).toEqual(new Set([0xffffffff]));
});

test('sector bitmaps tell which sectors hold data', () => {
  const bitmap = (block: number): Buffer => {
    const start = (BLOCK_SECTORS[block] ?? 0) * 512;
    return vhd.subarray(start, start + 512);
  };
  // Two whole blocks of payload, and 1 MiB + 3 bytes: 2049 sectors.
  expect(bitmap(1).equals(Buffer.alloc(512, 0xff))).toBe(true);
  expect(bitmap(2).equals(Buffer.alloc(512, 0xff))).toBe(true);
  expect(bitmap(3).equals(Buffer.concat([Buffer.alloc(256, 0xff), Buffer.of(0x80), Buffer.alloc(255)]))).toBe(
    true,
  );
  // The superblock's page, at least.
  expect(bitmap(0).readUInt8(0)).toBe(0xff);
});
