/*
 * "The importer": every sentence of what is known of XAPI's own one, walked over the bytes of a PUT as they arrived. The
 * walk below is written from these sentences, and from nothing of ours; offsets are those of the VHD specification.
 */
import { beforeEach, expect, test } from 'vitest';
import { MIB } from '../../src/units.js';
import { requireTool } from '../oracles/require-tool.js';
import { scene } from './scene.js';

beforeEach((context) => requireTool(context, 'gpgv', 'mke2fs', 'debugfs'));

const SECTOR = 512;
const HEADER_BYTES = 1024;
const BLOCK_BYTES = 2 * MIB;
const BITMAP_BYTES = BLOCK_BYTES / SECTOR / 8;
const UNUSED = 0xff_ff_ff_ff;
/** Offsets of the specification: of the footer, and of the header. */
const AT = { dataOffset: 16, diskType: 60, headerDataOffset: 8, tableOffset: 16, entries: 28, blockSize: 32 };

/** Reads as the importer does, forward only. @throws where it would fail, or corrupt the disk silently */
function importForward(stream: Buffer): { virtualBlocks: number[] } {
  let at = 0;
  const skipTo = (offset: number, what: string): void => {
    if (offset < at) throw new Error(`${what} lies behind us`);
    at = offset;
  };
  const need = (holds: boolean, what: string): void => {
    if (!holds) throw new Error(what);
  };
  const cookie = (offset: number): string => stream.toString('latin1', offset, offset + 8);

  need(cookie(0) === 'conectix', 'no footer at the start');
  need([2, 3, 4].includes(stream.readUInt32BE(AT.diskType)), 'an unknown disk type');
  const header = Number(stream.readBigUInt64BE(AT.dataOffset));
  at = SECTOR;
  skipTo(header, 'the header');
  need(cookie(header) === 'cxsparse', 'no header');
  need(stream.readBigUInt64BE(header + AT.headerDataOffset) === 0xff_ff_ff_ff_ff_ff_ff_ffn, 'data_offset');
  need(stream.readUInt32BE(header + AT.blockSize) === BLOCK_BYTES, 'a block size that is corrupted silently');
  at = header + HEADER_BYTES;

  const table = Number(stream.readBigUInt64BE(header + AT.tableOffset));
  const entries = stream.readUInt32BE(header + AT.entries);
  skipTo(table, 'the BAT');
  const sectors = Array.from({ length: entries }, (_, index) => stream.readUInt32BE(table + 4 * index));
  at = table + Math.ceil((entries * 4) / SECTOR) * SECTOR;

  const used = sectors
    .map((sector, block) => ({ sector, block }))
    .filter(({ sector }) => sector !== UNUSED)
    .toSorted((a, b) => a.sector - b.sector);
  for (const { sector, block } of used) {
    skipTo(sector * SECTOR, `block ${block}`);
    at += BITMAP_BYTES + BLOCK_BYTES;
    need(at <= stream.length, `block ${block} is cut`);
  }
  const last = stream.length - 1;
  const footer = last - (last % SECTOR);
  skipTo(footer, 'the trailing footer');
  need(cookie(footer) === 'conectix', 'no footer at (length - 1) & ~511');
  need(stream.subarray(footer, footer + SECTOR).equals(stream.subarray(0, SECTOR)), 'the footers differ');
  return { virtualBlocks: used.map(({ block }) => block) };
}

async function importedStream(sizeBytes: number): Promise<Buffer> {
  const at = await scene(sizeBytes);
  const { vdi } = await at.upload();
  return at.disks.contents.get(vdi.ref) ?? Buffer.alloc(0);
}

test('"Reads forward only: footer, header at `data_offset`, BAT at `table_offset`, blocks in ascending *file* order whatever their virtual order, trailing footer."', async () => {
  const { virtualBlocks } = importForward(await importedStream(9 * MIB + 1));
  // The one with the superblock comes last: an import that is cut before it has no file system.
  expect(virtualBlocks.at(-1)).toBe(0);
  expect(virtualBlocks.length).toBeGreaterThan(4);
});

test.each([4096, 5 * MIB + 3, 40 * MIB])(
  '"Gaps are skipped, backward offsets fail"; "BAT is read as `entries × 4` rounded up to 512": of %i bytes',
  async (size) => {
    expect(importForward(await importedStream(size)).virtualBlocks).toContain(0);
  },
);

test('sabotage: the walk sees what the importer would stumble over', async () => {
  const good = await importedStream(4096);
  const changed = (change: (bytes: Buffer) => void): Buffer => {
    const bytes = Buffer.from(good);
    change(bytes);
    return bytes;
  };
  const header = Number(good.readBigUInt64BE(AT.dataOffset));
  expect(() => importForward(good.subarray(0, -SECTOR))).toThrow(/trailing footer lies behind us/);
  expect(() => importForward(Buffer.concat([good, Buffer.alloc(SECTOR)]))).toThrow(/no footer at/);
  expect(() => importForward(changed((bytes) => bytes.writeUInt32BE(4096, header + AT.blockSize)))).toThrow(
    /block size/,
  );
  expect(() =>
    importForward(changed((bytes) => bytes.writeBigUInt64BE(0n, header + AT.tableOffset))),
  ).toThrow(/behind us/);
  expect(() => importForward(changed((bytes) => bytes.writeUInt8(0, header + AT.headerDataOffset)))).toThrow(
    /data_offset/,
  );
});
