/* Our reader against qemu-img: its files, and what it makes of others'. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { MIB } from '../../src/units.js';
import { convertToRaw, info } from '../oracles/qemu-img.js';
import { requireTool } from '../oracles/require-tool.js';
import { runJudge } from '../oracles/run-judge.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { readWithVhdLib } from '../interop/vhd-lib.js';
import { contentOf, makeDynamic, makeFixed, patternOf, type HandMade } from './hand-made.js';
import { memoryReader, openCollecting, readDisk } from './readers.js';

beforeEach((context) => requireTool(context, 'qemu-img'));

function qemuImg(...args: readonly string[]): void {
  const result = runJudge('qemu-img', args);
  expect(result).toMatchObject({ exitCode: 0, stderr: '' });
}

/** Data at the start, across a border of blocks, in the middle and at the end; holes between. */
function rawDisk(sizeBytes: number): Buffer {
  const raw = Buffer.alloc(sizeBytes);
  for (const at of [0, 2 * MIB - 5000, 9 * MIB + 123]) patternOf(1, at, 9000).copy(raw, at);
  patternOf(2, 0, 700).copy(raw, sizeBytes - 700);
  return raw;
}

function open(path: string) {
  return openCollecting(memoryReader(readFileSync(path), { name: path }), {
    nowSeconds: Math.floor(Date.now() / 1000),
  });
}

function asQemuReads(path: string): Buffer {
  convertToRaw(path, `${path}.raw`);
  return readFileSync(`${path}.raw`);
}

describe.each(['dynamic', 'fixed'] as const)('a %s disk of qemu-img', (subformat) => {
  test.each([
    [20 * MIB, 'off'],
    [20 * MIB, 'on'],
    [20 * MIB + 512, 'on'],
    [15 * MIB + 1536, 'off'],
  ])('of %i bytes, force_size=%s', async (sizeBytes, forceSize) => {
    const folder = temporaryFolder();
    const [source, path] = [join(folder, 'source.raw'), join(folder, 'a.vhd')];
    const raw = rawDisk(sizeBytes);
    writeFileSync(source, raw);
    const format = `subformat=${subformat},force_size=${forceSize}`;
    qemuImg('convert', '-f', 'raw', '-O', 'vpc', '-o', format, source, path);

    const { disk, findings } = await open(path);
    expect(findings).toEqual([]);
    const judged = info(path);
    expect(disk).toMatchObject({ kind: subformat, sizeBytes: judged.virtualSize });
    expect(disk.header?.blockBytes).toBe(judged.clusterSize);
    expect(disk.footer.creatorApplication).toBe(forceSize === 'on' ? 'qem2' : 'qemu');
    expect(disk.footer.creatorHostOs).toBe('Windows');
    const ours = await readDisk(disk);
    expect(ours.equals(asQemuReads(path))).toBe(true);
    expect(ours.subarray(0, sizeBytes).equals(raw)).toBe(true);
  });
});

test('an empty dynamic disk of 2040 GiB is opened with a few reads', async () => {
  const path = join(temporaryFolder(), 'large.vhd');
  qemuImg('create', '-q', '-f', 'vpc', '-o', 'subformat=dynamic,force_size=on', path, '2040G');
  const reader = memoryReader(readFileSync(path));
  const { disk, findings } = await openCollecting(reader);
  expect(findings).toEqual([]);
  expect(disk.sizeBytes).toBe(2040 * 1024 * MIB);
  expect([...disk.allocatedRuns()]).toEqual([]);
  expect(reader.reads.length).toBeLessThanOrEqual(5);
  await disk.readInto(new Uint8Array(MIB), disk.sizeBytes - MIB);
});

test('sabotage: qemu-img sees a byte of a block that is another', async () => {
  const folder = temporaryFolder();
  const [source, path] = [join(folder, 'source.raw'), join(folder, 'a.vhd')];
  writeFileSync(source, rawDisk(20 * MIB));
  qemuImg('convert', '-f', 'raw', '-O', 'vpc', source, path);
  const { disk } = await open(path);
  const ours = await readDisk(disk);
  const bytes = readFileSync(path);
  const at = bytes.indexOf('<1:0:0>');
  expect(at).toBeGreaterThan(2048);
  bytes.write('!', at);
  writeFileSync(path, bytes);
  expect(ours.equals(asQemuReads(path))).toBe(false);
});

describe('hand-made disks are those of qemu-img, too', () => {
  const parts: HandMade = { sizeBytes: 9 * MIB, blocks: [3, 0].map((block) => ({ block })) };

  test('dynamic', async () => {
    const path = join(temporaryFolder(), 'a.vhd');
    writeFileSync(path, makeDynamic(parts));
    const { disk } = await open(path);
    expect((await readDisk(disk)).equals(asQemuReads(path))).toBe(true);
  });

  test('dynamic of small blocks', async () => {
    const path = join(temporaryFolder(), 'a.vhd');
    const small = { ...parts, blockBytes: 512 * 1024 };
    writeFileSync(path, makeDynamic(small));
    const { disk } = await open(path);
    expect((await readDisk(disk)).equals(asQemuReads(path))).toBe(true);
    expect((await readDisk(disk)).equals(contentOf(small))).toBe(true);
  });

  test('fixed', async () => {
    const path = join(temporaryFolder(), 'a.vhd');
    writeFileSync(path, makeFixed(patternOf(1, 0, MIB)));
    const { disk } = await open(path);
    expect((await readDisk(disk)).equals(asQemuReads(path))).toBe(true);
  });

  test('with a batmap of blktap, which both skip', async () => {
    const path = join(temporaryFolder(), 'a.vhd');
    // blktap, include/vhd.h: cookie, offset of the map, its sectors, version 1.2, checksum of the map
    const map = Buffer.alloc(512);
    map[0] = 0b10010000;
    const header = Buffer.alloc(512);
    header.write('tdbatmap', 0, 'latin1');
    header.writeBigUInt64BE(BigInt(1536 + 512 + 512), 8);
    header.writeUInt32BE(1, 16);
    header.writeUInt32BE(0x00010002, 20);
    header.writeUInt32BE(0xffffffff - 0b10010000, 24);
    const footer = { 'Creator Application': 'tap\0', 'Creator Version': 0x00010003, 'Creator Host OS': 0 };
    const withBatmap = {
      ...parts,
      blocks: [0, 3].map((block) => ({ block })),
      footer,
      behindTable: Buffer.concat([header, map]),
    };
    writeFileSync(path, makeDynamic(withBatmap));
    const { disk, findings } = await open(path);
    expect(findings).toEqual([]);
    expect(disk.header?.hasBatmap).toBe(true);
    expect(disk.footer.creatorHostOs).toBe('');
    const ours = await readDisk(disk);
    expect(ours.equals(asQemuReads(path))).toBe(true);
    expect(ours.equals(contentOf(withBatmap))).toBe(true);

    // A block on the map is one on a structure.
    const bytes = makeDynamic(withBatmap);
    bytes.writeUInt32BE((1536 + 1024) / 512, 1536 + 4 * 2);
    const { codes } = await openCollecting(memoryReader(bytes));
    expect(codes).toContain('vhd-block-in-structure');
  });
});

/*
 * The measurement behind two decisions of the reader: where programs differ, this says which does what.
 */
describe('where readers differ', () => {
  const data = patternOf(1, 0, 2 * MIB);
  const parts: HandMade = { sizeBytes: 2 * MIB, blocks: [{ block: 0, sectors: [0, 8], data }] };

  test('qemu-img and vhd-lib return data under bits of 0, we return zeros, as the specification says', async () => {
    const path = join(temporaryFolder(), 'a.vhd');
    writeFileSync(path, makeDynamic(parts));
    expect(asQemuReads(path).equals(data)).toBe(true);
    expect((await readWithVhdLib(path)).equals(data)).toBe(true);
    const { disk } = await open(path);
    const ours = await readDisk(disk);
    expect(ours.equals(contentOf(parts))).toBe(true);
    expect(ours.equals(data)).toBe(false);
  });

  test.each([
    ['win ', 'current_size'],
    ['qem2', 'current_size'],
    ['d2v ', 'current_size'],
    ['tap\0', 'current_size'],
    ['CTXS', 'current_size'],
    ['vpc ', 'geometry'],
    ['vbox', 'geometry'],
    ['vs  ', 'geometry'],
    ['qemu', 'geometry'],
    ['xo  ', 'geometry'],
    ['\0\0\0\0', 'geometry'],
  ])(
    'of creator "%s" qemu-img takes the size from the %s, which is what vhd-geometry goes by',
    async (creator, from) => {
      const path = join(temporaryFolder(), 'a.vhd');
      const geometry = {
        'Disk Geometry Cylinders': 100,
        'Disk Geometry Heads': 4,
        'Disk Geometry Sectors Per Track': 17,
      };
      const footer = { 'Creator Application': creator, 'Creator Version': 0x00010001, ...geometry };
      writeFileSync(path, makeDynamic({ sizeBytes: 10 * MIB, footer }));
      expect(info(path).virtualSize).toBe(from === 'geometry' ? 100 * 4 * 17 * 512 : 10 * MIB);
      const { disk, codes } = await open(path);
      expect(disk.sizeBytes).toBe(10 * MIB);
      expect(codes).toEqual(from === 'geometry' ? ['vhd-geometry'] : []);
    },
  );

  test('qemu-img reads a differencing disk as if it had no parent, so it is no judge of them', () => {
    const path = join(temporaryFolder(), 'a.vhd');
    writeFileSync(path, makeDynamic({ ...parts, diskType: 4 }));
    expect(asQemuReads(path).equals(data)).toBe(true);
  });
});
