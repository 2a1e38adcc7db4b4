import { throwErrors, type ReportFinding } from '../findings.js';
import { viewOf } from '../struct.js';
import { checkedBytes } from '../units.js';
import { crc32c } from './crc32c.js';
import {
  READABLE_FEATURES,
  featureNames,
  hasFeature,
  unreadable,
  type FeatureNames,
  type Features,
} from './features.js';
import {
  COMPAT_HAS_JOURNAL,
  COMPAT_SPARSE_SUPER2,
  EXT_MAGIC,
  INCOMPAT_64BIT,
  INCOMPAT_CSUM_SEED,
  INCOMPAT_META_BG,
  RO_COMPAT_METADATA_CSUM,
  RO_COMPAT_SPARSE_SUPER,
  superBlock,
} from './layout.js';
import { CHECKSUM_TYPE_CRC32C, REVISION_DYNAMIC } from './superblock-values.js';
import { decodeFacts, type SuperblockFacts } from './superblock-facts.js';
import { fieldFinding, hex, refusal, wide, type RawSuperblock } from './superblock-field.js';
import { decodeGeometry, type Geometry } from './superblock-geometry.js';
import { reportFeatures, reportState } from './superblock-state.js';

export type { FeatureNames, Features } from './features.js';

/** What the rest of the program knows of a superblock: checked, in our words, with units. */
export interface Superblock extends Geometry, SuperblockFacts {
  /** In blocks, also with `bigalloc`. */
  readonly freeBlockCount: number;
  readonly freeInodeCount: number;
  /** Only root gets these. */
  readonly reservedBlockCount: number;
  /** `metadata_csum`, with the checksum that we know: whatever has a checksum can be checked. */
  readonly hasMetadataChecksums: boolean;
  /** What every CRC-32C of metadata but the superblock's own continues from. */
  readonly checksumSeed: number;
  /** The three sets of feature bits. */
  readonly features: Features;
  readonly featureNames: FeatureNames;
  /** Groups that hold a copy of the superblock, in order, besides group 0. */
  readonly backupGroups: readonly number[];
  /**
   * With `meta_bg`: the number of the first block of descriptors that is not behind the superblock but in the groups
   * that it describes. Undefined without.
   */
  readonly firstMetaGroup: number | undefined;
  /** Behind each copy of the descriptors, for growing. */
  readonly reservedDescriptorBlocks: number;
  /** 0 without a journal in the file system. */
  readonly journalInodeNumber: number;
}

const ALL_ONES = 0xffffffff;

/**
 * Where `mke2fs` puts copies of the superblock (e2fsprogs, lib/ext2fs/closefs.c, ext2fs_bg_has_super): in the two
 * groups that `sparse_super2` names, if any; with `sparse_super` in group 1 and the powers of 3, 5 and 7; else in
 * every group.
 */
function backupGroups(features: Features, groupCount: number, named: Uint8Array): number[] {
  const groups = new Set<number>();
  if (hasFeature(features.compat, COMPAT_SPARSE_SUPER2)) {
    const numbers = viewOf(named);
    for (let at = 0; at < named.length; at += Uint32Array.BYTES_PER_ELEMENT) {
      groups.add(numbers.getUint32(at, true));
    }
    return [...groups].filter((group) => group > 0 && group < groupCount).sort((a, b) => a - b);
  }
  if (!hasFeature(features.roCompat, RO_COMPAT_SPARSE_SUPER)) {
    return Array.from({ length: groupCount - 1 }, (_, index) => index + 1);
  }
  if (groupCount > 1) groups.add(1);
  for (const base of [3, 5, 7]) {
    for (let group = base; group < groupCount; group *= base) groups.add(group);
  }
  return [...groups].sort((a, b) => a - b);
}

function requireReadable(raw: RawSuperblock, names: FeatureNames): void {
  if (raw.s_magic !== EXT_MAGIC) throw refusal('s_magic', `s_magic ${hex(raw.s_magic)}`, hex(EXT_MAGIC));
  if (raw.s_rev_level > REVISION_DYNAMIC) {
    throw refusal('s_rev_level', `s_rev_level ${raw.s_rev_level}`, `at most ${REVISION_DYNAMIC}`);
  }
  const unknown = unreadable(names);
  if (unknown.length > 0) {
    const found = `the incompatible features ${unknown.join(', ')}`;
    throw refusal('s_feature_incompat', found, `none but ${READABLE_FEATURES}`);
  }
}

/** @returns whether checksums can be checked at all */
function checkChecksum(
  buffer: Uint8Array,
  raw: RawSuperblock,
  features: Features,
  report: ReportFinding,
): boolean {
  if (!hasFeature(features.roCompat, RO_COMPAT_METADATA_CSUM)) return false;
  if (raw.s_checksum_type !== CHECKSUM_TYPE_CRC32C) {
    const found = `s_checksum_type ${raw.s_checksum_type}`;
    report(fieldFinding('error', 'checksum-type', 's_checksum_type', found, '1 (CRC-32C)'));
    return false;
  }
  const computed = crc32c(ALL_ONES, buffer.subarray(0, superBlock.rows.s_checksum[0]));
  if (computed !== raw.s_checksum) {
    const found = `s_checksum ${hex(raw.s_checksum)}`;
    report(fieldFinding('error', 'superblock-checksum', 's_checksum', found, hex(computed)));
  }
  return true;
}

function decodeCounts(raw: RawSuperblock, features: Features, geometry: Geometry, report: ReportFinding) {
  const has64bit = hasFeature(features.incompat, INCOMPAT_64BIT);
  const total = (low: number, high: number): number => wide(low, has64bit ? high : 0);
  const freeBlockCount = total(raw.s_free_blocks_count_lo, raw.s_free_blocks_count_hi);
  const reservedBlockCount = total(raw.s_r_blocks_count_lo, raw.s_r_blocks_count_hi);
  const { blockCount, inodeCount } = geometry;
  // The last cluster may reach past the end.
  if (freeBlockCount > blockCount + geometry.blocksPerCluster - 1) {
    const found = `${freeBlockCount} free blocks`;
    report(
      fieldFinding('error', 'free-block-count', 's_free_blocks_count_lo', found, `${blockCount} at most`),
    );
  }
  if (reservedBlockCount > blockCount) {
    const found = `${reservedBlockCount} reserved blocks`;
    report(
      fieldFinding('error', 'reserved-block-count', 's_r_blocks_count_lo', found, `${blockCount} at most`),
    );
  }
  if (raw.s_free_inodes_count > inodeCount) {
    const found = `${raw.s_free_inodes_count} free inodes`;
    report(fieldFinding('error', 'free-inode-count', 's_free_inodes_count', found, `${inodeCount} at most`));
  }
  return { freeBlockCount, reservedBlockCount, freeInodeCount: raw.s_free_inodes_count };
}

/** How many blocks of descriptors stand behind the superblock, and how many are kept free behind them. */
function decodeDescriptorBlocks(
  raw: RawSuperblock,
  features: Features,
  geometry: Geometry,
  report: ReportFinding,
): Pick<Superblock, 'firstMetaGroup' | 'reservedDescriptorBlocks'> {
  // The block of pointers to them has no room for more (fs/ext4/super.c).
  const mostReserved = geometry.blockBytes / Uint32Array.BYTES_PER_ELEMENT;
  const reserved = raw.s_reserved_gdt_blocks;
  if (reserved > mostReserved) {
    const found = `${reserved} reserved descriptor blocks`;
    report(
      fieldFinding(
        'error',
        'reserved-descriptor-blocks',
        's_reserved_gdt_blocks',
        found,
        `${mostReserved} at most`,
      ),
    );
  }
  const reservedDescriptorBlocks = reserved > mostReserved ? 0 : reserved;
  if (!hasFeature(features.incompat, INCOMPAT_META_BG)) {
    return { firstMetaGroup: undefined, reservedDescriptorBlocks };
  }
  const blocks = Math.ceil((geometry.groupCount * geometry.descriptorBytes) / geometry.blockBytes);
  if (raw.s_first_meta_bg > blocks) {
    const found = `s_first_meta_bg ${raw.s_first_meta_bg}`;
    report(fieldFinding('error', 'first-meta-group', 's_first_meta_bg', found, `${blocks} at most`));
  }
  return { firstMetaGroup: Math.min(raw.s_first_meta_bg, blocks), reservedDescriptorBlocks: 0 };
}

/**
 * Decodes and checks the 1024 bytes of a superblock.
 *
 * @param buffer starts with the superblock; not kept and not changed
 * @param report is told of everything that can be read past; by default the first error ends the reading
 * @throws PatchVdiError `image` that names the field, what it held and what it may hold
 */
export function decodeSuperblock(buffer: Uint8Array, report: ReportFinding = throwErrors): Superblock {
  const raw = superBlock.decode(buffer);
  const features: Features = {
    compat: raw.s_feature_compat,
    incompat: raw.s_feature_incompat,
    roCompat: raw.s_feature_ro_compat,
  };
  const names = featureNames(features);
  requireReadable(raw, names);
  const hasMetadataChecksums = checkChecksum(buffer, raw, features, report);
  const geometry = decodeGeometry(raw, features, report);
  const facts = decodeFacts(raw, features);
  reportFeatures(names, facts.revision, report);
  reportState(facts, report);
  const ownSeed = hasFeature(features.incompat, INCOMPAT_CSUM_SEED);
  return {
    ...geometry,
    ...facts,
    ...decodeCounts(raw, features, geometry, report),
    ...decodeDescriptorBlocks(raw, features, geometry, report),
    hasMetadataChecksums,
    checksumSeed: ownSeed ? raw.s_checksum_seed : crc32c(ALL_ONES, raw.s_uuid),
    features,
    featureNames: names,
    backupGroups: backupGroups(features, geometry.groupCount, raw.s_backup_bgs),
    journalInodeNumber: hasFeature(features.compat, COMPAT_HAS_JOURNAL) ? raw.s_journal_inum : 0,
  };
}

/** Bytes of the whole group descriptor table. */
export function descriptorTableBytes(superblock: Geometry): number {
  return checkedBytes(superblock.groupCount * superblock.descriptorBytes);
}
