import { hasFeature, type Features } from './features.js';
import {
  COMPAT_ORPHAN_FILE,
  INCOMPAT_MMP,
  INCOMPAT_RECOVER,
  RO_COMPAT_METADATA_CSUM,
  RO_COMPAT_ORPHAN_PRESENT,
  RO_COMPAT_QUOTA,
} from './layout.js';
import {
  CHECKSUM_TYPE_CRC32C,
  CREATOR_OS_NAMES,
  DEFAULT_MOUNT_OPTIONS,
  HASH_NAMES,
  JOURNAL_MODES,
  JOURNAL_MODE_MASK,
  STATE_CLEAN,
  STATE_ERRORS,
  STATE_ORPHANS,
} from './superblock-values.js';
import type { RawSuperblock } from './superblock-field.js';

/** `s_state`. */
export interface FilesystemState {
  /** It was unmounted, or never mounted. */
  readonly clean: boolean;
  /** The kernel met damage. */
  readonly errors: boolean;
  /** Orphans are being recovered. */
  readonly orphans: boolean;
}

/** Damage that the kernel met, and where. */
export interface RecordedError {
  readonly timeSeconds: number | undefined;
  /** Of the kernel; text from the image, never printed unescaped. */
  readonly functionName: string;
  readonly line: number;
  /** 0: none was named. */
  readonly inodeNumber: number;
  /** Absurd ones, above 2^53, are not exact. */
  readonly block: number;
  /** The kernel's number for the kind of error (EXT4_ERR_*); 0: not told. */
  readonly errorCode: number;
}

/** What a superblock tells of the life of its file system; nothing here is needed to read it. */
export interface SuperblockFacts {
  /** `s_rev_level`: 0 original, 1 dynamic. */
  readonly revision: number;
  readonly state: FilesystemState;
  /** The journal holds changes that are to be written to their places. */
  readonly needsRecovery: boolean;
  /** The first of the inodes that were removed while open; 0: none. */
  readonly firstOrphanInode: number;
  /** The orphan file holds inodes. */
  readonly orphansPresent: boolean;
  /** `Linux`, or `unknown (7)`. */
  readonly creatorOs: string;
  /** Seconds since 1970; undefined where the superblock has 0. The same for the next three. */
  readonly createdSeconds: number | undefined;
  readonly mountedSeconds: number | undefined;
  readonly writtenSeconds: number | undefined;
  readonly checkedSeconds: number | undefined;
  readonly mountCount: number;
  /** Mounts after which a check is due; undefined: no such limit. */
  readonly maxMountCount: number | undefined;
  /** 0: none. */
  readonly checkIntervalSeconds: number;
  readonly errorCount: number;
  readonly firstError: RecordedError | undefined;
  readonly lastError: RecordedError | undefined;
  /** A path on the host that mounted it last; text from the image, never printed unescaped. */
  readonly lastMounted: string;
  /** Up to 16 bytes before the first NUL, decoded as UTF-8; unprintable characters are as they stand. */
  readonly label: string;
  /** 16 bytes, a copy. */
  readonly uuid: Uint8Array;
  /** 16 bytes, a copy; undefined: all zeros, the journal is not elsewhere. */
  readonly journalUuid: Uint8Array | undefined;
  /** The number of the device that has the journal; 0: none. */
  readonly journalDevice: number;
  /** Of users, groups and projects; 0: none. */
  readonly quotaInodeNumbers: readonly [number, number, number];
  /** 0: none. */
  readonly orphanFileInodeNumber: number;
  /** Groups whose metadata is packed together; undefined without `flex_bg`, or for a nonsensical size. */
  readonly groupsPerFlexGroup: number | undefined;
  /** `half_md4`, or `unknown (7)`. */
  readonly hashVersion: string;
  /** undefined without `metadata_csum`. */
  readonly checksumType: string | undefined;
  /** As tune2fs -o has them. */
  readonly defaultMountOptions: readonly string[];
  /** `s_mount_opts`: more options that a kernel takes from the image itself; never printed unescaped. Empty: none. */
  readonly mountOptions: string;
  /** undefined: not set. */
  readonly raidStrideBlocks: number | undefined;
  readonly raidStripeWidthBlocks: number | undefined;
  /** The block against multiple mounts; undefined without `mmp`. */
  readonly mmp: { readonly block: number; readonly updateIntervalSeconds: number } | undefined;
}

// Our read-back compares a label with what was asked for, so a byte order mark must not get lost.
const UTF8 = new TextDecoder('utf-8', { ignoreBOM: true });

function textOf(field: Uint8Array): string {
  const end = field.indexOf(0);
  return UTF8.decode(end === -1 ? field : field.subarray(0, end));
}

function timeOf(low: number, high: number): number | undefined {
  const seconds = low + high * 2 ** 32;
  return seconds === 0 ? undefined : seconds;
}

function nameOf(names: readonly string[], number: number): string {
  return names[number] ?? `unknown (${number})`;
}

function orUndefined(value: number): number | undefined {
  return value === 0 ? undefined : value;
}

function mountOptions(bits: number): string[] {
  const mode = JOURNAL_MODES[bits & JOURNAL_MODE_MASK];
  const options = mode === undefined ? [] : [mode];
  for (let number = 0; number < 32; number += 1) {
    const bit = 2 ** number;
    if (!hasFeature(bits, bit) || hasFeature(JOURNAL_MODE_MASK, bit)) continue;
    options.push(DEFAULT_MOUNT_OPTIONS[bit] ?? `MNTOPT_${number}`);
  }
  return options;
}

function recordedErrors(
  raw: RawSuperblock,
): Pick<SuperblockFacts, 'errorCount' | 'firstError' | 'lastError'> {
  const first = {
    timeSeconds: timeOf(raw.s_first_error_time, raw.s_first_error_time_hi),
    functionName: textOf(raw.s_first_error_func),
    line: raw.s_first_error_line,
    inodeNumber: raw.s_first_error_ino,
    block: Number(raw.s_first_error_block),
    errorCode: raw.s_first_error_errcode,
  };
  const last = {
    timeSeconds: timeOf(raw.s_last_error_time, raw.s_last_error_time_hi),
    functionName: textOf(raw.s_last_error_func),
    line: raw.s_last_error_line,
    inodeNumber: raw.s_last_error_ino,
    block: Number(raw.s_last_error_block),
    errorCode: raw.s_last_error_errcode,
  };
  return {
    errorCount: raw.s_error_count,
    firstError: first.timeSeconds === undefined ? undefined : first,
    lastError: last.timeSeconds === undefined ? undefined : last,
  };
}

const NO_LIMIT = 0x8000;
const MAX_LOG_GROUPS_PER_FLEX = 31;

function groupsPerFlexGroup(log: number): number | undefined {
  return log === 0 || log > MAX_LOG_GROUPS_PER_FLEX ? undefined : 2 ** log;
}

/** Decodes what a report shows besides the geometry. Nothing here can fail. */
export function decodeFacts(raw: RawSuperblock, features: Features): SuperblockFacts {
  const type = raw.s_checksum_type;
  const checksumType = type === CHECKSUM_TYPE_CRC32C ? 'crc32c' : `unknown (${type})`;
  return {
    revision: raw.s_rev_level,
    state: {
      clean: hasFeature(raw.s_state, STATE_CLEAN),
      errors: hasFeature(raw.s_state, STATE_ERRORS),
      orphans: hasFeature(raw.s_state, STATE_ORPHANS),
    },
    needsRecovery: hasFeature(features.incompat, INCOMPAT_RECOVER),
    firstOrphanInode: raw.s_last_orphan,
    orphansPresent: hasFeature(features.roCompat, RO_COMPAT_ORPHAN_PRESENT),
    creatorOs: nameOf(CREATOR_OS_NAMES, raw.s_creator_os),
    createdSeconds: timeOf(raw.s_mkfs_time, raw.s_mkfs_time_hi),
    mountedSeconds: timeOf(raw.s_mtime, raw.s_mtime_hi),
    writtenSeconds: timeOf(raw.s_wtime, raw.s_wtime_hi),
    checkedSeconds: timeOf(raw.s_lastcheck, raw.s_lastcheck_hi),
    mountCount: raw.s_mnt_count,
    // Signed: mke2fs writes -1.
    maxMountCount:
      raw.s_max_mnt_count === 0 || raw.s_max_mnt_count >= NO_LIMIT ? undefined : raw.s_max_mnt_count,
    checkIntervalSeconds: raw.s_checkinterval,
    ...recordedErrors(raw),
    lastMounted: textOf(raw.s_last_mounted),
    label: textOf(raw.s_volume_name),
    uuid: new Uint8Array(raw.s_uuid),
    journalUuid: raw.s_journal_uuid.every((byte) => byte === 0)
      ? undefined
      : new Uint8Array(raw.s_journal_uuid),
    journalDevice: raw.s_journal_dev,
    quotaInodeNumbers: hasFeature(features.roCompat, RO_COMPAT_QUOTA)
      ? [raw.s_usr_quota_inum, raw.s_grp_quota_inum, raw.s_prj_quota_inum]
      : [0, 0, 0],
    orphanFileInodeNumber: hasFeature(features.compat, COMPAT_ORPHAN_FILE) ? raw.s_orphan_file_inum : 0,
    groupsPerFlexGroup: groupsPerFlexGroup(raw.s_log_groups_per_flex),
    hashVersion: nameOf(HASH_NAMES, raw.s_def_hash_version),
    checksumType: hasFeature(features.roCompat, RO_COMPAT_METADATA_CSUM) ? checksumType : undefined,
    defaultMountOptions: mountOptions(raw.s_default_mount_opts),
    mountOptions: textOf(raw.s_mount_opts),
    raidStrideBlocks: orUndefined(raw.s_raid_stride),
    raidStripeWidthBlocks: orUndefined(raw.s_raid_stripe_width),
    mmp: hasFeature(features.incompat, INCOMPAT_MMP)
      ? { block: Number(raw.s_mmp_block), updateIntervalSeconds: raw.s_mmp_interval }
      : undefined,
  };
}
