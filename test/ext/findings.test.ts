/*
 * One field of a good image is changed at a time, the checksum over it put right: the one named finding must come of
 * it, and the rest must still be read. With the checksum left wrong, that is found. What is an error to us must be one
 * to e2fsck.
 */
import { statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { SUPERBLOCK_OFFSET_BYTES, groupDescriptor, superBlock } from '../../src/ext/layout.js';
import type { ExtFilesystem } from '../../src/ext/filesystem.js';
import { throwErrors, type Finding } from '../../src/findings.js';
import { KIB, MIB } from '../../src/units.js';
import { ask, change } from '../oracles/debugfs.js';
import { clean } from '../oracles/e2fsck.js';
import { requireTool } from '../oracles/require-tool.js';
import { flipByte, formatSample, readAt, writeAt } from '../oracles/sample-image.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { fixtureBytes, fixtureNames, openBytes, readableFixtures } from './fixture-images.js';
import { WITHOUT_CHECKSUMS, openImage, readSuperblock, writeSuperblock } from './images.js';

beforeEach((context) => requireTool(context, 'mke2fs', 'debugfs', 'e2fsck'));

type SuperblockField = keyof typeof superBlock.rows;
type DescriptorField = keyof typeof groupDescriptor.rows;

const HUGE = 0xffffffff;

function sample(...options: readonly string[]): string {
  return formatSample(join(temporaryFolder(), 'sample.raw'), 16 * MIB, ...options);
}

async function open(image: string): Promise<{ filesystem: ExtFilesystem; findings: readonly Finding[] }> {
  const findings: Finding[] = [];
  const report = (finding: Finding) => void findings.push(finding);
  const filesystem = await openImage(image, { report, diskBytes: statSync(image).size });
  return { filesystem, findings };
}

const codesOf = (findings: readonly Finding[]): string[] => findings.map(({ code }) => code);

describe('a superblock', () => {
  const cases: readonly [string, Finding['severity'], SuperblockField, (value: number) => number][] = [
    ['not-clean', 'warning', 's_state', (state) => state - 1],
    ['has-errors', 'warning', 's_state', (state) => state + 2],
    ['has-errors', 'warning', 's_error_count', () => 1],
    ['orphan-inodes', 'warning', 's_last_orphan', () => 12],
    ['orphan-inodes', 'warning', 's_state', (state) => state + 4],
    ['orphan-inodes', 'warning', 's_feature_ro_compat', (bits) => bits + 0x10000],
    ['journal-needs-recovery', 'warning', 's_feature_incompat', (bits) => bits + 0x4],
    ['unknown-compatible-feature', 'warning', 's_feature_compat', (bits) => bits + 0x80000000],
    ['unknown-read-only-feature', 'warning', 's_feature_ro_compat', (bits) => bits + 0x80000000],
    ['inode-count', 'error', 's_inodes_count', (count) => count + 1],
    ['inode-count', 'error', 's_inodes_count', () => HUGE],
    ['first-inode', 'error', 's_first_ino', () => 10],
    ['first-inode', 'error', 's_first_ino', () => HUGE],
    ['free-block-count', 'error', 's_free_blocks_count_lo', () => 4097],
    ['free-block-count', 'error', 's_free_blocks_count_hi', () => 1],
    ['free-inode-count', 'error', 's_free_inodes_count', () => HUGE],
    ['reserved-block-count', 'error', 's_r_blocks_count_lo', () => 4097],
    ['reserved-descriptor-blocks', 'error', 's_reserved_gdt_blocks', () => 1025],
    ['cluster-size', 'error', 's_log_cluster_size', () => 3],
    ['filesystem-larger-than-disk', 'error', 's_blocks_count_lo', (count) => count + 1],
  ];
  test.for(cases)('%s (%s): %s', async ([code, severity, field, changed]) => {
    const image = sample();
    const good = readSuperblock(image);
    const { [field]: value } = superBlock.decode(good);
    if (typeof value !== 'number') throw new Error(`${field} is no number`);
    const bytes = Buffer.from(good);
    superBlock.set(bytes, field, changed(value));
    writeSuperblock(image, bytes);
    const { filesystem, findings } = await open(image);
    expect(findings).toMatchObject([{ code, severity, structure: 'superblock', space: 'disk' }]);
    expect([...filesystem.groups]).toHaveLength(1);
    if (severity === 'error') {
      expect(() => clean(image)).toThrow();
      await expect(openImage(image, { report: throwErrors, diskBytes: 16 * MIB })).rejects.toMatchObject({
        kind: 'image',
      });
    }

    // The checksum of the good one does not fit the changed one.
    superBlock.set(bytes, 's_checksum', superBlock.decode(good).s_checksum);
    writeAt(image, SUPERBLOCK_OFFSET_BYTES, bytes);
    expect(codesOf((await open(image)).findings)).toEqual(['superblock-checksum', code]);
  });

  test('with a checksum of another kind is read, and nothing is verified', async () => {
    const image = sample();
    const bytes = readSuperblock(image);
    superBlock.set(bytes, 's_checksum_type', 2);
    writeSuperblock(image, bytes);
    const { filesystem, findings } = await open(image);
    expect(findings).toMatchObject([
      { code: 'checksum-type', severity: 'error', found: 's_checksum_type 2' },
    ]);
    expect(filesystem.superblock.hasMetadataChecksums).toBe(false);
    expect(() => clean(image)).toThrow();
  });

  test('of revision 0 with features', async () => {
    const image = sample('-O', 'none,filetype,sparse_super', '-I', '128');
    change(image, 'set_super_value rev_level 0');
    const { findings } = await open(image);
    expect(findings).toMatchObject([{ code: 'features-in-revision-0', severity: 'warning' }]);
  });

  test('whose first block of scattered descriptors is none', async () => {
    const image = sample('-O', `${WITHOUT_CHECKSUMS},meta_bg`);
    change(image, 'set_super_value first_meta_bg 2');
    const { filesystem, findings } = await open(image);
    expect(findings).toMatchObject([{ code: 'first-meta-group', severity: 'error' }]);
    expect([...filesystem.groups]).toHaveLength(1);
    expect(() => clean(image)).toThrow();
  });
});

/** Changes the descriptor of a group; one block of 4 KiB holds all of them, behind the superblock. */
function changeDescriptor(
  image: string,
  group: number,
  values: Partial<Record<DescriptorField, number>>,
): void {
  const offset = 4 * KIB + group * groupDescriptor.sizeBytes;
  const bytes = readAt(image, offset, groupDescriptor.sizeBytes);
  for (const [name, value] of Object.entries(values)) {
    groupDescriptor.set(bytes, name as DescriptorField, value);
  }
  writeAt(image, offset, bytes);
}

describe('a group descriptor', () => {
  const threeGroups = (...options: readonly string[]): string =>
    formatSample(join(temporaryFolder(), 'sample.raw'), 300 * MIB, ...options);

  const cases: readonly [string, string, Partial<Record<DescriptorField, number>>][] = [
    ['group-descriptor-blocks', 'a bitmap behind the end', { bg_block_bitmap_lo: 76_800 }],
    ['group-descriptor-blocks', 'a bitmap far behind the end', { bg_inode_bitmap_hi: 1 }],
    ['group-descriptor-blocks', 'a bitmap on the superblock', { bg_block_bitmap_lo: 0 }],
    ['group-descriptor-blocks', 'a bitmap on the descriptors', { bg_inode_bitmap_lo: 1 }],
    ['group-descriptor-blocks', 'a table that reaches past the end', { bg_inode_table_lo: 76_799 }],
    [
      'group-descriptor-blocks',
      'one bitmap for both',
      { bg_block_bitmap_lo: 1234, bg_inode_bitmap_lo: 1234 },
    ],
    [
      'group-descriptor-blocks',
      'nothing but zeros',
      { bg_block_bitmap_lo: 0, bg_inode_bitmap_lo: 0, bg_inode_table_lo: 0 },
    ],
    ['group-descriptor-counts', 'too many free blocks', { bg_free_blocks_count_lo: 32_769 }],
    ['group-descriptor-counts', 'too many free inodes', { bg_free_inodes_count_hi: 1 }],
    ['group-descriptor-counts', 'too many folders', { bg_used_dirs_count_hi: 1 }],
  ];
  test.for(cases)('%s: %s', async ([code, , values]) => {
    const image = threeGroups('-O', WITHOUT_CHECKSUMS);
    changeDescriptor(image, 1, values);
    const { filesystem, findings } = await open(image);
    const offset = 4 * KIB + groupDescriptor.sizeBytes;
    expect(findings).toMatchObject([{ code, severity: 'error', structure: 'group descriptor 1', offset }]);
    const usable = [...filesystem.groups].map(({ index }) => index);
    expect(usable).toEqual(code === 'group-descriptor-blocks' ? [0, 2] : [0, 1, 2]);
    expect(() => clean(image)).toThrow();
  });

  test('that names blocks of another group is unusable without flex_bg', async () => {
    const image = threeGroups('-O', 'none,filetype,extent,64bit,sparse_super');
    changeDescriptor(image, 1, { bg_block_bitmap_lo: 40_000 });
    expect((await open(image)).findings).toEqual([]);
    changeDescriptor(image, 1, { bg_block_bitmap_lo: 70_000 });
    expect((await open(image)).findings).toMatchObject([{ code: 'group-descriptor-blocks' }]);
    expect(() => clean(image)).toThrow();
  });

  test.for([
    ['CRC-32C', []],
    ['CRC-32C in 32 bytes', ['-O', 'none,extent,metadata_csum,flex_bg']],
    ['CRC-16', ['-O', 'none,extent,uninit_bg,flex_bg']],
    ['CRC-16 with 64 bytes', ['-O', 'none,extent,uninit_bg,flex_bg,64bit']],
    ['a seed of its own', ['-O', 'none,extent,metadata_csum,metadata_csum_seed,flex_bg,64bit']],
  ] as const)('with a wrong checksum (%s) is used, but nothing in it spares a look', async ([, options]) => {
    const image = threeGroups(...options);
    const before = await open(image);
    expect(before.findings).toEqual([]);
    const { descriptorBytes } = before.filesystem.superblock;
    expect(before.filesystem.groups.at(2)).toMatchObject({ inodeBitmapUninitialised: true });
    flipByte(image, 4 * KIB + 2 * descriptorBytes + groupDescriptor.rows.bg_checksum[0]);
    const { filesystem, findings } = await open(image);
    expect(findings).toMatchObject([{ code: 'group-descriptor-checksum', structure: 'group descriptor 2' }]);
    expect(filesystem.groups.at(2)).toMatchObject({ inodeBitmapUninitialised: false, unusedInodeCount: 0 });
    expect(() => clean(image)).toThrow();
  });

  test('has flags and unused inodes only where descriptors have checksums', async () => {
    const image = threeGroups('-O', WITHOUT_CHECKSUMS);
    changeDescriptor(image, 1, { bg_flags: 7, bg_itable_unused_lo: 60_000 });
    const { filesystem, findings } = await open(image);
    expect(findings).toEqual([]);
    expect(filesystem.groups.at(1)).toMatchObject({
      blockBitmapUninitialised: false,
      inodeBitmapUninitialised: false,
      inodeTableZeroed: false,
      unusedInodeCount: 0,
    });
  });
});

describe('a table of descriptors', () => {
  test('that leaves group 0 no room is one finding', async () => {
    const options = ['-b', '1024', '-O', WITHOUT_CHECKSUMS, '-g', '256'];
    const image = sample(...options);
    expect((await open(image)).findings).toEqual([]);
    change(image, 'set_super_value reserved_gdt_blocks 255');
    const { filesystem, findings } = await open(image);
    expect(findings).toMatchObject([{ code: 'descriptors-overlap', severity: 'error', offset: 2 * KIB }]);
    expect([...filesystem.groups]).toHaveLength(filesystem.groups.length);
    expect(() => clean(image)).toThrow();
  });

  test('that lies outside the file system is one finding', async () => {
    const image = sample('-b', '1024', '-O', 'none,filetype', '-I', '128');
    const bytes = readSuperblock(image);
    for (const [field, value] of [
      ['s_blocks_count_lo', 2],
      ['s_free_blocks_count_lo', 0],
      ['s_r_blocks_count_lo', 0],
      ['s_inodes_count', superBlock.decode(bytes).s_inodes_per_group],
      ['s_free_inodes_count', 0],
    ] as const) {
      superBlock.set(bytes, field, value);
    }
    writeSuperblock(image, bytes);
    const { filesystem, findings } = await open(image);
    expect(findings).toMatchObject([{ code: 'descriptors-outside', severity: 'error', offset: 2 * KIB }]);
    expect([...filesystem.groups]).toEqual([]);
    expect(() => clean(image)).toThrow();
  });
});

describe('a disk that is too short', () => {
  test('is one finding, and the groups that it holds are read', async () => {
    const image = formatSample(join(temporaryFolder(), 'a.raw'), 600 * MIB, '-O', 'none,extent,sparse_super');
    truncateSync(image, 300 * MIB);
    const { filesystem, findings } = await open(image);
    expect(codesOf(findings)).toEqual(['filesystem-larger-than-disk']);
    expect(filesystem.groups).toHaveLength(5);
    expect([...filesystem.groups].map(({ index }) => index)).toEqual([0, 1, 2]);
  });

  test('to hold all descriptors is one, too', async () => {
    const options = ['-b', '1024', '-O', 'none,extent,sparse_super', '-g', '256'];
    const image = formatSample(join(temporaryFolder(), 'a.raw'), 64 * MIB, ...options);
    truncateSync(image, 4 * KIB);
    const { filesystem, findings } = await open(image);
    expect(codesOf(findings)).toEqual(['filesystem-larger-than-disk']);
    expect([...filesystem.groups]).toEqual([]);
  });
});

test('a table of descriptors full of damage is a screen of findings, and a last one with the number of the others', async () => {
  const options = ['-b', '1024', '-O', 'none,extent,sparse_super', '-g', '256'];
  const image = formatSample(join(temporaryFolder(), 'a.raw'), 64 * MIB, ...options);
  writeAt(image, 2 * KIB, Buffer.alloc(8 * KIB, 0xff));
  const { filesystem, findings } = await open(image);
  expect([...filesystem.groups]).toEqual([]);
  expect(findings).toHaveLength(21);
  expect(new Set(codesOf(findings))).toEqual(new Set(['group-descriptor-blocks']));
  expect(findings.at(-1)?.structure).toBe(
    `${filesystem.groups.length - 20} more, up to group descriptor 255`,
  );
});

describe('the fixtures', () => {
  const expected: Readonly<Record<string, readonly string[]>> = {
    'ext3-needs-recovery': ['journal-needs-recovery'],
    'ext4-needs-recovery': ['journal-needs-recovery'],
    'ext4-not-clean': ['not-clean'],
    'ext4-with-errors': ['has-errors'],
    'ext4-orphans': ['orphan-inodes'],
    'ext4-unknown-compatible': ['unknown-compatible-feature'],
    'ext4-unknown-read-only-compatible': ['unknown-read-only-feature'],
  };
  test('have the findings that they are named for, and no others', async () => {
    const found: Record<string, readonly string[]> = {};
    for (const name of readableFixtures()) {
      const { findings } = await openBytes(fixtureBytes(name));
      if (findings.length > 0) found[name] = codesOf(findings);
    }
    expect(found).toEqual(expected);
  });

  const refused: Readonly<Record<string, string>> = {
    'refused-compression': 'the incompatible features compression',
    'refused-dirdata': 'the incompatible features dirdata',
    'refused-empty-disk': 's_magic 0x0',
    'refused-journal-device': 'the incompatible features journal_dev',
    'refused-no-superblock': 's_magic 0x0',
    'refused-unknown-incompat': 'the incompatible features FEATURE_I31',
  };
  test('that are refused name the reason', async () => {
    const names = fixtureNames().filter((name) => name.startsWith('refused-'));
    expect(names.sort()).toEqual(Object.keys(refused));
    for (const name of names) {
      await expect(openBytes(fixtureBytes(name)), name).rejects.toMatchObject({
        kind: 'image',
        context: { found: refused[name] },
      });
    }
  });

  test('that are damaged by their functions are told with the places', async () => {
    const { findings } = await openBytes(fixtureBytes('ext4-with-errors'));
    expect(findings[0]?.found).toBe(
      '3 errors; first at 1000000001 s in ext4_lookup:1788; last at 1000000002 s in ext4_find_extent:935',
    );
  });
});

test('text from the image is escaped and cut in findings', async () => {
  const image = sample('-O', WITHOUT_CHECKSUMS);
  const bytes = readSuperblock(image);
  const evil = Buffer.alloc(32, 'x');
  evil.write('\u001b[2J\u202e');
  superBlock.set(bytes, 's_first_error_func', evil);
  superBlock.set(bytes, 's_first_error_time', 7);
  superBlock.set(bytes, 's_state', 3);
  writeAt(image, SUPERBLOCK_OFFSET_BYTES, bytes);
  const [finding] = (await open(image)).findings;
  expect(finding?.found).toMatch(/^[ -~]+$/);
  expect(finding?.found).toContain('\\x1b[2J\\x202e');
});

test('the judge sees what was changed', () => {
  const image = sample('-O', WITHOUT_CHECKSUMS);
  changeDescriptor(image, 0, { bg_free_inodes_count_lo: 7 });
  expect(ask(image, 'show_super_stats')).toContain('7 free inodes');
});
