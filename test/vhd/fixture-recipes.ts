/*
 * How the files of fixtures/vhd are made: those of other programs by these programs, the others by hand from the
 * specification. `MAKE_VHD_FIXTURES=1 npx vitest run test/vhd/fixtures.test.ts` makes them anew.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { MIB } from '../../src/units.js';
import { runJudge } from '../oracles/run-judge.js';
import { chainWithVhdLib, writeSectorsWithVhdLib, writeWithVhdLib } from '../interop/vhd-lib.js';
import {
  FOOTER_BYTES,
  HEADER_BYTES,
  contentOf,
  makeDynamic,
  makeFixed,
  makeFooter,
  patternOf,
  type Fields,
  type HandMade,
  type HandMadeBlock,
} from './hand-made.js';

export interface Fixture {
  /** File name without `.vhd.gz`. */
  readonly name: string;
  /** Writes it to a path; the files that it needs lie beside it. */
  readonly make: (path: string) => void | Promise<void>;
  /** What the disk starts with; the rest is zeros. Undefined: it is refused. */
  readonly content: (() => Buffer) | undefined;
  readonly creator: string;
  readonly kind: 'fixed' | 'dynamic' | 'differencing';
  readonly codes: readonly string[];
  /** Whether qemu-img sees the same disk. */
  readonly qemu: boolean;
}

const FRAGMENT_BYTES = 64 * 1024;

/** Sparse: three places of a disk of 6 MiB. */
function rawContent(): Buffer {
  const raw = Buffer.alloc(6 * MIB);
  for (const at of [0, 2 * MIB - 1024, 5 * MIB]) patternOf(1, at / 512, 4096).copy(raw, at);
  return raw;
}

function byQemu(path: string, options: string): void {
  const source = `${path}.raw`;
  writeFileSync(source, rawContent());
  const args = ['convert', '-f', 'raw', '-O', 'vpc', '-o', options, source, path];
  const { exitCode, stderr } = runJudge('qemu-img', args);
  if (exitCode !== 0) throw new Error(`qemu-img ${args.join(' ')}: ${stderr}`);
}

const fragment = (number: number): Buffer => patternOf(2, number, FRAGMENT_BYTES);
const PARENT_FRAGMENTS = [0, 2, 40, 70];
const CHILD_FRAGMENTS = [1, 33];
const CHILD_SECTOR = (40 * FRAGMENT_BYTES) / 512 + 3;
const childSectors = (): Buffer => patternOf(4, 0, 1024);

function vhdLibParent(): Buffer {
  const disk = Buffer.alloc(6 * MIB);
  for (const number of PARENT_FRAGMENTS) fragment(number).copy(disk, number * FRAGMENT_BYTES);
  return disk;
}

function vhdLibChild(): Buffer {
  const disk = vhdLibParent();
  for (const number of CHILD_FRAGMENTS) fragment(number).copy(disk, number * FRAGMENT_BYTES);
  childSectors().copy(disk, CHILD_SECTOR * 512);
  return disk;
}

function byVhdLib(path: string, numbers: readonly number[]): Promise<void> {
  const fragments = numbers.map((number) => ({
    logicalAddressBytes: number * FRAGMENT_BYTES,
    data: fragment(number),
  }));
  return writeWithVhdLib(path, 6 * MIB, fragments);
}

const windows = (id: number): Fields => ({
  'Creator Application': 'win ',
  'Creator Version': 0x000a0000,
  'Creator Host OS': 'Wi2k',
  'Unique Id': Buffer.alloc(16, id),
  'Disk Geometry Cylinders': 180,
  'Disk Geometry Heads': 4,
  'Disk Geometry Sectors Per Track': 17,
});
/** A block with those sectors, and zeros where their bits are 0. */
function sparseBlock(seed: number, block: number, ...sectors: readonly number[]): HandMadeBlock {
  const pattern = patternOf(seed, block, 2 * MIB);
  const data = Buffer.alloc(pattern.length);
  for (const sector of sectors) pattern.copy(data, sector * 512, sector * 512, (sector + 1) * 512);
  return { block, sectors, data };
}

const WINDOWS_PARENT: HandMade = {
  sizeBytes: 6 * MIB,
  seed: 5,
  footer: windows(5),
  // Windows starts the data of a block at a multiple of 4 KiB: its bitmap a sector before.
  behindTable: Buffer.alloc(1536),
  blocks: [sparseBlock(5, 0, 0, 1, 2, 3, 4, 5, 6, 7), sparseBlock(5, 2, 100)],
};

function windowsChild(): HandMade {
  const relative = Buffer.from('.\\windows-parent.vhd', 'utf16le');
  const absolute = Buffer.from('C:\\Disks\\windows-parent.vhd', 'utf16le');
  const entry = (code: string, data: Buffer, sector: number): Buffer => {
    // "Parent Locator Entry": code, space, length, reserved, offset
    const bytes = Buffer.alloc(24);
    bytes.write(code, 'latin1');
    bytes.writeUInt32BE(512, 4);
    bytes.writeUInt32BE(data.length, 8);
    bytes.writeBigUInt64BE(BigInt(FOOTER_BYTES + HEADER_BYTES + 512 * sector), 16);
    return bytes;
  };
  return {
    sizeBytes: 6 * MIB,
    seed: 6,
    diskType: 4,
    footer: windows(6),
    header: {
      'Parent Unique ID': Buffer.alloc(16, 5),
      'Parent Time Stamp': 631_152_060,
      'Parent Unicode Name': Buffer.from('windows-parent.vhd', 'utf16le').swap16(),
      'Parent Locator Entries': Buffer.concat([entry('W2ru', relative, 0), entry('W2ku', absolute, 1)]),
    },
    behindHeader: Buffer.concat([relative, Buffer.alloc(512 - relative.length), absolute]),
    blocks: [sparseBlock(6, 0, 3, 4, 9)],
  };
}

function batmap(): HandMade {
  const header = Buffer.alloc(512);
  header.write('tdbatmap', 0, 'latin1');
  header.writeBigUInt64BE(BigInt(FOOTER_BYTES + HEADER_BYTES + 512 + 512), 8);
  header.writeUInt32BE(1, 16);
  header.writeUInt32BE(0x00010002, 20);
  header.writeUInt32BE(0xffffffff - 0b01000000, 24);
  const map = Buffer.alloc(512);
  map[0] = 0b01000000;
  return {
    sizeBytes: 6 * MIB,
    footer: { 'Creator Application': 'tap\0', 'Creator Version': 0x00010003, 'Creator Host OS': 0 },
    behindTable: Buffer.concat([header, map]),
    blocks: [{ block: 1, data: Buffer.concat([patternOf(7, 0, 8192), Buffer.alloc(2 * MIB - 8192)]) }],
  };
}

const byHand =
  (bytes: () => Buffer): Fixture['make'] =>
  (path) =>
    writeFileSync(path, bytes());

const OLD_VIRTUAL_PC = {
  'Creator Application': 'vpc ',
  'Creator Version': 0x00050000,
  'Disk Geometry Cylinders': 3,
  'Disk Geometry Heads': 4,
  'Disk Geometry Sectors Per Track': 17,
};

export const FIXTURES: readonly Fixture[] = [
  {
    name: 'qemu-dynamic',
    make: (path) => byQemu(path, 'subformat=dynamic'),
    content: rawContent,
    creator: 'qemu',
    kind: 'dynamic',
    codes: [],
    qemu: true,
  },
  {
    name: 'qemu-dynamic-force-size',
    make: (path) => byQemu(path, 'subformat=dynamic,force_size=on'),
    content: rawContent,
    creator: 'qem2',
    kind: 'dynamic',
    codes: [],
    qemu: true,
  },
  {
    name: 'qemu-fixed',
    make: (path) => byQemu(path, 'subformat=fixed'),
    content: rawContent,
    creator: 'qemu',
    kind: 'fixed',
    codes: [],
    qemu: true,
  },
  {
    name: 'vhd-lib-parent',
    make: (path) => byVhdLib(path, PARENT_FRAGMENTS),
    content: vhdLibParent,
    creator: 'xo',
    kind: 'dynamic',
    // vhd-lib counts its seconds from 1970, not from 2000.
    codes: ['vhd-time-stamp'],
    qemu: true,
  },
  {
    name: 'vhd-lib-child',
    async make(path) {
      await byVhdLib(path, CHILD_FRAGMENTS);
      await chainWithVhdLib(join(path, '..', 'vhd-lib-parent.vhd'), path);
      await writeSectorsWithVhdLib(path, CHILD_SECTOR, childSectors());
    },
    content: vhdLibChild,
    creator: 'xo',
    kind: 'differencing',
    codes: ['vhd-time-stamp', 'vhd-time-stamp'],
    qemu: false,
  },
  {
    name: 'windows-parent',
    make: byHand(() => makeDynamic(WINDOWS_PARENT)),
    content: () => contentOf(WINDOWS_PARENT),
    creator: 'win',
    kind: 'dynamic',
    codes: [],
    qemu: true,
  },
  {
    name: 'windows-child',
    make: byHand(() => makeDynamic(windowsChild())),
    content: () => contentOf(windowsChild(), contentOf(WINDOWS_PARENT)),
    creator: 'win',
    kind: 'differencing',
    codes: [],
    qemu: false,
  },
  {
    name: 'blktap-batmap',
    make: byHand(() => makeDynamic(batmap())),
    content: () => contentOf(batmap()),
    creator: 'tap',
    kind: 'dynamic',
    codes: [],
    qemu: true,
  },
  {
    name: 'old-virtual-pc-fixed',
    make: byHand(() => makeFixed(patternOf(8, 0, 204 * 512), OLD_VIRTUAL_PC).subarray(0, -1)),
    content: () => patternOf(8, 0, 204 * 512),
    creator: 'vpc',
    kind: 'fixed',
    codes: [],
    qemu: false,
  },
  {
    name: 'refused-disk-type-5',
    make: byHand(() => Buffer.concat([Buffer.alloc(512), makeFooter(5, 512)])),
    content: undefined,
    creator: 'win',
    kind: 'fixed',
    codes: [],
    qemu: false,
  },
  {
    name: 'refused-blktap-0.1',
    make: byHand(() =>
      makeDynamic({
        sizeBytes: 6 * MIB,
        footer: { 'Creator Application': 'tap\0', 'Creator Version': 1, 'Creator Host OS': 0 },
      }),
    ),
    content: undefined,
    creator: 'tap',
    kind: 'dynamic',
    codes: [],
    qemu: false,
  },
];

/** Makes one; those that it is tied to were made in the same folder before. */
export async function makeFixture(fixture: Fixture, folder: string): Promise<Buffer> {
  const path = join(folder, `${fixture.name}.vhd`);
  await fixture.make(path);
  return readFileSync(path);
}
