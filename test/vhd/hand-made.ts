import { FOOTER_FIELDS, HEADER_FIELDS, specifiedChecksum, type SpecifiedField } from './specification.js';

/*
 * VHDs put together by hand from the specification, field by field; nothing here comes from src/vhd.
 */

export const SECTOR = 512;
export const FOOTER_BYTES = 512;
export const HEADER_BYTES = 1024;
const UNUSED = 0xffffffff;

/** A value for a field: a number, big-endian; bytes from its start; or text, one byte a character. */
export type FieldValue = number | bigint | Uint8Array | string;
/** By the names that the specification writes. */
export type Fields = Readonly<Record<string, FieldValue>>;

function fieldNamed(fields: readonly SpecifiedField[], name: string): SpecifiedField {
  const field = fields.find((one) => one.name === name);
  if (field === undefined) throw new Error(`the specification has no field "${name}"`);
  return field;
}

/** Where a field stands in its structure. */
export function offsetOf(fields: readonly SpecifiedField[], name: string): number {
  return fieldNamed(fields, name).offset;
}

/** Writes one field in place. */
export function setField(
  fields: readonly SpecifiedField[],
  structure: Uint8Array,
  name: string,
  value: FieldValue,
): void {
  const { offset, size } = fieldNamed(fields, name);
  const target = structure.subarray(offset, offset + size);
  if (typeof value === 'object') target.set(value);
  else if (typeof value === 'string') target.set(Buffer.from(value, 'latin1'));
  else target.set(Buffer.from(value.toString(16).padStart(size * 2, '0'), 'hex'));
}

/** Puts the checksum right, as the specification computes it. */
export function seal(fields: readonly SpecifiedField[], structure: Uint8Array): void {
  setField(fields, structure, 'Checksum', Buffer.from(specifiedChecksum(fields, structure), 'hex'));
}

function structureOf(fields: readonly SpecifiedField[], bytes: number, ...values: readonly Fields[]): Buffer {
  const structure = Buffer.alloc(bytes);
  for (const set of values) {
    for (const [name, value] of Object.entries(set)) setField(fields, structure, name, value);
  }
  if (!values.some((set) => 'Checksum' in set)) seal(fields, structure);
  return structure;
}

export const UNIQUE_ID = Buffer.from('00112233445566778899aabbccddeeff', 'hex');

/** A footer of creator `win `; a geometry of zeros is nothing that this creator is judged by. */
export function makeFooter(diskType: number, size: number, changes: Fields = {}): Buffer {
  const ofAll: Fields = {
    Cookie: 'conectix',
    Features: 2,
    'File Format Version': 0x00010000,
    'Data Offset': diskType === 2 ? 2n ** 64n - 1n : FOOTER_BYTES,
    // 2020-01-01
    'Time Stamp': 631_152_000,
    'Creator Application': 'win ',
    'Creator Version': 0x000a0000,
    'Creator Host OS': 'Wi2k',
    'Original Size': size,
    'Current Size': size,
    'Disk Type': diskType,
    'Unique Id': UNIQUE_ID,
  };
  return structureOf(FOOTER_FIELDS, FOOTER_BYTES, ofAll, changes);
}

export function makeHeader(
  tableOffset: number,
  entries: number,
  blockBytes: number,
  changes: Fields = {},
): Buffer {
  const ofAll: Fields = {
    Cookie: 'cxsparse',
    'Data Offset': 2n ** 64n - 1n,
    'Table Offset': tableOffset,
    'Header Version': 0x00010000,
    'Max Table Entries': entries,
    'Block Size': blockBytes,
  };
  return structureOf(HEADER_FIELDS, HEADER_BYTES, ofAll, changes);
}

export interface HandMadeBlock {
  /** Its number on the disk. */
  readonly block: number;
  /** Sectors whose bits are set; all by default. */
  readonly sectors?: readonly number[];
  /** What stands in the file, all of the block; by default {@link patternOf}. */
  readonly data?: Uint8Array;
}

export interface HandMade {
  readonly sizeBytes: number;
  /** 2 MiB by default. */
  readonly blockBytes?: number;
  /** In the order of the file. */
  readonly blocks?: readonly HandMadeBlock[];
  readonly footer?: Fields;
  readonly header?: Fields;
  /** Between header and BAT: data of parent locators. Padded to a sector. */
  readonly behindHeader?: Uint8Array;
  /** Between BAT and blocks: a batmap. Padded to a sector. */
  readonly behindTable?: Uint8Array;
  /** A number for each file, so that two have different data. */
  readonly seed?: number;
  /** 3 by default. */
  readonly diskType?: number;
}

/** Bytes that are different in each sector of each block of each file, and nowhere zero. */
export function patternOf(seed: number, block: number, blockBytes: number): Buffer {
  const data = Buffer.alloc(blockBytes);
  for (let sector = 0; sector * SECTOR < blockBytes; sector += 1) {
    const end = Math.min(blockBytes, (sector + 1) * SECTOR);
    data.fill(`<${seed}:${block}:${sector}>`, sector * SECTOR, end, 'latin1');
  }
  return data;
}

function padded(bytes: Uint8Array): Buffer {
  return Buffer.concat([bytes, Buffer.alloc((SECTOR - (bytes.length % SECTOR)) % SECTOR)]);
}

function makeBitmap(blockBytes: number, sectors: readonly number[] | undefined): Buffer {
  const count = blockBytes / SECTOR;
  const bitmap = padded(Buffer.alloc(Math.ceil(count / 8)));
  for (const sector of sectors ?? Array.from({ length: count }, (_, index) => index)) {
    // "each bit indicates … the most significant bit first"
    const at = Math.floor(sector / 8);
    bitmap[at] = (bitmap[at] ?? 0) | (128 >> (sector % 8));
  }
  return bitmap;
}

/** A dynamic or differencing VHD: footer copy, header, BAT, blocks, footer. */
export function makeDynamic(parts: HandMade): Buffer {
  const { sizeBytes, blockBytes = 2 * 1024 * 1024, blocks = [], seed = 1, diskType = 3 } = parts;
  const entries = Math.ceil(sizeBytes / blockBytes);
  const footer = makeFooter(diskType, sizeBytes, parts.footer);
  const behindHeader = padded(parts.behindHeader ?? Buffer.alloc(0));
  const tableOffset = FOOTER_BYTES + HEADER_BYTES + behindHeader.length;
  const header = makeHeader(tableOffset, entries, blockBytes, parts.header);
  const table = Buffer.alloc(Math.ceil((entries * 4) / SECTOR) * SECTOR, 0xff);
  const behindTable = padded(parts.behindTable ?? Buffer.alloc(0));
  let sector = (tableOffset + table.length + behindTable.length) / SECTOR;
  const bodies = blocks.flatMap(({ block, sectors, data }) => {
    const bitmap = makeBitmap(blockBytes, sectors);
    table.writeUInt32BE(sector, block * 4);
    sector += (bitmap.length + blockBytes) / SECTOR;
    return [bitmap, data ?? patternOf(seed, block, blockBytes)];
  });
  return Buffer.concat([footer, header, behindHeader, table, behindTable, ...bodies, footer]);
}

/** What the disk of {@link makeDynamic} has to read as, from `below` where it has no sector itself. */
export function contentOf(parts: HandMade, below?: Uint8Array): Buffer {
  const { sizeBytes, blockBytes = 2 * 1024 * 1024, blocks = [], seed = 1 } = parts;
  const disk = Buffer.alloc(Math.ceil(sizeBytes / blockBytes) * blockBytes);
  if (below !== undefined) disk.set(below.subarray(0, disk.length));
  for (const { block, sectors, data = patternOf(seed, block, blockBytes) } of blocks) {
    const all = Array.from({ length: blockBytes / SECTOR }, (_, index) => index);
    for (const sector of sectors ?? all) {
      const at = sector * SECTOR;
      disk.set(data.subarray(at, at + SECTOR), block * blockBytes + at);
    }
  }
  return disk.subarray(0, sizeBytes);
}

export function makeFixed(data: Uint8Array, footer: Fields = {}): Buffer {
  return Buffer.concat([data, makeFooter(2, data.length, footer)]);
}

export { UNUSED };
