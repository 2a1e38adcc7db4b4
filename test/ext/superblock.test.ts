import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { crc32c } from '../../src/ext/crc32c.js';
import { featureNames } from '../../src/ext/features.js';
import { SUPERBLOCK_OFFSET_BYTES, superBlock } from '../../src/ext/layout.js';
import type { RecordedError } from '../../src/ext/superblock-facts.js';
import { decodeSuperblock, descriptorTableBytes } from '../../src/ext/superblock.js';
import type { Finding } from '../../src/findings.js';
import { GIB, KIB, MIB } from '../../src/units.js';
import { change } from '../oracles/debugfs.js';
import { groupsOf, superblockFields } from '../oracles/dumpe2fs.js';
import { requireTool } from '../oracles/require-tool.js';
import { runJudge } from '../oracles/run-judge.js';
import { formatSample, writeAt } from '../oracles/sample-image.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { readableFixtures, unpackFixture } from './fixture-images.js';
import { WITHOUT_CHECKSUMS, formatWithPatch, readSuperblock } from './images.js';

beforeEach((context) => requireTool(context, 'mke2fs', 'debugfs', 'dumpe2fs'));

type Fields = ReadonlyMap<string, string>;

const seconds = (date: string | undefined): number | undefined => {
  if (date === undefined || date === 'n/a') return undefined;
  const time = Date.parse(`${date} UTC`) / 1000;
  return time === 0 ? undefined : time;
};

/** What dumpe2fs says of the first or the last error; undefined when it says nothing. */
function errorIn(theirs: Fields, which: 'First' | 'Last'): RecordedError | undefined {
  if (!theirs.has(`${which} error time`)) return undefined;
  return {
    timeSeconds: seconds(theirs.get(`${which} error time`)),
    functionName: theirs.get(`${which} error function`) ?? '',
    line: Number(theirs.get(`${which} error line #`)),
    inodeNumber: Number(theirs.get(`${which} error inode #`) ?? 0),
    block: Number(theirs.get(`${which} error block #`) ?? 0),
    errorCode: 0,
  };
}

const wordsIn = (text: string | undefined): string[] =>
  (text ?? '').split(' ').filter((word) => word !== '' && word !== '(none)');

const uuidIn = (text: string | undefined): Uint8Array =>
  text === '<none>'
    ? new Uint8Array(16)
    : Uint8Array.from(Buffer.from((text ?? '').replaceAll('-', ''), 'hex'));

/** Everything that dumpe2fs says of sizes and counts. */
function expectedGeometry(theirs: Fields, features: readonly string[]) {
  const number = (name: string): number => Number(theirs.get(name));
  const optional = (name: string): number | undefined => (theirs.has(name) ? number(name) : undefined);
  const blockBytes = number('Block size');
  const clusterBytes = features.includes('bigalloc') ? number('Cluster size') : blockBytes;
  return {
    blockBytes,
    blockCount: number('Block count'),
    freeBlockCount: number('Free blocks'),
    reservedBlockCount: number('Reserved block count'),
    firstDataBlock: number('First block'),
    blocksPerGroup: number('Blocks per group'),
    clusterBytes,
    blocksPerCluster: clusterBytes / blockBytes,
    inodesPerGroup: number('Inodes per group'),
    inodeCount: number('Inode count'),
    freeInodeCount: number('Free inodes'),
    inodeBytes: optional('Inode size') ?? 128,
    firstInodeNumber: optional('First inode') ?? 11,
    groupCount: Math.ceil((number('Block count') - number('First block')) / number('Blocks per group')),
    descriptorBytes: features.includes('64bit') ? number('Group descriptor size') : 32,
    firstMetaGroup: features.includes('meta_bg') ? (optional('First meta block group') ?? 0) : undefined,
    reservedDescriptorBlocks: optional('Reserved GDT blocks') ?? 0,
    groupsPerFlexGroup: optional('Flex block group size'),
    raidStrideBlocks: optional('RAID stride'),
    raidStripeWidthBlocks: optional('RAID stripe width'),
    journalInodeNumber: features.includes('has_journal') ? (optional('Journal inode') ?? 0) : 0,
    journalDevice: optional('Journal device') ?? 0,
    quotaInodeNumbers: ['User', 'Group', 'Project'].map((whose) => optional(`${whose} quota inode`) ?? 0),
    orphanFileInodeNumber: optional('Orphan file inode') ?? 0,
    mmp: features.includes('mmp')
      ? { block: number('MMP block number'), updateIntervalSeconds: number('MMP update interval') }
      : undefined,
    errorCount: optional('FS Error count') ?? 0,
    firstOrphanInode: optional('First orphan inode') ?? 0,
    mountCount: number('Mount count'),
    maxMountCount: number('Maximum mount count') > 0 ? number('Maximum mount count') : undefined,
    checkIntervalSeconds: parseInt(theirs.get('Check interval') ?? '', 10),
    revision: parseInt(theirs.get('Filesystem revision #') ?? '', 10),
  };
}

/** Everything that dumpe2fs says in words. */
function expectedWords(theirs: Fields, features: readonly string[]) {
  const state = theirs.get('Filesystem state') ?? '';
  const label = theirs.get('Filesystem volume name');
  const lastMounted = theirs.get('Last mounted on');
  return {
    state: { clean: state.startsWith('clean'), errors: state.includes('with errors'), orphans: false },
    needsRecovery: features.includes('needs_recovery'),
    orphansPresent: features.includes('orphan_present'),
    creatorOs: theirs.get('Filesystem OS type'),
    createdSeconds: seconds(theirs.get('Filesystem created')),
    mountedSeconds: seconds(theirs.get('Last mount time')),
    writtenSeconds: seconds(theirs.get('Last write time')),
    checkedSeconds: seconds(theirs.get('Last checked')),
    firstError: errorIn(theirs, 'First'),
    lastError: errorIn(theirs, 'Last'),
    label: label === '<none>' ? '' : label,
    lastMounted: lastMounted === '<not available>' ? '' : lastMounted,
    uuid: uuidIn(theirs.get('Filesystem UUID')),
    journalUuid: theirs.has('Journal UUID') ? uuidIn(theirs.get('Journal UUID')) : undefined,
    hashVersion: theirs.get('Default directory hash') ?? 'legacy',
    defaultMountOptions: wordsIn(theirs.get('Default mount options')),
    mountOptions: theirs.get('Mount options') ?? '',
    hasMetadataChecksums: features.includes('metadata_csum'),
    checksumType: theirs.get('Checksum type'),
    checksumSeed: theirs.has('Checksum seed')
      ? Number(theirs.get('Checksum seed'))
      : crc32c(0xffffffff, uuidIn(theirs.get('Filesystem UUID'))),
  };
}

/** Everything that our decoded superblock says, in dumpe2fs's words. */
function compareWithDumpe2fs(image: string): void {
  const theirs = superblockFields(image);
  const bytes = readSuperblock(image);
  const findings: Finding[] = [];
  const ours = decodeSuperblock(bytes, (finding) => void findings.push(finding));
  const features = wordsIn(theirs.get('Filesystem features'));
  const raw = superBlock.decode(bytes);
  const { featureNames, ...rest } = ours;
  expect(rest).toEqual({
    ...expectedGeometry(theirs, features),
    ...expectedWords(theirs, features),
    features: {
      compat: raw.s_feature_compat,
      incompat: raw.s_feature_incompat,
      roCompat: raw.s_feature_ro_compat,
    },
    backupGroups: groupsOf(image).flatMap(({ index, superblock }) =>
      superblock === undefined || index === 0 ? [] : [index],
    ),
  });
  // dumpe2fs prints the three sets in the order in which they stand on disk.
  expect([...featureNames.compat, ...featureNames.incompat, ...featureNames.roCompat]).toEqual(features);
  expect(descriptorTableBytes(ours)).toBe(ours.groupCount * ours.descriptorBytes);
  expect(`0x${raw.s_magic.toString(16).toUpperCase()}`).toBe(theirs.get('Filesystem magic number'));
  expect(findings.filter(({ severity }) => severity === 'error')).toEqual([]);
}

describe('of every fixture we decode what dumpe2fs says', () => {
  test.for(readableFixtures())('%s', (name) => {
    compareWithDumpe2fs(unpackFixture(name, temporaryFolder()));
  });
});

describe('every feature bit has the name that dumpe2fs gives it', () => {
  test.for(['compat', 'incompat', 'ro_compat'] as const)('in feature_%s', (set) => {
    const image = formatSample(join(temporaryFolder(), 'bits.raw'), 16 * MIB, '-O', WITHOUT_CHECKSUMS);
    const all = 0xffffffff;
    const bytes = readSuperblock(image);
    superBlock.set(bytes, `s_feature_${set}`, all);
    writeAt(image, SUPERBLOCK_OFFSET_BYTES, bytes);
    const theirs = runJudge('dumpe2fs', ['-h', '-f', image]).stdout;
    const printed = wordsIn(/^Filesystem features: *(.*)$/m.exec(theirs)?.[1]);
    const raw = superBlock.decode(bytes);
    const ours = featureNames({
      compat: raw.s_feature_compat,
      incompat: raw.s_feature_incompat,
      roCompat: raw.s_feature_ro_compat,
    });
    expect([...ours.compat, ...ours.incompat, ...ours.roCompat]).toEqual(printed);
    expect(printed.length).toBeGreaterThan(32);
  });
});

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
    ['descriptors of 128 bytes', GIB, ['-E', 'desc_size=128']],
    ['a table of descriptors in many places', 7 * GIB, ['-O', `${WITHOUT_CHECKSUMS},meta_bg`]],
    ['clusters', 7 * GIB, ['-O', `${WITHOUT_CHECKSUMS},bigalloc`, '-C', '65536']],
    ['room to grow', GIB, ['-O', 'none,filetype,resize_inode,sparse_super']],
  ] as const)('%s', ([, sizeBytes, options]) => {
    const image = formatSample(join(temporaryFolder(), 'sample.raw'), sizeBytes, ...options);
    compareWithDumpe2fs(image);
  });

  test('block counts have an upper half', () => {
    const image = formatSample(join(temporaryFolder(), 'sample.raw'), 16 * MIB);
    change(image, 'set_super_value blocks_count_hi 1', 'set_super_value free_blocks_count_hi 1');
    const { blockCount, freeBlockCount } = decodeSuperblock(readSuperblock(image), () => undefined);
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
