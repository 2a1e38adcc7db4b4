import type { Superblock } from '../ext/superblock.js';
import type { ImageFilesystem } from './image-filesystem.js';
import { isoSeconds, uuidText } from './uuid-text.js';

/** What `inspect` tells of a file system. */
export interface FilesystemReport {
  /** As mount(8) would name it: by its journal and features. */
  readonly type: 'ext2' | 'ext3' | 'ext4';
  readonly uuid: string;
  readonly label: string;
  /** `s_rev_level`: 0, or 1 with features and inodes of any size. */
  readonly revision: number;
  /** `clean`, `not clean`, `clean with errors`, …, as dumpe2fs has it. */
  readonly state: string;
  readonly needsRecovery: boolean;
  readonly blockBytes: number;
  readonly blockCount: number;
  readonly freeBlocks: number;
  readonly freeBytes: number;
  readonly reservedBlocks: number;
  readonly inodeBytes: number;
  readonly inodeCount: number;
  readonly freeInodes: number;
  readonly groupCount: number;
  readonly blocksPerGroup: number;
  /** By their official names, all three sets, as dumpe2fs prints them. */
  readonly features: readonly string[];
  readonly creatorOs: string;
  /** Times are ISO 8601 in UTC; undefined: never. */
  readonly made: string | undefined;
  readonly lastMounted: string | undefined;
  readonly lastWritten: string | undefined;
  readonly lastChecked: string | undefined;
  readonly mountCount: number;
  /** Folder where it was mounted last; empty when never. */
  readonly lastMountedOn: string;
  readonly errorCount: number;
}

/** Incompatible or read-only features that neither ext2 nor ext3 has. */
const EXT3_FEATURES = new Set([
  'ext_attr',
  'resize_inode',
  'dir_index',
  'filetype',
  'sparse_super',
  'large_file',
  'has_journal',
  'needs_recovery',
  'imagic_inodes',
  'dir_prealloc',
  'journal_dev',
  'meta_bg',
]);

function typeOf(features: readonly string[]): FilesystemReport['type'] {
  if (features.some((name) => !EXT3_FEATURES.has(name))) return 'ext4';
  return features.includes('has_journal') ? 'ext3' : 'ext2';
}

/** `s_state` in dumpe2fs's words. */
function stateText({ clean, errors, orphans }: Superblock['state']): string {
  const words = [
    clean ? 'clean' : 'not clean',
    ...(errors ? ['with errors'] : []),
    ...(orphans ? ['with orphans'] : []),
  ];
  return words.join(' ');
}

export function describeFilesystem({ superblock }: ImageFilesystem): FilesystemReport {
  const { compat, incompat, roCompat } = superblock.featureNames;
  const features = [...compat, ...incompat, ...roCompat];
  return {
    type: typeOf(features),
    uuid: uuidText(superblock.uuid),
    label: superblock.label,
    revision: superblock.revision,
    state: stateText(superblock.state),
    needsRecovery: superblock.needsRecovery,
    blockBytes: superblock.blockBytes,
    blockCount: superblock.blockCount,
    freeBlocks: superblock.freeBlockCount,
    freeBytes: superblock.freeBlockCount * superblock.blockBytes,
    reservedBlocks: superblock.reservedBlockCount,
    inodeBytes: superblock.inodeBytes,
    inodeCount: superblock.inodeCount,
    freeInodes: superblock.freeInodeCount,
    groupCount: superblock.groupCount,
    blocksPerGroup: superblock.blocksPerGroup,
    features,
    creatorOs: superblock.creatorOs,
    made: isoSeconds(superblock.createdSeconds),
    lastMounted: isoSeconds(superblock.mountedSeconds),
    lastWritten: isoSeconds(superblock.writtenSeconds),
    lastChecked: isoSeconds(superblock.checkedSeconds),
    mountCount: superblock.mountCount,
    lastMountedOn: superblock.lastMounted,
    errorCount: superblock.errorCount,
  };
}
