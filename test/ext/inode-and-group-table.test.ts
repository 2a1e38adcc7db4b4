/* The tables of inodes and group descriptors against debugfs, in the way of superblock-table.test.ts. */
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { groupDescriptor, inode } from '../../src/ext/layout.js';
import { KIB, MIB } from '../../src/units.js';
import { ask, change } from '../oracles/debugfs.js';
import { requireTool } from '../oracles/require-tool.js';
import { runJudge } from '../oracles/run-judge.js';
import { formatSample, readAt, writeAt } from '../oracles/sample-image.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { changedFields, distinctive, listedNames, time, type FieldCase } from './field-by-field.js';
import { WITHOUT_CHECKSUMS } from './images.js';

const BLOCK_BYTES = 4 * KIB;

/** `i_block` as hex with one little-endian number in it; before, it holds an empty extent tree. */
const mappedBlock = (theirs: string, index: number, before: Uint8Array): FieldCase => {
  const bytes = Buffer.from(before);
  bytes.writeUInt32LE(0xa5c3b781, index * 4);
  return { theirs, ours: 'i_block', value: String(0xa5c3b781), expected: bytes.toString('hex') };
};

const INODE_CASES: readonly FieldCase[] = [
  distinctive('mode', 'i_mode', 'u16'),
  distinctive('uid_lo', 'i_uid', 'u16'),
  distinctive('uid_hi', 'l_i_uid_high', 'u16'),
  distinctive('gid_lo', 'i_gid', 'u16'),
  distinctive('gid_hi', 'l_i_gid_high', 'u16'),
  distinctive('size_lo', 'i_size_lo', 'u32'),
  distinctive('size_hi', 'i_size_high', 'u32'),
  time('atime', 'i_atime'),
  time('ctime', 'i_ctime'),
  time('mtime', 'i_mtime'),
  time('dtime', 'i_dtime'),
  time('crtime', 'i_crtime'),
  distinctive('links_count', 'i_links_count', 'u16'),
  distinctive('blocks_lo', 'i_blocks_lo', 'u32'),
  distinctive('blocks_hi', 'l_i_blocks_high', 'u16'),
  distinctive('flags', 'i_flags', 'u32'),
  distinctive('version_lo', 'l_i_version', 'u32'),
  distinctive('version_hi', 'i_version_hi', 'u32'),
  distinctive('generation', 'i_generation', 'u32'),
  distinctive('file_acl_lo', 'i_file_acl_lo', 'u32'),
  distinctive('file_acl_hi', 'l_i_file_acl_high', 'u16'),
  distinctive('faddr', 'i_obso_faddr', 'u32'),
  distinctive('extra_isize', 'i_extra_isize', 'u16'),
  distinctive('ctime_extra', 'i_ctime_extra', 'u32'),
  distinctive('mtime_extra', 'i_mtime_extra', 'u32'),
  distinctive('atime_extra', 'i_atime_extra', 'u32'),
  distinctive('crtime_extra', 'i_crtime_extra', 'u32'),
  distinctive('projid', 'i_projid', 'u32'),
];
/** Checksums are computed, not set. */
const INODE_NOT_SETTABLE = ['l_i_checksum_lo', 'i_checksum_hi', 'l_i_reserved'];

const GROUP_CASES: readonly FieldCase[] = [
  ...['block_bitmap', 'inode_bitmap', 'inode_table', 'exclude_bitmap'].flatMap((name) => [
    distinctive(`${name}_lo`, `bg_${name}_lo`, 'u32'),
    distinctive(`${name}_hi`, `bg_${name}_hi`, 'u32'),
  ]),
  ...['free_blocks_count', 'free_inodes_count', 'used_dirs_count', 'itable_unused'].flatMap((name) => [
    distinctive(`${name}_lo`, `bg_${name}_lo`, 'u16'),
    distinctive(`${name}_hi`, `bg_${name}_hi`, 'u16'),
  ]),
  ...['block_bitmap_csum', 'inode_bitmap_csum'].flatMap((name) => [
    distinctive(`${name}_lo`, `bg_${name}_lo`, 'u16'),
    distinctive(`${name}_hi`, `bg_${name}_hi`, 'u16'),
  ]),
  distinctive('flags', 'bg_flags', 'u16'),
  distinctive('checksum', 'bg_checksum', 'u16'),
];

beforeEach((context) => requireTool(context, 'mke2fs', 'debugfs'));

function sample(): string {
  return formatSample(join(temporaryFolder(), 'fields.raw'), 16 * MIB, '-O', WITHOUT_CHECKSUMS);
}

function isListed(image: string, command: string): (fieldCase: FieldCase) => boolean {
  const settable = listedNames(runJudge('debugfs', ['-R', `${command} -l`, image]).stdout);
  return ({ theirs }) => settable.has(theirs.replace(/_(lo|hi)$/, '')) || settable.has(theirs);
}

describe('the inode', () => {
  test('has a case for every field that can be set', () => {
    const covered = [...INODE_CASES.map(({ ours }) => ours), 'i_block', ...INODE_NOT_SETTABLE];
    expect(covered.sort()).toEqual(Object.keys(inode.rows).sort());
  });

  test('what debugfs sets by name is what our table reads, and nothing else changes', () => {
    const image = sample();
    change(image, 'write /dev/null patch');
    const place = /located at block (\d+), offset 0x([0-9a-f]+)/.exec(ask(image, 'imap /patch'));
    const offset = Number(place?.[1]) * BLOCK_BYTES + parseInt(place?.[2] ?? '', 16);
    const before = readAt(image, offset, inode.sizeBytes);
    const { i_block: blocks } = inode.decode(before);
    const inodeNumber = /Inode: (\d+)/.exec(ask(image, 'stat /patch'))?.[1];

    const blockCases = [mappedBlock('block[0]', 0, blocks), mappedBlock('block[TIND]', 14, blocks)];
    const cases = [...INODE_CASES.filter(isListed(image, 'set_inode_field')), ...blockCases];
    expect(cases.length).toBeGreaterThanOrEqual(INODE_CASES.length);
    for (const { theirs, ours, value, expected } of cases) {
      change(image, `set_inode_field <${inodeNumber}> ${theirs} ${value}`);
      const changed = changedFields(inode, before, readAt(image, offset, inode.sizeBytes));
      expect(changed, `after set_inode_field ${theirs}`).toEqual({ [ours]: expected });
      writeAt(image, offset, before);
    }
  });
});

describe('the group descriptor', () => {
  test('has a case for every field that can be set', () => {
    const covered = [...GROUP_CASES.map(({ ours }) => ours), 'bg_reserved'];
    expect(covered.sort()).toEqual(Object.keys(groupDescriptor.rows).sort());
  });

  test('what debugfs sets by name is what our table reads, and nothing else changes', () => {
    const image = sample();
    const before = readAt(image, BLOCK_BYTES, groupDescriptor.sizeBytes);
    const cases = GROUP_CASES.filter(isListed(image, 'set_block_group'));
    expect(cases).toHaveLength(GROUP_CASES.length);
    for (const { theirs, ours, value, expected } of cases) {
      change(image, `set_block_group 0 ${theirs} ${value}`);
      const changed = changedFields(
        groupDescriptor,
        before,
        readAt(image, BLOCK_BYTES, groupDescriptor.sizeBytes),
      );
      expect(changed, `after set_block_group ${theirs}`).toEqual({ [ours]: expected });
      writeAt(image, BLOCK_BYTES, before);
    }
  });
});
