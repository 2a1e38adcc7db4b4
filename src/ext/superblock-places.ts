import { KIB, MIB } from '../units.js';
import { EXT_MAGIC, INCOMPAT_64BIT, SUPERBLOCK_OFFSET_BYTES, superBlock } from './layout.js';

/*
 * Where superblocks can be, primary and backups: what must be destroyed before nobody can mount (`sb=N`) or check
 * (`-b N`) an old file system any more. Hostile or half-destroyed file systems are the normal case here, so this
 * reads as little as it can: the magic number, and the geometry if it makes sense.
 */

/** SPARSE_SUPER and SPARSE_SUPER2 (Linux, Documentation/filesystems/ext4, "The Super Block"). */
const RO_COMPAT_SPARSE_SUPER = 0x1;
const COMPAT_SPARSE_SUPER2 = 0x200;
/** Smaller groups are made by no mke2fs; the bound keeps the work for a nonsensical superblock finite. */
const MIN_BLOCKS_PER_GROUP = 256;

/** mke2fs: as many blocks as a bitmap of one block has bits, and as a descriptor can count in 16 bits. */
function defaultBlocksPerGroup(blockBytes: number): number {
  return Math.min(8 * blockBytes, 65_528);
}

/**
 * With blocks up to 4 KiB, groups of the default size start on a multiple of this: 8 MiB apart with 1 KiB blocks,
 * 32 MiB with 2 KiB, 128 MiB with 4 KiB.
 */
const COMMON_STEP_BYTES = 8 * MIB;
const LARGE_BLOCKS = [8 * KIB, 16 * KIB, 32 * KIB, 64 * KIB];

/**
 * Where groups of the default size start on a disk of that size, whatever the block size; in bytes. A backup stands in
 * the first block of its group; with 1 KiB blocks group 0 starts at block 1, and so do all others 1 KiB later.
 */
export function* defaultGroupStarts(diskBytes: number): Generator<number> {
  const steps = LARGE_BLOCKS.map((blockBytes) => defaultBlocksPerGroup(blockBytes) * blockBytes);
  for (const step of [COMMON_STEP_BYTES, ...steps]) {
    for (let offset = 0; offset < diskBytes; offset += step) yield offset;
  }
}

/** Bytes from each of these starts in which a superblock may be. */
export const GROUP_WINDOW_BYTES = 2 * KIB;

/** Offsets within a window at which a superblock starts, as its magic number says. */
export function superblocksIn(window: Uint8Array): number[] {
  const [magicOffset] = superBlock.rows.s_magic;
  const starts: number[] = [];
  for (let at = 0; at + superBlock.sizeBytes <= window.length; at += SUPERBLOCK_OFFSET_BYTES) {
    const low = window[at + magicOffset] ?? 0;
    const high = window[at + magicOffset + 1] ?? 0;
    if (low + high * 256 === EXT_MAGIC) starts.push(at);
  }
  return starts;
}

/** What places the backups of one file system. */
export interface BackupGeometry {
  readonly blockBytes: number;
  readonly firstDataBlock: number;
  readonly blocksPerGroup: number;
  readonly groupCount: number;
  /** Undefined: every group has one. */
  readonly groups: readonly number[] | undefined;
  /** The groups have the default size: {@link defaultGroupStarts} has them all. */
  readonly defaultGroups: boolean;
}

function powersBelow(base: number, limit: number): number[] {
  const powers: number[] = [];
  for (let power = base; power < limit; power *= base) powers.push(power);
  return powers;
}

/**
 * The geometry that a superblock tells, whatever features it has and whoever wrote it.
 *
 * @param bytes 1024 of them, from the superblock's start
 * @returns undefined when it makes no sense
 */
export function backupGeometry(bytes: Uint8Array): BackupGeometry | undefined {
  const raw = superBlock.decode(bytes);
  if (raw.s_magic !== EXT_MAGIC || raw.s_log_block_size > 6) return undefined;
  if (raw.s_blocks_per_group < MIN_BLOCKS_PER_GROUP || raw.s_first_data_block > 1) return undefined;
  const high = (raw.s_feature_incompat & INCOMPAT_64BIT) === 0 ? 0 : raw.s_blocks_count_hi;
  const blockCount = raw.s_blocks_count_lo + high * 2 ** 32;
  const groupCount = Math.ceil((blockCount - raw.s_first_data_block) / raw.s_blocks_per_group);
  let groups: number[] | undefined;
  if ((raw.s_feature_compat & COMPAT_SPARSE_SUPER2) !== 0) {
    const view = new DataView(raw.s_backup_bgs.buffer, raw.s_backup_bgs.byteOffset, 8);
    groups = [view.getUint32(0, true), view.getUint32(4, true)].filter((group) => group > 0);
  } else if ((raw.s_feature_ro_compat & RO_COMPAT_SPARSE_SUPER) !== 0) {
    groups = [1, ...[3, 5, 7].flatMap((base) => powersBelow(base, groupCount))];
  }
  const blockBytes = KIB * 2 ** raw.s_log_block_size;
  return {
    blockBytes,
    firstDataBlock: raw.s_first_data_block,
    blocksPerGroup: raw.s_blocks_per_group,
    groupCount,
    groups,
    defaultGroups: raw.s_blocks_per_group === defaultBlocksPerGroup(blockBytes),
  };
}

/** Offsets of the backups on a disk of that size, in bytes, in order; one at a time, for there may be many. */
export function* backupOffsets(geometry: BackupGeometry, diskBytes: number): Generator<number> {
  const { blockBytes, firstDataBlock, blocksPerGroup, groupCount, groups } = geometry;
  const offsetOf = (group: number): number => (firstDataBlock + group * blocksPerGroup) * blockBytes;
  const fits = (group: number): boolean =>
    group < groupCount && offsetOf(group) + superBlock.sizeBytes <= diskBytes;
  if (groups === undefined) {
    for (let group = 1; fits(group); group += 1) yield offsetOf(group);
  } else {
    for (const group of [...new Set(groups)].sort((a, b) => a - b)) if (fits(group)) yield offsetOf(group);
  }
}
