import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { GIB, MIB } from '../../src/units.js';
import { dynamicDiskHeader, hardDiskFooter } from '../../src/vhd/layout.js';
import {
  checksumOf,
  encodeDynamicFooter,
  encodeDynamicHeader,
  encodeFixedFooter,
  tableBytes,
  tableEntries,
} from '../../src/vhd/structures.js';
import { requireTool } from '../oracles/require-tool.js';
import { runJudge } from '../oracles/run-judge.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import {
  FOOTER_FIELDS,
  HEADER_FIELDS,
  fieldHex,
  specifiedChecksum,
  type SpecifiedField,
} from './specification.js';

const uniqueId = Uint8Array.from({ length: 16 }, (_, index) => index + 1);
/** 2001-09-09T01:46:40Z, which is 53 315 200 s after 2000-01-01. */
const createdSeconds = 1_000_000_000;

const snakeCase = (name: string): string => name.toLowerCase().replaceAll(' ', '_');

describe.each([
  ['footer', hardDiskFooter, FOOTER_FIELDS, 512],
  ['header', dynamicDiskHeader, HEADER_FIELDS, 1024],
] as const)('the table of the %s', (_name, table, specified, sizeBytes) => {
  test('has the fields of the specification, at their places, with their sizes', () => {
    const rows = Object.entries(table.rows).map(([name, [offset, type]]) => {
      const width = typeof type === 'object' ? type.bytes : Number(type.slice(1)) / 8;
      return { name, offset, size: width };
    });
    expect(rows).toEqual(specified.map((field) => ({ ...field, name: snakeCase(field.name) })));
    expect(table.sizeBytes).toBe(sizeBytes);
  });
});

describe('the footer of a dynamic disk of 1 GiB', () => {
  const footer = encodeDynamicFooter(GIB, { uniqueId, createdSeconds });
  const field = (name: string): string => fieldHex(FOOTER_FIELDS, footer, name);

  test.each([
    ['Cookie', Buffer.from('conectix').toString('hex'), 'always'],
    ['Features', '00000002', 'no features, and the reserved bit that is always set'],
    ['File Format Version', '00010000', '1.0'],
    ['Data Offset', '0000000000000200', 'the header follows the footer copy'],
    ['Time Stamp', '032d8680', '53 315 200 s'],
    ['Creator Application', '74617000', 'tap and a NUL: blktap'],
    ['Creator Version', '00010001', '1.1, so that libvhd asks for no batmap'],
    ['Creator Host OS', '00000000', 'as blktap leaves it'],
    ['Original Size', '0000000040000000', '1 GiB'],
    ['Current Size', '0000000040000000', '1 GiB'],
    ['Disk Geometry Cylinders', '0820', '2080'],
    ['Disk Geometry Heads', '10', '16'],
    ['Disk Geometry Sectors Per Track', '3f', '63'],
    ['Disk Type', '00000003', 'dynamic'],
    ['Unique Id', '0102030405060708090a0b0c0d0e0f10', 'as given'],
    ['Saved State', '00', 'none'],
    ['Reserved', '00'.repeat(427), 'zeros'],
  ])('%s is %s (%s)', (name, hex) => {
    expect(field(name)).toBe(hex);
  });

  test('has the checksum of the specification', () => {
    expect(field('Checksum')).toBe(specifiedChecksum(FOOTER_FIELDS, footer));
  });

  test('has no time before 2000', () => {
    const old = encodeDynamicFooter(GIB, { uniqueId, createdSeconds: 1 });
    expect(fieldHex(FOOTER_FIELDS, old, 'Time Stamp')).toBe('00000000');
  });

  test('keeps the latest time that an epoch can have', () => {
    const late = encodeDynamicFooter(GIB, { uniqueId, createdSeconds: 2 ** 32 - 1 });
    // 4 294 967 295 - 946 684 800
    expect(parseInt(fieldHex(FOOTER_FIELDS, late, 'Time Stamp'), 16)).toBe(3_348_282_495);
  });

  test('is never made without a unique id', () => {
    expect(() => encodeDynamicFooter(GIB, { uniqueId: new Uint8Array(16), createdSeconds })).toThrow(/null/);
  });
});

test('the footer of a fixed disk differs in type, in the offset that leads nowhere, and in the checksum', () => {
  const dynamic = encodeDynamicFooter(GIB, { uniqueId, createdSeconds });
  const fixed = encodeFixedFooter(GIB, { uniqueId, createdSeconds });
  const hex = (name: string): string => fieldHex(FOOTER_FIELDS, fixed, name);
  expect(hex('Data Offset')).toBe('ffffffffffffffff');
  expect(hex('Disk Type')).toBe('00000002');
  expect(hex('Checksum')).toBe(specifiedChecksum(FOOTER_FIELDS, fixed));
  const differing = FOOTER_FIELDS.filter(({ name }) => hex(name) !== fieldHex(FOOTER_FIELDS, dynamic, name));
  expect(differing.map(({ name }) => name)).toEqual(['Data Offset', 'Disk Type', 'Checksum']);
});

describe('the header of a dynamic disk of 1 GiB', () => {
  const header = encodeDynamicHeader(GIB, 1536);
  const field = (name: string): string => fieldHex(HEADER_FIELDS, header, name);

  test.each([
    ['Cookie', Buffer.from('cxsparse').toString('hex'), 'always'],
    ['Data Offset', 'ffffffffffffffff', 'currently unused: all ones'],
    ['Table Offset', '0000000000000600', 'as given'],
    ['Header Version', '00010000', '1.0'],
    ['Max Table Entries', '00000200', '512 blocks of 2 MiB'],
    ['Block Size', '00200000', '2 MiB'],
    ['Parent Unique ID', '00'.repeat(16), 'no parent'],
    ['Parent Time Stamp', '00000000', 'no parent'],
    ['Reserved 1', '00000000', 'zeros'],
    ['Parent Unicode Name', '00'.repeat(512), 'no parent'],
    ['Parent Locator Entries', '00'.repeat(192), 'no parent'],
    ['Reserved 2', '00'.repeat(256), 'zeros'],
  ])('%s is %s (%s)', (name, hex) => {
    expect(field(name)).toBe(hex);
  });

  test('has the checksum of the specification', () => {
    expect(field('Checksum')).toBe(specifiedChecksum(HEADER_FIELDS, header));
  });
});

describe('checksumOf', () => {
  const offsetOf = (fields: readonly SpecifiedField[]): number =>
    fields.find(({ name }) => name === 'Checksum')?.offset ?? Number.NaN;

  test('computes what qemu-img wrote into a VHD of its own', (context) => {
    requireTool(context, 'qemu-img');
    const folder = temporaryFolder();
    const vhd = join(folder, 'empty.vhd');
    const made = runJudge('qemu-img', ['create', '-q', '-f', 'vpc', '-o', 'subformat=dynamic', vhd, '1G']);
    expect(made.exitCode).toBe(0);
    const bytes = readFileSync(vhd);
    const footer = bytes.subarray(0, hardDiskFooter.sizeBytes);
    const header = bytes.subarray(footer.length, footer.length + dynamicDiskHeader.sizeBytes);
    expect(checksumOf(footer, offsetOf(FOOTER_FIELDS))).toBe(hardDiskFooter.decode(footer).checksum);
    expect(checksumOf(header, offsetOf(HEADER_FIELDS))).toBe(dynamicDiskHeader.decode(header).checksum);
  });

  test('leaves out the checksum field, and only that', () => {
    const footer = encodeDynamicFooter(GIB, { uniqueId, createdSeconds });
    const at = offsetOf(FOOTER_FIELDS);
    const right = checksumOf(footer, at);
    const changedAt = (index: number): number => {
      const copy = Uint8Array.from(footer);
      copy[index] = (copy[index] ?? 0) ^ 1;
      return checksumOf(copy, at);
    };
    expect([at, at + 3].map(changedAt)).toEqual([right, right]);
    for (const index of [0, at - 1, at + 4, footer.length - 1]) expect(changedAt(index)).not.toBe(right);
  });
});

describe('the size of the BAT', () => {
  test.each([
    [16 * MIB, 8, 512],
    [2 * MIB, 1, 512],
    [2 * MIB + 1, 2, 512],
    [256 * MIB, 128, 512],
    [258 * MIB, 129, 1024],
    [GIB, 512, 2048],
    [2040 * GIB, 1_044_480, 4_177_920],
  ])('for %d bytes: %d entries in %d bytes', (virtualSize, entries, bytes) => {
    expect(tableEntries(virtualSize)).toBe(entries);
    expect(tableBytes(virtualSize)).toBe(bytes);
  });
});
