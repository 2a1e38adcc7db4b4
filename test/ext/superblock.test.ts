import { join } from 'node:path';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { crc32c } from '../../src/ext/crc32c.js';
import { superBlock } from '../../src/ext/layout.js';
import { decodeSuperblock, descriptorTableBytes } from '../../src/ext/superblock.js';
import { GIB, KIB, MIB } from '../../src/units.js';
import { change } from '../oracles/debugfs.js';
import { superblockFields } from '../oracles/dumpe2fs.js';
import { requireTool } from '../oracles/require-tool.js';
import { runJudge } from '../oracles/run-judge.js';
import { formatSample } from '../oracles/sample-image.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { WITHOUT_CHECKSUMS, formatWithPatch, readSuperblock } from './images.js';

vi.setConfig({ testTimeout: 30_000 });

beforeEach((context) => requireTool(context, 'mke2fs', 'debugfs', 'dumpe2fs'));

const seconds = (date: string | undefined): number => Date.parse(`${date} UTC`) / 1000;

/** Everything that our decoded superblock says, in dumpe2fs's words. */
function compareWithDumpe2fs(image: string): void {
  const theirs = superblockFields(image);
  const bytes = readSuperblock(image);
  const ours = decodeSuperblock(bytes);
  const number = (name: string): number => Number(theirs.get(name));
  const features = theirs.get('Filesystem features') ?? '';
  const groups = Math.ceil((number('Block count') - number('First block')) / number('Blocks per group'));
  const label = theirs.get('Filesystem volume name');
  const raw = superBlock.decode(bytes);
  expect(ours).toEqual({
    blockBytes: number('Block size'),
    blockCount: number('Block count'),
    freeBlockCount: number('Free blocks'),
    firstDataBlock: number('First block'),
    blocksPerGroup: number('Blocks per group'),
    inodesPerGroup: number('Inodes per group'),
    inodeCount: number('Inode count'),
    inodeBytes: theirs.has('Inode size') ? number('Inode size') : 128,
    groupCount: groups,
    descriptorBytes: features.includes('64bit') ? number('Group descriptor size') : 32,
    hasMetadataChecksums: features.includes('metadata_csum'),
    checksumSeed: crc32c(0xffffffff, raw.s_uuid),
    // Which bits they are: file-system features by name, in the tests of old file systems.
    features: {
      compat: raw.s_feature_compat,
      incompat: raw.s_feature_incompat,
      roCompat: raw.s_feature_ro_compat,
    },
    backupGroups: backupGroups(image),
    firstInodeNumber: number('First inode'),
    freeInodeCount: number('Free inodes'),
    journalInodeNumber: features.includes('has_journal') ? number('Journal inode') : 0,
    uuid: Uint8Array.from(Buffer.from(theirs.get('Filesystem UUID')?.replaceAll('-', '') ?? '', 'hex')),
    label: label === '<none>' ? '' : label,
  });
  expect(descriptorTableBytes(ours)).toBe(groups * ours.descriptorBytes);
  expect(raw.s_wtime).toBe(seconds(theirs.get('Last write time')));
  expect(raw.s_mkfs_time).toBe(seconds(theirs.get('Filesystem created')));
  expect(`0x${raw.s_magic.toString(16).toUpperCase()}`).toBe(theirs.get('Filesystem magic number'));
}

/** The groups that dumpe2fs says hold a copy of the superblock. */
function backupGroups(image: string): number[] {
  const { stdout } = runJudge('dumpe2fs', [image]);
  const groups = stdout.matchAll(/^Group (\d+):[^]*?(?=^Group |$(?![^]))/gm);
  return [...groups]
    .filter(([text]) => text.includes('Backup superblock'))
    .map(([, number]) => Number(number));
}

describe('what dumpe2fs says is what we decode', () => {
  test.for([
    ['ext4 with checksums', 64 * MIB, []],
    ['ext4 without checksums', 64 * MIB, ['-O', WITHOUT_CHECKSUMS]],
    ['blocks of 1 KiB, which start at block 1', 64 * MIB, ['-b', '1024']],
    ['blocks of 2 KiB', 64 * MIB, ['-b', '2048']],
    ['more groups, a label of 16 bytes', GIB, ['-L', 'sixteen bytes ok']],
    ['a label in UTF-8', 16 * MIB, ['-L', 'Größe']],
    ['a label that begins with a byte order mark', 16 * MIB, ['-L', '\uFEFFmark']],
    ['inodes of 128 bytes', 16 * MIB, ['-O', 'none,filetype,sparse_super', '-I', '128']],
    ['ext3 with a journal', 64 * MIB, ['-O', 'none,filetype,sparse_super,has_journal']],
    ['copies in groups 1, 3, 5, 7, 9, 25, 27 and 49', 7 * GIB, ['-O', 'none,filetype,sparse_super']],
    ['a copy in every group', GIB, ['-O', 'none,filetype']],
    ['two copies, as named', GIB, ['-O', 'none,filetype,sparse_super2']],
    ['no copy at all', GIB, ['-O', 'none,filetype,sparse_super2', '-E', 'num_backup_sb=0']],
    ['descriptors of 32 bytes', GIB, ['-O', 'none,filetype,extent,sparse_super']],
  ] as const)('%s', ([, sizeBytes, options]) => {
    const image = formatSample(join(temporaryFolder(), 'sample.raw'), sizeBytes, ...options);
    compareWithDumpe2fs(image);
  });

  test('block counts have an upper half', () => {
    const image = formatSample(join(temporaryFolder(), 'sample.raw'), 16 * MIB);
    change(image, 'set_super_value blocks_count_hi 1', 'set_super_value free_blocks_count_hi 1');
    const { blockCount, freeBlockCount } = decodeSuperblock(readSuperblock(image));
    expect(blockCount).toBe(2 ** 32 + 4096);
    expect(freeBlockCount).toBeGreaterThan(2 ** 32);
  });

  test('the template of the product', async () => {
    compareWithDumpe2fs(await formatWithPatch(temporaryFolder(), 64 * MIB, 5 * MIB));
  });
});

test('decoding neither changes nor keeps the buffer', () => {
  const image = formatSample(join(temporaryFolder(), 'sample.raw'), 16 * MIB);
  const bytes = readSuperblock(image);
  const before = Buffer.from(bytes);
  const { uuid } = decodeSuperblock(bytes);
  expect(bytes.equals(before)).toBe(true);
  const uuidBefore = Uint8Array.from(uuid);
  bytes.fill(0);
  expect(uuid).toEqual(uuidBefore);
});

test('the superblock is the first block also with blocks of 1 KiB: the descriptors come after it', () => {
  const image = formatSample(join(temporaryFolder(), 'sample.raw'), 16 * MIB, '-b', String(KIB));
  expect(decodeSuperblock(readSuperblock(image))).toMatchObject({ blockBytes: KIB, firstDataBlock: 1 });
});
