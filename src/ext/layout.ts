import { defineStruct } from '../struct.js';

/*
 * The on-disk structures of ext2/3/4, with the kernel's names.
 * Source: Linux, Documentation/filesystems/ext4 ("Super Block", "Block Group Descriptors", "Index Nodes",
 * "Extent Tree", "Directory Entries"); the same as struct ext2_super_block etc. in e2fsprogs' lib/ext2fs/ext2_fs.h.
 * Everything is little-endian.
 */

/** Offset of the superblock from the start of the file system, in bytes, whatever the block size. */
export const SUPERBLOCK_OFFSET_BYTES = 1024;

export const superBlock = defineStruct('ext4_super_block', 'little', 1024, {
  s_inodes_count: [0x0, 'u32'],
  s_blocks_count_lo: [0x4, 'u32'],
  s_r_blocks_count_lo: [0x8, 'u32'],
  s_free_blocks_count_lo: [0xc, 'u32'],
  s_free_inodes_count: [0x10, 'u32'],
  s_first_data_block: [0x14, 'u32'],
  s_log_block_size: [0x18, 'u32'],
  s_log_cluster_size: [0x1c, 'u32'],
  s_blocks_per_group: [0x20, 'u32'],
  s_clusters_per_group: [0x24, 'u32'],
  s_inodes_per_group: [0x28, 'u32'],
  s_mtime: [0x2c, 'u32'],
  s_wtime: [0x30, 'u32'],
  s_mnt_count: [0x34, 'u16'],
  s_max_mnt_count: [0x36, 'u16'],
  s_magic: [0x38, 'u16'],
  s_state: [0x3a, 'u16'],
  s_errors: [0x3c, 'u16'],
  s_minor_rev_level: [0x3e, 'u16'],
  s_lastcheck: [0x40, 'u32'],
  s_checkinterval: [0x44, 'u32'],
  s_creator_os: [0x48, 'u32'],
  s_rev_level: [0x4c, 'u32'],
  s_def_resuid: [0x50, 'u16'],
  s_def_resgid: [0x52, 'u16'],
  s_first_ino: [0x54, 'u32'],
  s_inode_size: [0x58, 'u16'],
  s_block_group_nr: [0x5a, 'u16'],
  s_feature_compat: [0x5c, 'u32'],
  s_feature_incompat: [0x60, 'u32'],
  s_feature_ro_compat: [0x64, 'u32'],
  s_uuid: [0x68, { bytes: 16 }],
  s_volume_name: [0x78, { bytes: 16 }],
  s_last_mounted: [0x88, { bytes: 64 }],
  s_algorithm_usage_bitmap: [0xc8, 'u32'],
  s_prealloc_blocks: [0xcc, 'u8'],
  s_prealloc_dir_blocks: [0xcd, 'u8'],
  s_reserved_gdt_blocks: [0xce, 'u16'],
  s_journal_uuid: [0xd0, { bytes: 16 }],
  s_journal_inum: [0xe0, 'u32'],
  s_journal_dev: [0xe4, 'u32'],
  s_last_orphan: [0xe8, 'u32'],
  s_hash_seed: [0xec, { bytes: 16 }],
  s_def_hash_version: [0xfc, 'u8'],
  s_jnl_backup_type: [0xfd, 'u8'],
  s_desc_size: [0xfe, 'u16'],
  s_default_mount_opts: [0x100, 'u32'],
  s_first_meta_bg: [0x104, 'u32'],
  s_mkfs_time: [0x108, 'u32'],
  s_jnl_blocks: [0x10c, { bytes: 68 }],
  s_blocks_count_hi: [0x150, 'u32'],
  s_r_blocks_count_hi: [0x154, 'u32'],
  s_free_blocks_count_hi: [0x158, 'u32'],
  s_min_extra_isize: [0x15c, 'u16'],
  s_want_extra_isize: [0x15e, 'u16'],
  s_flags: [0x160, 'u32'],
  s_raid_stride: [0x164, 'u16'],
  s_mmp_interval: [0x166, 'u16'],
  s_mmp_block: [0x168, 'u64'],
  s_raid_stripe_width: [0x170, 'u32'],
  s_log_groups_per_flex: [0x174, 'u8'],
  s_checksum_type: [0x175, 'u8'],
  s_encryption_level: [0x176, 'u8'],
  s_reserved_pad: [0x177, 'u8'],
  s_kbytes_written: [0x178, 'u64'],
  s_snapshot_inum: [0x180, 'u32'],
  s_snapshot_id: [0x184, 'u32'],
  s_snapshot_r_blocks_count: [0x188, 'u64'],
  s_snapshot_list: [0x190, 'u32'],
  s_error_count: [0x194, 'u32'],
  s_first_error_time: [0x198, 'u32'],
  s_first_error_ino: [0x19c, 'u32'],
  s_first_error_block: [0x1a0, 'u64'],
  s_first_error_func: [0x1a8, { bytes: 32 }],
  s_first_error_line: [0x1c8, 'u32'],
  s_last_error_time: [0x1cc, 'u32'],
  s_last_error_ino: [0x1d0, 'u32'],
  s_last_error_line: [0x1d4, 'u32'],
  s_last_error_block: [0x1d8, 'u64'],
  s_last_error_func: [0x1e0, { bytes: 32 }],
  s_mount_opts: [0x200, { bytes: 64 }],
  s_usr_quota_inum: [0x240, 'u32'],
  s_grp_quota_inum: [0x244, 'u32'],
  s_overhead_clusters: [0x248, 'u32'],
  s_backup_bgs: [0x24c, { bytes: 8 }],
  s_encrypt_algos: [0x254, { bytes: 4 }],
  s_encrypt_pw_salt: [0x258, { bytes: 16 }],
  s_lpf_ino: [0x268, 'u32'],
  s_prj_quota_inum: [0x26c, 'u32'],
  s_checksum_seed: [0x270, 'u32'],
  s_wtime_hi: [0x274, 'u8'],
  s_mtime_hi: [0x275, 'u8'],
  s_mkfs_time_hi: [0x276, 'u8'],
  s_lastcheck_hi: [0x277, 'u8'],
  s_first_error_time_hi: [0x278, 'u8'],
  s_last_error_time_hi: [0x279, 'u8'],
  s_first_error_errcode: [0x27a, 'u8'],
  s_last_error_errcode: [0x27b, 'u8'],
  s_encoding: [0x27c, 'u16'],
  s_encoding_flags: [0x27e, 'u16'],
  s_orphan_file_inum: [0x280, 'u32'],
  s_reserved: [0x284, { bytes: 376 }],
  s_checksum: [0x3fc, 'u32'],
});

/** 64 bytes with the `64bit` feature; without it only the first 32 are on disk. */
export const groupDescriptor = defineStruct('ext4_group_desc', 'little', 64, {
  bg_block_bitmap_lo: [0x0, 'u32'],
  bg_inode_bitmap_lo: [0x4, 'u32'],
  bg_inode_table_lo: [0x8, 'u32'],
  bg_free_blocks_count_lo: [0xc, 'u16'],
  bg_free_inodes_count_lo: [0xe, 'u16'],
  bg_used_dirs_count_lo: [0x10, 'u16'],
  bg_flags: [0x12, 'u16'],
  bg_exclude_bitmap_lo: [0x14, 'u32'],
  bg_block_bitmap_csum_lo: [0x18, 'u16'],
  bg_inode_bitmap_csum_lo: [0x1a, 'u16'],
  bg_itable_unused_lo: [0x1c, 'u16'],
  bg_checksum: [0x1e, 'u16'],
  bg_block_bitmap_hi: [0x20, 'u32'],
  bg_inode_bitmap_hi: [0x24, 'u32'],
  bg_inode_table_hi: [0x28, 'u32'],
  bg_free_blocks_count_hi: [0x2c, 'u16'],
  bg_free_inodes_count_hi: [0x2e, 'u16'],
  bg_used_dirs_count_hi: [0x30, 'u16'],
  bg_itable_unused_hi: [0x32, 'u16'],
  bg_exclude_bitmap_hi: [0x34, 'u32'],
  bg_block_bitmap_csum_hi: [0x38, 'u16'],
  bg_inode_bitmap_csum_hi: [0x3a, 'u16'],
  bg_reserved: [0x3c, 'u32'],
});

/** 128 bytes on the oldest file systems, then everything from `i_extra_isize` is absent. */
export const inode = defineStruct('ext4_inode', 'little', 160, {
  i_mode: [0x0, 'u16'],
  i_uid: [0x2, 'u16'],
  i_size_lo: [0x4, 'u32'],
  i_atime: [0x8, 'u32'],
  i_ctime: [0xc, 'u32'],
  i_mtime: [0x10, 'u32'],
  i_dtime: [0x14, 'u32'],
  i_gid: [0x18, 'u16'],
  i_links_count: [0x1a, 'u16'],
  i_blocks_lo: [0x1c, 'u32'],
  i_flags: [0x20, 'u32'],
  l_i_version: [0x24, 'u32'],
  i_block: [0x28, { bytes: 60 }],
  i_generation: [0x64, 'u32'],
  i_file_acl_lo: [0x68, 'u32'],
  i_size_high: [0x6c, 'u32'],
  i_obso_faddr: [0x70, 'u32'],
  l_i_blocks_high: [0x74, 'u16'],
  l_i_file_acl_high: [0x76, 'u16'],
  l_i_uid_high: [0x78, 'u16'],
  l_i_gid_high: [0x7a, 'u16'],
  l_i_checksum_lo: [0x7c, 'u16'],
  l_i_reserved: [0x7e, 'u16'],
  i_extra_isize: [0x80, 'u16'],
  i_checksum_hi: [0x82, 'u16'],
  i_ctime_extra: [0x84, 'u32'],
  i_mtime_extra: [0x88, 'u32'],
  i_atime_extra: [0x8c, 'u32'],
  i_crtime: [0x90, 'u32'],
  i_crtime_extra: [0x94, 'u32'],
  i_version_hi: [0x98, 'u32'],
  i_projid: [0x9c, 'u32'],
});

export const extentHeader = defineStruct('ext4_extent_header', 'little', 12, {
  eh_magic: [0x0, 'u16'],
  eh_entries: [0x2, 'u16'],
  eh_max: [0x4, 'u16'],
  eh_depth: [0x6, 'u16'],
  eh_generation: [0x8, 'u32'],
});

export const extentIndex = defineStruct('ext4_extent_idx', 'little', 12, {
  ei_block: [0x0, 'u32'],
  ei_leaf_lo: [0x4, 'u32'],
  ei_leaf_hi: [0x8, 'u16'],
  ei_unused: [0xa, 'u16'],
});

export const extentLeaf = defineStruct('ext4_extent', 'little', 12, {
  ee_block: [0x0, 'u32'],
  ee_len: [0x4, 'u16'],
  ee_start_hi: [0x6, 'u16'],
  ee_start_lo: [0x8, 'u32'],
});

/** The fixed head of a directory entry; `name_len` bytes of name follow. */
export const directoryEntryHead = defineStruct('ext4_dir_entry_2', 'little', 8, {
  inode: [0x0, 'u32'],
  rec_len: [0x4, 'u16'],
  name_len: [0x6, 'u8'],
  file_type: [0x7, 'u8'],
});

/** `i_block` of a file without extents ("Direct/Indirect Block Addressing"): 12 blocks of data, then three trees. */
export const DIRECT_BLOCK_COUNT = 12;
export const INDIRECT_LEVELS = 3;
/** Bytes of a block number in `i_block` and in an indirect block, little-endian. */
export const BLOCK_NUMBER_BYTES = 4;
/** `i_blocks` counts these, whatever the block size. */
export const INODE_BLOCKS_UNIT_BYTES = 512;

/** `file_type` of a directory entry */
export const FILE_TYPE_REGULAR = 1;

export const EXT_MAGIC = 0xef53;
export const EXTENT_MAGIC = 0xf30a;
/** `ee_len` above this means an unwritten extent of `ee_len - 32768` blocks ("Extent Tree"). */
export const EXTENT_MAX_INITIALISED_BLOCKS = 32768;

export const ROOT_INODE_NUMBER = 2;

/** `i_flags` */
export const INODE_FLAG_EXTENTS = 0x80000;
export const INODE_FLAG_INLINE_DATA = 0x10000000;

/** `i_mode` */
export const MODE_TYPE_MASK = 0xf000;
export const MODE_TYPE_DIRECTORY = 0x4000;
export const MODE_TYPE_REGULAR = 0x8000;

/** `bg_flags` */
export const GROUP_INODE_UNINIT = 0x1;
export const GROUP_BLOCK_UNINIT = 0x2;
export const GROUP_INODE_ZEROED = 0x4;

/** `s_feature_compat` */
export const COMPAT_HAS_JOURNAL = 0x4;
export const COMPAT_EXT_ATTR = 0x8;
export const COMPAT_SPARSE_SUPER2 = 0x200;

/** `s_feature_incompat` */
export const INCOMPAT_FILETYPE = 0x2;
export const INCOMPAT_RECOVER = 0x4;
export const INCOMPAT_META_BG = 0x10;
export const INCOMPAT_64BIT = 0x80;
export const INCOMPAT_MMP = 0x100;
export const INCOMPAT_FLEX_BG = 0x200;
export const INCOMPAT_CSUM_SEED = 0x2000;

/** `s_feature_ro_compat` */
export const RO_COMPAT_BIGALLOC = 0x200;
export const RO_COMPAT_ORPHAN_PRESENT = 0x10000;
export const RO_COMPAT_QUOTA = 0x100;
export const COMPAT_ORPHAN_FILE = 0x1000;
export const RO_COMPAT_SPARSE_SUPER = 0x1;
export const RO_COMPAT_LARGE_FILE = 0x2;
export const RO_COMPAT_GDT_CSUM = 0x10;
export const RO_COMPAT_METADATA_CSUM = 0x400;
