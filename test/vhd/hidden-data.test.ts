/* Data that one program reads and another does not: the same file is two disks. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { MIB } from '../../src/units.js';
import { convertToRaw } from '../oracles/qemu-img.js';
import { requireTool } from '../oracles/require-tool.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { contentOf, makeDynamic, patternOf, type HandMade } from './hand-made.js';
import { folderOf, memoryReader, openCollecting, readDisk } from './readers.js';

const SECTOR = 512;

/** Block 1 with these sectors in its bitmap, and data in all of it unless another is given. */
function diskWith(sectors: readonly number[], data?: Uint8Array): HandMade {
  return { sizeBytes: 4 * MIB, blocks: [{ block: 1, sectors, ...(data === undefined ? {} : { data }) }] };
}

async function codesOf(bytes: Buffer): Promise<string[]> {
  const { disk, findings } = await openCollecting(memoryReader(bytes));
  await readDisk(disk);
  return findings.map(({ code, severity }) => `${severity} ${code}`);
}

describe('data under a bit of 0', () => {
  test('is an error, for qemu-img reads it and we do not', async (context) => {
    requireTool(context, 'qemu-img');
    const parts = diskWith([0, 1, 7]);
    const bytes = makeDynamic(parts);
    expect(await codesOf(bytes)).toEqual(['error vhd-bitmap-hides-data']);

    const path = join(temporaryFolder(), 'a.vhd');
    writeFileSync(path, bytes);
    convertToRaw(path, `${path}.raw`);
    const theirs = readFileSync(`${path}.raw`);
    expect(theirs.equals(contentOf(parts))).toBe(false);
    expect(theirs.subarray(2 * MIB + 2 * SECTOR).equals(patternOf(1, 1, 2 * MIB).subarray(2 * SECTOR))).toBe(
      true,
    );
  });

  test('is told where it stands', async () => {
    const data = Buffer.alloc(2 * MIB);
    data[5 * SECTOR + 3] = 1;
    const bytes = makeDynamic(diskWith([0], data));
    const { disk, findings } = await openCollecting(memoryReader(bytes));
    await readDisk(disk);
    expect(findings).toMatchObject([
      { structure: 'block 1', offset: bytes.lastIndexOf(1, bytes.length - 513) },
    ]);
  });

  test('of zeros is nothing, and neither is what nobody reads', async () => {
    expect(await codesOf(makeDynamic(diskWith([0], Buffer.alloc(2 * MIB))))).toEqual([]);
    const { disk, codes } = await openCollecting(memoryReader(makeDynamic(diskWith([4]))));
    await disk.readInto(new Uint8Array(SECTOR), 2 * MIB + 4 * SECTOR);
    expect(codes).toEqual([]);
  });

  test('of a differencing disk is its parent’s for everybody', async () => {
    const id = Buffer.alloc(16, 7);
    const base = makeDynamic({ sizeBytes: 4 * MIB, blocks: [{ block: 1 }], footer: { 'Unique Id': id } });
    const name = Buffer.from('base.vhd', 'utf16le').swap16();
    const header = { 'Parent Unique ID': id, 'Parent Unicode Name': name };
    const child = makeDynamic({ ...diskWith([3]), seed: 2, diskType: 4, header });
    const { openParent } = folderOf({ 'folder/base.vhd': base });
    const { disk, findings } = await openCollecting(memoryReader(child), { openParent });
    await readDisk(disk);
    expect(findings).toEqual([]);
  });
});

describe('a batmap', () => {
  /** libvhd, include/libvhd.h, struct dd_batmap_hdr; the bits in the sector behind it. */
  function withBatmap(sectors: readonly number[], bits: number): Buffer {
    const batmap = Buffer.alloc(2 * SECTOR);
    batmap.write('tdbatmap', 'latin1');
    // Footer copy, header, a sector of BAT, and the batmap's own header.
    batmap.writeBigUInt64BE(BigInt(SECTOR + 1024 + SECTOR + SECTOR), 8);
    batmap.writeUInt32BE(1, 16);
    batmap[SECTOR] = bits;
    return makeDynamic({ ...diskWith(sectors, Buffer.alloc(2 * MIB)), behindTable: batmap });
  }

  test('that calls a block full whose bitmap is not is an error: blktap goes by it', async () => {
    expect(await codesOf(withBatmap([0, 1], 0x40))).toEqual(['error vhd-batmap-disagrees']);
  });

  test('that agrees is nothing', async () => {
    expect(await codesOf(withBatmap([0, 1], 0x80))).toEqual([]);
    expect(
      await codesOf(
        withBatmap(
          Array.from({ length: 4096 }, (_, sector) => sector),
          0x40,
        ),
      ),
    ).toEqual([]);
  });
});
