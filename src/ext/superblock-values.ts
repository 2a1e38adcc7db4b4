/* What the fields of a superblock may hold (Linux, Documentation/filesystems/ext4, "Super Block"). */

/** `s_rev_level`: fixed sizes and no features; everything since 1997 has 1. */
export const REVISION_ORIGINAL = 0;
export const REVISION_DYNAMIC = 1;
/** In revision 0, and the least that may be in 1. */
export const GOOD_OLD_INODE_BYTES = 128;
export const GOOD_OLD_FIRST_INODE = 11;

/** Bytes of a group descriptor without `64bit`; with it `s_desc_size` says. */
export const DESCRIPTOR_BYTES = 32;
export const MIN_DESCRIPTOR_BYTES_64BIT = 64;
export const MAX_DESCRIPTOR_BYTES = 1024;

/** `s_state` */
export const STATE_CLEAN = 0x1;
export const STATE_ERRORS = 0x2;
export const STATE_ORPHANS = 0x4;

/** `s_checksum_type`: the only one there is. */
export const CHECKSUM_TYPE_CRC32C = 1;

/** `s_creator_os` ("Super Block"), by number. */
export const CREATOR_OS_NAMES = ['Linux', 'Hurd', 'Masix', 'FreeBSD', 'Lites'] as const;
/** `s_def_hash_version`, by number. The unsigned ones are never stored: `s_flags` says which sign counts. */
export const HASH_NAMES = ['legacy', 'half_md4', 'tea'] as const;

/** `s_default_mount_opts`, all but the journal mode. */
export const DEFAULT_MOUNT_OPTIONS: Readonly<Record<number, string>> = {
  0x1: 'debug',
  0x2: 'bsdgroups',
  0x4: 'user_xattr',
  0x8: 'acl',
  0x10: 'uid16',
  0x100: 'nobarrier',
  0x200: 'block_validity',
  0x400: 'discard',
  0x800: 'nodelalloc',
};
/** The two bits of the journal mode in `s_default_mount_opts`. */
export const JOURNAL_MODE_MASK = 0x60;
export const JOURNAL_MODES: Readonly<Record<number, string>> = {
  0x20: 'journal_data',
  0x40: 'journal_data_ordered',
  0x60: 'journal_data_writeback',
};
