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
  INCOMPAT_CSUM_SEED,
  RO_COMPAT_METADATA_CSUM,
  RO_COMPAT_SPARSE_SUPER,
  superBlock,
} from './layout.js';
import { CHECKSUM_TYPE_CRC32C, REVISION_DYNAMIC } from './superblock-values.js';
import {
  decodeCounts,
  decodeDescriptorBlocks,
  type DescriptorPlaces,
  type FilesystemCounts,
} from './superblock-counts.js';
import { decodeFacts, type SuperblockFacts } from './superblock-facts.js';
import { fieldFinding, hex, refusal, type RawSuperblock } from './superblock-field.js';
import { decodeGeometry, type Geometry } from './superblock-geometry.js';
import { reportFeatures, reportState } from './superblock-state.js';

export type { FeatureNames, Features } from './features.js';

/** What the rest of the program knows of a superblock: checked, in our words, with units. */
export interface Superblock extends Geometry, SuperblockFacts, FilesystemCounts, DescriptorPlaces {
  /** `metadata_csum`, with the checksum that we know: whatever has a checksum can be checked. */
  readonly hasMetadataChecksums: boolean;
  /** What every CRC-32C of metadata but the superblock's own continues from. */
  readonly checksumSeed: number;
  /** The three sets of feature bits. */
  readonly features: Features;
  readonly featureNames: FeatureNames;
  /** Groups that hold a copy of the superblock, in order, besides group 0. */
  readonly backupGroups: readonly number[];
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
