import type { ReportFinding } from '../findings.js';
import { hasFeature, type Features } from './features.js';
import { INCOMPAT_64BIT, INCOMPAT_META_BG } from './layout.js';
import { fieldFinding, wide, type RawSuperblock } from './superblock-field.js';
import type { Geometry } from './superblock-geometry.js';

/** Totals, as the superblock has them: while a file system is mounted they are behind. */
export interface FilesystemCounts {
  /** In blocks, also with `bigalloc`. */
  readonly freeBlockCount: number;
  readonly freeInodeCount: number;
  /** Only root gets these. */
  readonly reservedBlockCount: number;
}

/** Where the group descriptors are, besides the geometry. */
export interface DescriptorPlaces {
  /**
   * With `meta_bg`: the number of the first block of descriptors that is not behind the superblock but in the groups
   * that it describes. Undefined without.
   */
  readonly firstMetaGroup: number | undefined;
  /** Behind each copy of the descriptors, for growing. */
  readonly reservedDescriptorBlocks: number;
}

/** Decodes the totals; those larger than what they count are reported. */
export function decodeCounts(
  raw: RawSuperblock,
  features: Features,
  geometry: Geometry,
  report: ReportFinding,
): FilesystemCounts {
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
export function decodeDescriptorBlocks(
  raw: RawSuperblock,
  features: Features,
  geometry: Geometry,
  report: ReportFinding,
): DescriptorPlaces {
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
