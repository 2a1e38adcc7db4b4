import { randomBytes } from 'node:crypto';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { buildPatchImage, type BuildOptions } from '../../src/index.js';
import { dumpFile } from '../oracles/debugfs.js';
import { clean } from '../oracles/e2fsck.js';
import { convertToRaw, info } from '../oracles/qemu-img.js';
import { requireTool } from '../oracles/require-tool.js';

const MIB = 1024 * 1024;
const UPLOAD_BYTES = 5 * MIB + 3;
const DISK_BYTES = 22 * MIB;
const FOOTER_BYTES = 512;

let folder: string;
let upload: Buffer;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'pv-fixed-'));
  upload = randomBytes(UPLOAD_BYTES);
  writeFileSync(join(folder, 'upload'), upload);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeEach((context) => requireTool(context, 'qemu-img', 'e2fsck', 'debugfs'));

const options = (sink: BuildOptions['sink']): BuildOptions => ({
  source: join(folder, 'upload'),
  sink,
  format: 'vhd-fixed',
  verify: { unsigned: true },
  sourceDateEpoch: 1_700_000_000,
  vhdUuid: '00112233-4455-4677-8899-aabbccddeeff',
});

test('e2fsck, debugfs and qemu-img agree on a fixed VHD', async () => {
  const path = join(folder, 'a.vhd');
  await buildPatchImage(options(path));
  expect(statSync(path).size).toBe(DISK_BYTES + FOOTER_BYTES);
  // Sparse: the disk is four times the upload, and what is free takes no space.
  expect(statSync(path).blocks * 512).toBeLessThan(UPLOAD_BYTES + MIB);
  expect(info(path).virtualSize).toBe(DISK_BYTES);

  const raw = join(folder, 'a.raw');
  convertToRaw(path, raw);
  clean(raw);
  dumpFile(raw, '/patch', join(folder, 'patch'));
  expect(readFileSync(join(folder, 'patch')).equals(upload)).toBe(true);
  expect(readFileSync(path).subarray(0, DISK_BYTES).equals(readFileSync(raw))).toBe(true);
});

test('the footer is the one that the specification asks for', async () => {
  const path = join(folder, 'b.vhd');
  await buildPatchImage(options(path));
  const footer = readFileSync(path).subarray(DISK_BYTES);
  const hex = (from: number, length: number): string => footer.toString('hex', from, from + length);
  // "Hard Disk Footer Format"; the other fields are those of a dynamic disk (test/e2e/vhd-fields.test.ts).
  expect(footer.toString('latin1', 0, 8)).toBe('conectix');
  expect(hex(16, 8), 'Data Offset: "for fixed disks, this field should be set to 0xFFFFFFFF"').toBe(
    'f'.repeat(16),
  );
  expect(hex(48, 8), 'Current Size').toBe('0000000001600000');
  expect(hex(60, 4), 'Disk Type: fixed').toBe('00000002');
  expect(hex(68, 16), 'Unique Id').toBe('00112233445546778899aabbccddeeff');
  const sum = footer.reduce((total, byte, at) => (at >= 64 && at < 68 ? total : total + byte), 0);
  expect(hex(64, 4), 'Checksum').toBe((~sum >>> 0).toString(16).padStart(8, '0'));
});

test('a stream of it has the same bytes as the file', async () => {
  const file = join(folder, 'c.vhd');
  await buildPatchImage(options(file));
  const streamed = join(folder, 'd.vhd');
  const fd = openSync(streamed, 'w');
  try {
    const result = await buildPatchImage(options({ fd }));
    expect(result.spooled).toBe(false);
  } finally {
    closeSync(fd);
  }
  expect(readFileSync(streamed).equals(readFileSync(file))).toBe(true);
});

test('sabotage: qemu-img sees that a footer of another size is not that of the disk', async () => {
  const path = join(folder, 'e.vhd');
  await buildPatchImage(options(path));
  const bytes = readFileSync(path);
  bytes.writeUInt8(bytes.readUInt8(DISK_BYTES) ^ 1, DISK_BYTES);
  writeFileSync(path, bytes);
  expect(() => info(path)).toThrow();
});
