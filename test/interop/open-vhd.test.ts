/* Our reader against the files of vhd-lib and of our own builder, with vhd-lib and qemu-img as judges. */
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { buildPatchImage } from '../../src/index.js';
import { MIB } from '../../src/units.js';
import { convertToRaw, info } from '../oracles/qemu-img.js';
import { requireTool } from '../oracles/require-tool.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { memoryReader, openCollecting, readDisk } from '../vhd/readers.js';
import {
  chainWithVhdLib,
  readChainWithVhdLib,
  readWithVhdLib,
  writeSectorsWithVhdLib,
  writeWithVhdLib,
  type Fragment,
} from './vhd-lib.js';

const KIB = 1024;
const FRAGMENT_BYTES = 64 * KIB;

beforeEach((context) => requireTool(context, 'qemu-img', 'mke2fs', 'debugfs', 'e2fsck'));

const fragmentsAt = (...numbers: readonly number[]): Fragment[] =>
  numbers.map((number) => ({
    logicalAddressBytes: number * FRAGMENT_BYTES,
    data: randomBytes(FRAGMENT_BYTES),
  }));

async function openFile(path: string) {
  return openCollecting(memoryReader(readFileSync(path), { name: path }), {
    openParent: (parent) => Promise.resolve(memoryReader(readFileSync(parent), { name: parent })),
  });
}

describe('a dynamic disk of vhd-lib', () => {
  test('reads as vhd-lib and qemu-img read it', async () => {
    const path = join(temporaryFolder(), 'a.vhd');
    await writeWithVhdLib(path, 40 * MIB, fragmentsAt(0, 1, 5, 31, 64, 300, 301));
    const { disk, findings } = await openFile(path);
    expect(findings).toEqual([]);
    expect(disk.footer.creatorApplication).toBe('xo');
    expect(disk.allocatedBlockCount).toBe(3);
    expect(disk.sizeBytes).toBe(info(path).virtualSize);
    const ours = await readDisk(disk);
    expect(ours.equals(await readWithVhdLib(path))).toBe(true);
    const raw = `${path}.raw`;
    convertToRaw(path, raw);
    expect(ours.equals(readFileSync(raw))).toBe(true);
    expect(ours.some((byte) => byte !== 0)).toBe(true);
  });
});

describe('a chain of vhd-lib', () => {
  /** A parent with data in four places, a child with single sectors in some of them and elsewhere. */
  async function makeChain(folder: string): Promise<string> {
    const parent = join(folder, 'parent.vhd');
    const child = join(folder, 'child.vhd');
    await writeWithVhdLib(parent, 24 * MIB, fragmentsAt(0, 2, 40, 200));
    await writeWithVhdLib(child, 24 * MIB, fragmentsAt(1, 100));
    await chainWithVhdLib(parent, child);
    // A block of the child's own, and single sectors of one that is also the parent's.
    await writeSectorsWithVhdLib(child, (200 * FRAGMENT_BYTES) / 512 + 3, randomBytes(5 * 512));
    return child;
  }

  test('reads as vhd-lib puts it together', async () => {
    const child = await makeChain(temporaryFolder());
    const { disk, codes } = await openFile(child);
    expect(disk.kind).toBe('differencing');
    expect(disk.header?.parentUnicodeName).toBe('parent.vhd');
    expect(disk.header?.parentLocators).toMatchObject([{ platformCode: 'W2ku', path: 'parent.vhd' }]);
    expect(codes.filter((code) => code !== 'vhd-blocks-backward')).toEqual([]);
    const ours = await readDisk(disk);
    expect(ours.equals(await readChainWithVhdLib(child))).toBe(true);
  });

  test('sabotage: vhd-lib sees a sector of the parent that is not what it was', async () => {
    const child = await makeChain(temporaryFolder());
    const { disk } = await openFile(child);
    const ours = await readDisk(disk);
    const parent = child.replace('child', 'parent');
    await writeSectorsWithVhdLib(parent, (40 * FRAGMENT_BYTES) / 512, randomBytes(512));
    expect(ours.equals(await readChainWithVhdLib(child))).toBe(false);
  });
});

describe('what we build', () => {
  test.each(['vhd', 'vhd-fixed'] as const)(
    'as %s has no finding, and reads as qemu-img reads it',
    async (format) => {
      const path = join(temporaryFolder(), 'built.vhd');
      const upload = join(path, '..', 'upload');
      writeFileSync(upload, randomBytes(5 * MIB + 3));
      await buildPatchImage({ source: upload, sink: path, format, verify: { unsigned: true } });
      const { disk, findings } = await openFile(path);
      expect(findings).toEqual([]);
      expect(disk.kind).toBe(format === 'vhd' ? 'dynamic' : 'fixed');
      const raw = `${path}.raw`;
      convertToRaw(path, raw);
      expect((await readDisk(disk)).equals(readFileSync(raw))).toBe(true);
    },
  );
});
