/*
 * The table of the superblock against debugfs: each field is set by debugfs, by its name, and must then be the one
 * field of our table that has changed, with the value that was set.
 */
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { superBlock } from '../../src/ext/layout.js';
import { MIB } from '../../src/units.js';
import { change } from '../oracles/debugfs.js';
import { requireTool } from '../oracles/require-tool.js';
import { runJudge } from '../oracles/run-judge.js';
import { formatSample, readAt, writeAt } from '../oracles/sample-image.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { changedFields, distinctive, listedNames, time, type FieldCase } from './field-by-field.js';
import { WITHOUT_CHECKSUMS, readSuperblock } from './images.js';

const words = (text: string): string[] => text.trim().split(/\s+/);

const same = (names: string, type: 'u8' | 'u16' | 'u32' | 'u64'): FieldCase[] =>
  words(names).map((name) => distinctive(name, `s_${name}`, type));
const times = (...names: readonly string[]): FieldCase[] => names.map((name) => time(name, `s_${name}`));

/** 16 bytes as debugfs takes a UUID. */
const uuid = (name: string): FieldCase => ({
  theirs: name,
  ours: `s_${name}`,
  value: '01020304-0506-0708-090a-0b0c0d0e0f10',
  expected: '0102030405060708090a0b0c0d0e0f10',
});

/** Text that fills the whole field but for the NUL that debugfs insists on. */
const text = (name: string, length: number): FieldCase => {
  const value = Array.from({ length: length - 1 }, (_, index) =>
    String.fromCodePoint(0x41 + (index % 26)),
  ).join('');
  return { theirs: name, ours: `s_${name}`, value, expected: Buffer.from(`${value}\0`).toString('hex') };
};

/** One element of an array, which our tables have as bytes: zeros around one little-endian number. */
const element = (name: string, index: number, count: number, width: 1 | 4): FieldCase => {
  const bytes = Buffer.alloc(count * width);
  if (width === 1) bytes.writeUInt8(0xa5, index);
  else bytes.writeUInt32LE(0xa5c3b781, index * 4);
  const value = String(width === 1 ? 0xa5 : 0xa5c3b781);
  return { theirs: `${name}[${index}]`, ours: `s_${name}`, value, expected: bytes.toString('hex') };
};

const CASES: readonly FieldCase[] = [
  ...same(
    `
    inodes_count free_inodes_count first_data_block log_block_size log_cluster_size
    blocks_per_group clusters_per_group inodes_per_group checkinterval creator_os rev_level
    first_ino feature_compat feature_incompat algorithm_usage_bitmap journal_inum journal_dev
    last_orphan default_mount_opts first_meta_bg flags raid_stripe_width snapshot_inum snapshot_id
    snapshot_list usr_quota_inum grp_quota_inum prj_quota_inum overhead_clusters error_count
    first_error_ino first_error_line last_error_ino last_error_line lpf_ino checksum_seed
    orphan_file_inum checksum
  `,
    'u32',
  ),
  ...same(
    `
    mnt_count max_mnt_count state errors minor_rev_level def_resuid def_resgid inode_size
    reserved_gdt_blocks desc_size min_extra_isize want_extra_isize raid_stride mmp_interval
    encoding
  `,
    'u16',
  ),
  ...same(
    `
    prealloc_blocks prealloc_dir_blocks jnl_backup_type log_groups_per_flex checksum_type
    encryption_level
  `,
    'u8',
  ),
  ...same(
    `
    mmp_block kbytes_written snapshot_r_blocks_count first_error_block last_error_block
  `,
    'u64',
  ),
  ...['blocks_count', 'r_blocks_count', 'free_blocks_count'].flatMap((name) => [
    distinctive(`${name}_lo`, `s_${name}_lo`, 'u32'),
    distinctive(`${name}_hi`, `s_${name}_hi`, 'u32'),
  ]),
  ...times('mtime', 'lastcheck', 'mkfs_time', 'first_error_time', 'last_error_time'),
  ...['uuid', 'journal_uuid', 'hash_seed', 'encrypt_pw_salt'].map(uuid),
  text('volume_name', 16),
  text('last_mounted', 64),
  text('first_error_func', 32),
  text('last_error_func', 32),
  text('mount_opts', 64),
  element('jnl_blocks', 0, 17, 4),
  element('jnl_blocks', 16, 17, 4),
  element('backup_bgs', 1, 2, 4),
  element('encrypt_algos', 3, 4, 1),
  // Without metadata_csum, which would make debugfs write a checksum, too.
  {
    theirs: 'feature_ro_compat',
    ours: 's_feature_ro_compat',
    value: String(0xa5c3b381),
    expected: 0xa5c3b381,
  },
  { theirs: 'def_hash_version', ours: 's_def_hash_version', value: 'tea', expected: 2 },
];

/**
 * What debugfs cannot set. The first two are compared with dumpe2fs elsewhere;
 * `block_group_nr` is written anew with every copy; the rest is read by nobody here.
 */
const NOT_SETTABLE = words(`
    s_magic s_wtime s_block_group_nr s_reserved_pad s_wtime_hi s_mtime_hi s_mkfs_time_hi
    s_lastcheck_hi s_first_error_time_hi s_last_error_time_hi s_first_error_errcode
    s_last_error_errcode s_encoding_flags s_reserved
`);

/** debugfs itself sets the time of the last write. */
const ALWAYS_CHANGING = 's_wtime';
const HEAD_BYTES = 64 * 1024;

beforeEach((context) => requireTool(context, 'mke2fs', 'debugfs'));

test('the cases and what debugfs cannot set are together all fields of the table', () => {
  const covered = [...CASES.map(({ ours }) => ours), ...NOT_SETTABLE];
  expect([...new Set(covered)].sort()).toEqual(Object.keys(superBlock.rows).sort());
});

describe('what debugfs sets, by name', () => {
  test('is what our table reads, and nothing else changes', () => {
    const image = formatSample(join(temporaryFolder(), 'fields.raw'), 16 * MIB, '-O', WITHOUT_CHECKSUMS);
    const head = readAt(image, 0, HEAD_BYTES);
    const before = readSuperblock(image);
    const settable = listedNames(runJudge('debugfs', ['-R', 'set_super_value -l', image]).stdout);
    const isListed = ({ theirs }: FieldCase): boolean =>
      settable.has(theirs.replace(/\[\d+\]$/, '').replace(/_(lo|hi)$/, ''));
    // Older versions do not know the newest fields.
    const cases = CASES.filter(isListed);
    expect(CASES.length - cases.length).toBeLessThanOrEqual(4);

    for (const { theirs, ours, value, expected } of cases) {
      change(image, `set_super_value ${theirs} ${value}`);
      const { [ALWAYS_CHANGING]: _ignored, ...changed } = changedFields(
        superBlock,
        before,
        readSuperblock(image),
      );
      expect(changed, `after set_super_value ${theirs}`).toEqual({ [ours]: expected });
      writeAt(image, 0, head);
    }
  });
});
