import { defineStruct } from '../struct.js';

/*
 * More of layout.ts, for whatever is in files and folders beyond their plainest form: checksums, indexes, attributes;
 * and the flags of inodes. Same sources, same names, little-endian as well.
 */

/** The last 4 bytes behind the room for `eh_max` entries, in blocks of an extent tree, not in inodes ("Extent Tree"). */
export const extentTail = defineStruct('ext4_extent_tail', 'little', 4, {
  et_checksum: [0x0, 'u32'],
});

/** The end of a block of directory entries with `metadata_csum`; it has the form of an unused entry ("Directory Entries"). */
export const directoryEntryTail = defineStruct('ext4_dir_entry_tail', 'little', 12, {
  det_reserved_zero1: [0x0, 'u32'],
  det_rec_len: [0x4, 'u16'],
  det_reserved_zero2: [0x6, 'u8'],
  det_reserved_ft: [0x7, 'u8'],
  det_checksum: [0x8, 'u32'],
});
export const DIRECTORY_TAIL_FILE_TYPE = 0xde;

/** The front of a hashed folder's first block, up to the index entries ("Hash Tree Directories"). */
export const dxRoot = defineStruct('dx_root', 'little', 32, {
  'dot.inode': [0x0, 'u32'],
  'dot.rec_len': [0x4, 'u16'],
  'dot.name_len': [0x6, 'u8'],
  'dot.file_type': [0x7, 'u8'],
  'dot.name': [0x8, { bytes: 4 }],
  'dotdot.inode': [0xc, 'u32'],
  'dotdot.rec_len': [0x10, 'u16'],
  'dotdot.name_len': [0x12, 'u8'],
  'dotdot.file_type': [0x13, 'u8'],
  'dotdot.name': [0x14, { bytes: 4 }],
  'info.reserved_zero': [0x18, 'u32'],
  'info.hash_version': [0x1c, 'u8'],
  'info.info_length': [0x1d, 'u8'],
  'info.indirect_levels': [0x1e, 'u8'],
  'info.unused_flags': [0x1f, 'u8'],
});
/** `info_length`: the four rows of `info`. */
export const DX_ROOT_INFO_BYTES = 8;

/** In the place of the first index entry of a block, whose hash need not be stored. */
export const dxCountLimit = defineStruct('dx_countlimit', 'little', 4, {
  limit: [0x0, 'u16'],
  count: [0x2, 'u16'],
});
export const DX_ENTRY_BYTES = 8;

/** Behind the room for `limit` index entries, with `metadata_csum`. */
export const dxTail = defineStruct('dx_tail', 'little', 8, {
  dt_reserved: [0x0, 'u32'],
  dt_checksum: [0x4, 'u32'],
});

/** Behind `i_extra_isize` in an inode that has attributes of its own ("Extended Attributes"). */
export const xattrInodeHeader = defineStruct('ext4_xattr_ibody_header', 'little', 4, {
  h_magic: [0x0, 'u32'],
});
export const XATTR_MAGIC = 0xea020000;

/** The fixed head of an attribute; `e_name_len` bytes of name follow, and padding to 4 bytes. Four zeros end the list. */
export const xattrEntryHead = defineStruct('ext4_xattr_entry', 'little', 16, {
  e_name_len: [0x0, 'u8'],
  e_name_index: [0x1, 'u8'],
  e_value_offs: [0x2, 'u16'],
  e_value_inum: [0x4, 'u32'],
  e_value_size: [0x8, 'u32'],
  e_hash: [0xc, 'u32'],
});
/** `e_name_index` of `system.` */
export const XATTR_INDEX_SYSTEM = 7;

/** What stands in `i_block` of a folder with `inline_data`, in front of its entries ("Inline Directories"). */
export const inlineDirectoryHead = defineStruct('ext4 inline directory', 'little', 4, {
  parent: [0x0, 'u32'],
});

/** All inodes have these; what follows is as long as `i_extra_isize` says. */
export const GOOD_OLD_INODE_BYTES = 128;
/** File blocks have 32-bit numbers. */
export const MAX_FILE_BLOCKS = 2 ** 32;
/** EXT4_MAX_EXTENT_DEPTH of the kernel. */
export const EXTENT_MAX_DEPTH = 5;

/** `i_flags` */
export const INODE_FLAG_ENCRYPT = 0x800;
export const INODE_FLAG_INDEX = 0x1000;
export const INODE_FLAG_HUGE_FILE = 0x40000;
export const INODE_FLAG_CASEFOLD = 0x40000000;

/** `i_flags`, as e2fsprogs' lsattr calls them in its manual, with the kernel's names for the rest. */
export const INODE_FLAGS: Readonly<Record<number, string>> = {
  0x1: 'secure_deletion',
  0x2: 'undelete',
  0x4: 'compressed',
  0x8: 'sync',
  0x10: 'immutable',
  0x20: 'append_only',
  0x40: 'nodump',
  0x80: 'noatime',
  0x100: 'compressed_dirty',
  0x200: 'compressed_clusters',
  0x400: 'no_compression',
  0x800: 'encrypt',
  0x1000: 'index',
  0x2000: 'imagic',
  0x4000: 'journal_data',
  0x8000: 'notail',
  0x10000: 'dirsync',
  0x20000: 'topdir',
  0x40000: 'huge_file',
  0x80000: 'extents',
  0x100000: 'verity',
  0x200000: 'ea_inode',
  0x2000000: 'dax',
  0x10000000: 'inline_data',
  0x20000000: 'project_inherit',
  0x40000000: 'casefold',
  0x80000000: 'reserved',
};

/** `i_mode` */
export const MODE_TYPE_FIFO = 0x1000;
export const MODE_TYPE_CHARACTER_DEVICE = 0x2000;
export const MODE_TYPE_BLOCK_DEVICE = 0x6000;
export const MODE_TYPE_SYMLINK = 0xa000;
export const MODE_TYPE_SOCKET = 0xc000;

export const INCOMPAT_EXTENT = 0x40;
export const INCOMPAT_EA_INODE = 0x400;
export const INCOMPAT_INLINE_DATA = 0x8000;
export const INCOMPAT_LARGE_DIR = 0x4000;
export const RO_COMPAT_HUGE_FILE = 0x8;

/** `file_type` of a directory entry */
export const FILE_TYPE_DIRECTORY = 2;
