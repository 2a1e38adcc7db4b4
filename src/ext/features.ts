import { RO_COMPAT_BIGALLOC, RO_COMPAT_GDT_CSUM, RO_COMPAT_METADATA_CSUM } from './layout.js';

/**
 * `s_feature_compat` by bit, with the names of e2fsprogs (lib/e2p/feature.c), which users know from mke2fs and
 * dumpe2fs. The same for the two sets below.
 */
const COMPAT_FEATURES: Readonly<Record<number, string>> = {
  0x1: 'dir_prealloc',
  0x2: 'imagic_inodes',
  0x4: 'has_journal',
  0x8: 'ext_attr',
  0x10: 'resize_inode',
  0x20: 'dir_index',
  0x40: 'lazy_bg',
  0x100: 'snapshot_bitmap',
  0x200: 'sparse_super2',
  0x400: 'fast_commit',
  0x800: 'stable_inodes',
  0x1000: 'orphan_file',
};

/** `s_feature_incompat`, the bits the kernel defines ("Super Block", "Incompatible feature set"). */
const INCOMPAT_FEATURES: Readonly<Record<number, string>> = {
  0x1: 'compression',
  0x2: 'filetype',
  0x4: 'needs_recovery',
  0x8: 'journal_dev',
  0x10: 'meta_bg',
  0x40: 'extent',
  0x80: '64bit',
  0x100: 'mmp',
  0x200: 'flex_bg',
  0x400: 'ea_inode',
  0x1000: 'dirdata',
  0x2000: 'metadata_csum_seed',
  0x4000: 'large_dir',
  0x8000: 'inline_data',
  0x10000: 'encrypt',
  0x20000: 'casefold',
};

/** `s_feature_ro_compat` */
const RO_COMPAT_FEATURES: Readonly<Record<number, string>> = {
  0x1: 'sparse_super',
  0x2: 'large_file',
  0x8: 'huge_file',
  0x10: 'uninit_bg',
  0x20: 'dir_nlink',
  0x40: 'extra_isize',
  0x100: 'quota',
  0x200: 'bigalloc',
  0x400: 'metadata_csum',
  0x800: 'replica',
  0x1000: 'read-only',
  0x2000: 'project',
  0x4000: 'shared_blocks',
  0x8000: 'verity',
  0x10000: 'orphan_present',
};

/** `s_feature_compat`, `s_feature_incompat`, `s_feature_ro_compat`. */
export interface Features {
  readonly compat: number;
  readonly incompat: number;
  readonly roCompat: number;
}

/** The same by name, lowest bit first; a bit without a name is `FEATURE_C31`, as dumpe2fs writes it. */
export interface FeatureNames {
  readonly compat: readonly string[];
  readonly incompat: readonly string[];
  readonly roCompat: readonly string[];
}

/** Without these the content of a file can be told; any other incompatible feature is refused by name. */
const READABLE_INCOMPAT: ReadonlySet<string> = new Set([
  'filetype',
  'needs_recovery',
  'meta_bg',
  'extent',
  '64bit',
  'mmp',
  'flex_bg',
  'ea_inode',
  'metadata_csum_seed',
  'large_dir',
  'inline_data',
  'encrypt',
  'casefold',
]);

/** Whether a bit of a set of 32 is set; `bit` is its value, such as 0x80000000. */
export function hasFeature(bits: number, bit: number): boolean {
  return (bits & bit) !== 0;
}

function namesOf(bits: number, names: Readonly<Record<number, string>>, letter: string): string[] {
  const found: string[] = [];
  for (let number = 0; number < 32; number += 1) {
    const bit = 2 ** number;
    if (hasFeature(bits, bit)) found.push(names[bit] ?? `FEATURE_${letter}${number}`);
  }
  return found;
}

export function featureNames({ compat, incompat, roCompat }: Features): FeatureNames {
  return {
    compat: namesOf(compat, COMPAT_FEATURES, 'C'),
    incompat: namesOf(incompat, INCOMPAT_FEATURES, 'I'),
    roCompat: namesOf(roCompat, RO_COMPAT_FEATURES, 'R'),
  };
}

/** The names of features that nobody has named yet. */
export function unnamed(names: readonly string[]): string[] {
  return names.filter((name) => name.startsWith('FEATURE_'));
}

/** The incompatible features that this reader does not know. */
export function unreadable({ incompat }: FeatureNames): string[] {
  return incompat.filter((name) => !READABLE_INCOMPAT.has(name));
}

/** For messages. */
export const READABLE_FEATURES = [...READABLE_INCOMPAT].join(', ');

/**
 * How the group descriptors are protected. Only where they are do `bg_flags` and `bg_itable_unused` count. With both
 * features the newer one counts.
 */
export function descriptorChecksum({ roCompat }: Features): 'crc32c' | 'crc16' | undefined {
  if (hasFeature(roCompat, RO_COMPAT_METADATA_CSUM)) return 'crc32c';
  return hasFeature(roCompat, RO_COMPAT_GDT_CSUM) ? 'crc16' : undefined;
}

export function hasClusters({ roCompat }: Features): boolean {
  return hasFeature(roCompat, RO_COMPAT_BIGALLOC);
}
