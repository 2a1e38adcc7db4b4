import { defineStruct } from '../struct.js';
import { GIB, MIB } from '../units.js';

/*
 * The structures of a dynamic hard disk image. Source: "Virtual Hard Disk Image Format Specification", version 1.0
 * (Microsoft, 2006), sections "Hard Disk Footer Format" and "Dynamic Disk Header Format"; names are its field names
 * in snake case. Everything is big-endian.
 */

export const hardDiskFooter = defineStruct('Hard Disk Footer', 'big', 512, {
  cookie: [0, { bytes: 8 }],
  features: [8, 'u32'],
  file_format_version: [12, 'u32'],
  data_offset: [16, 'u64'],
  time_stamp: [24, 'u32'],
  creator_application: [28, { bytes: 4 }],
  creator_version: [32, 'u32'],
  creator_host_os: [36, 'u32'],
  original_size: [40, 'u64'],
  current_size: [48, 'u64'],
  disk_geometry_cylinders: [56, 'u16'],
  disk_geometry_heads: [58, 'u8'],
  disk_geometry_sectors_per_track: [59, 'u8'],
  disk_type: [60, 'u32'],
  checksum: [64, 'u32'],
  unique_id: [68, { bytes: 16 }],
  saved_state: [84, 'u8'],
  reserved: [85, { bytes: 427 }],
});

export const dynamicDiskHeader = defineStruct('Dynamic Disk Header', 'big', 1024, {
  cookie: [0, { bytes: 8 }],
  data_offset: [8, 'u64'],
  table_offset: [16, 'u64'],
  header_version: [24, 'u32'],
  max_table_entries: [28, 'u32'],
  block_size: [32, 'u32'],
  checksum: [36, 'u32'],
  parent_unique_id: [40, { bytes: 16 }],
  parent_time_stamp: [56, 'u32'],
  reserved_1: [60, 'u32'],
  parent_unicode_name: [64, { bytes: 512 }],
  parent_locator_entries: [576, { bytes: 192 }],
  reserved_2: [768, { bytes: 256 }],
});

/** "Parent Locator Entry": eight of them fill `parent_locator_entries`. */
export const parentLocatorEntry = defineStruct('Parent Locator Entry', 'big', 24, {
  platform_code: [0, 'u32'],
  platform_data_space: [4, 'u32'],
  platform_data_length: [8, 'u32'],
  reserved: [12, 'u32'],
  platform_data_offset: [16, 'u64'],
});

/**
 * blktap's addition, not in the specification: one bit for each block, set when the whole bitmap of the block is. It
 * starts at the sector behind the BAT (blktap, include/vhd.h, struct dd_batmap_hdr, whose field names these are).
 */
export const batmapHeader = defineStruct('Batmap Header', 'big', 512, {
  cookie: [0, { bytes: 8 }],
  batmap_offset: [8, 'u64'],
  batmap_size: [16, 'u32'],
  batmap_version: [20, 'u32'],
  checksum: [24, 'u32'],
  marker: [28, 'u8'],
  keyhash: [29, { bytes: 65 }],
  res: [94, { bytes: 418 }],
});

export const FOOTER_COOKIE = 'conectix';
export const HEADER_COOKIE = 'cxsparse';
export const BATMAP_COOKIE = 'tdbatmap';

/** Virtual PC before 2004 left out the last byte, a reserved one ("Hard Disk Footer Format"). */
export const SHORT_FOOTER_BYTES = 511;

/** "Features": the bit Reserved is always set. */
export const FEATURES_RESERVED = 2;
/** "Features": the disk may go when its machine stops. */
export const FEATURES_TEMPORARY = 1;
export const FILE_FORMAT_VERSION = 0x00010000;
export const HEADER_VERSION = 0x00010000;
export const DISK_TYPE_FIXED = 2;
export const DISK_TYPE_DYNAMIC = 3;
export const DISK_TYPE_DIFFERENCING = 4;
/** A `data_offset` that leads nowhere. */
export const NO_DATA_OFFSET = 0xffffffffffffffffn;
/** What the specification writes for the same, as if the field had four bytes: old programs did so. */
export const NO_DATA_OFFSET_SHORT = 0xffffffffn;
/** A BAT entry of a block that is not allocated. */
export const BAT_UNUSED = 0xffffffff;

/** XAPI silently corrupts smaller ones (design, "VHD facts to honour"). */
export const VHD_BLOCK_BYTES = 2 * MIB;

/** The largest disk of a VHD (libvhd's and XAPI's limit, 2040 GiB). */
export const VHD_MAX_BYTES = 2040 * GIB;

/**
 * blktap's creator. With it readers take the size from `current_size` (with others qemu uses the geometry), and from
 * version 1.1 libvhd asks for no batmap (design, measured).
 */
export const CREATOR_APPLICATION = 'tap\0';
export const CREATOR_VERSION = 0x00010001;

/** Seconds from 1970 to 2000-01-01T00:00:00Z, where the time of a VHD starts ("Time Stamp"). */
export const VHD_EPOCH_SECONDS = 946684800;
