import { defineStruct } from '../struct.js';
import { SECTOR_BYTES, checkedBytes, describeBytes } from '../units.js';

/*
 * Partition tables, only to name them: a patch VDI has none. Sources: the classic MBR as in "UEFI Specification" 2.10,
 * section 5.2.1 "Legacy Master Boot Record", and 5.3 "GUID Partition Table" there.
 */

export const mbrPartition = defineStruct('MBR partition record', 'little', 16, {
  boot_indicator: [0, 'u8'],
  starting_chs: [1, { bytes: 3 }],
  os_type: [4, 'u8'],
  ending_chs: [5, { bytes: 3 }],
  starting_lba: [8, 'u32'],
  size_in_lba: [12, 'u32'],
});

export const masterBootRecord = defineStruct('Legacy Master Boot Record', 'little', 512, {
  boot_code: [0, { bytes: 440 }],
  unique_mbr_signature: [440, 'u32'],
  unknown: [444, 'u16'],
  partition_record: [446, { bytes: 64 }],
  signature: [510, 'u16'],
});

export const gptHeader = defineStruct('GPT header', 'little', 92, {
  signature: [0, { bytes: 8 }],
  revision: [8, 'u32'],
  header_size: [12, 'u32'],
  header_crc32: [16, 'u32'],
  reserved: [20, 'u32'],
  my_lba: [24, 'u64'],
  alternate_lba: [32, 'u64'],
  first_usable_lba: [40, 'u64'],
  last_usable_lba: [48, 'u64'],
  disk_guid: [56, { bytes: 16 }],
  partition_entry_lba: [72, 'u64'],
  number_of_partition_entries: [80, 'u32'],
  size_of_partition_entry: [84, 'u32'],
  partition_entry_array_crc32: [88, 'u32'],
});

export const gptEntry = defineStruct('GPT partition entry', 'little', 128, {
  partition_type_guid: [0, { bytes: 16 }],
  unique_partition_guid: [16, { bytes: 16 }],
  starting_lba: [32, 'u64'],
  ending_lba: [40, 'u64'],
  attributes: [48, 'u64'],
  partition_name: [56, { bytes: 72 }],
});

export const MBR_SIGNATURE = 0xaa55;
export const OS_TYPE_GPT_PROTECTIVE = 0xee;
export const GPT_SIGNATURE = 'EFI PART';
/** Every tool makes 128; what lies behind these is nobody's patch. */
const MAX_GPT_ENTRIES = 128;

export interface Partition {
  /** Counts from 1. */
  readonly number: number;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

export interface PartitionTable {
  readonly scheme: 'MBR' | 'GPT';
  /** Those in use, in the table's order. */
  readonly partitions: readonly Partition[];
}

/** As many bytes from the start of a disk as {@link findPartitionTable} looks at: both headers, 128 entries of GPT. */
export const PARTITION_TABLE_BYTES = 2 * SECTOR_BYTES + MAX_GPT_ENTRIES * gptEntry.sizeBytes;

/** A number of sectors as bytes, or undefined beyond 2^53: hostile, or no table at all. */
function sectorsToBytes(sectors: bigint | number): number | undefined {
  const bytes = Number(sectors) * SECTOR_BYTES;
  return Number.isSafeInteger(bytes) ? checkedBytes(bytes) : undefined;
}

function gptPartitions(start: Uint8Array): Partition[] | undefined {
  if (start.length < 2 * SECTOR_BYTES) return undefined;
  const header = gptHeader.decode(start, SECTOR_BYTES);
  if (Buffer.from(header.signature).toString('latin1') !== GPT_SIGNATURE) return undefined;
  const partitions: Partition[] = [];
  const base = sectorsToBytes(header.partition_entry_lba);
  if (base === undefined || header.size_of_partition_entry < gptEntry.sizeBytes) return partitions;
  const count = Math.min(header.number_of_partition_entries, MAX_GPT_ENTRIES);
  for (let index = 0; index < count; index += 1) {
    const at = base + index * header.size_of_partition_entry;
    if (at + gptEntry.sizeBytes > start.length) break;
    const entry = gptEntry.decode(start, at);
    if (entry.partition_type_guid.every((byte) => byte === 0)) continue;
    const offsetBytes = sectorsToBytes(entry.starting_lba);
    const endBytes = sectorsToBytes(entry.ending_lba + 1n);
    if (offsetBytes === undefined || endBytes === undefined || endBytes < offsetBytes) continue;
    partitions.push({ number: index + 1, offsetBytes, lengthBytes: endBytes - offsetBytes });
  }
  return partitions;
}

function mbrPartitions(records: Uint8Array): Partition[] | undefined {
  const partitions: Partition[] = [];
  for (let index = 0; index < 4; index += 1) {
    const record = mbrPartition.decode(records, index * mbrPartition.sizeBytes);
    // Other boot sectors (FAT, GRUB on a file system) end with the same two bytes: these flags tell them apart.
    if (record.boot_indicator !== 0 && record.boot_indicator !== 0x80) return undefined;
    if (record.os_type === 0 || record.size_in_lba === 0 || record.starting_lba === 0) continue;
    partitions.push({
      number: index + 1,
      offsetBytes: record.starting_lba * SECTOR_BYTES,
      lengthBytes: record.size_in_lba * SECTOR_BYTES,
    });
  }
  return partitions.length === 0 ? undefined : partitions;
}

/**
 * The partition table at the start of a disk with sectors of 512 bytes, if there is one.
 *
 * @param start the first bytes of the disk, best {@link PARTITION_TABLE_BYTES} of them; what is cut off is not told
 */
export function findPartitionTable(start: Uint8Array): PartitionTable | undefined {
  if (start.length < masterBootRecord.sizeBytes) return undefined;
  const record = masterBootRecord.decode(start);
  if (record.signature !== MBR_SIGNATURE) return undefined;
  const protective = mbrPartition.decode(record.partition_record).os_type === OS_TYPE_GPT_PROTECTIVE;
  const gpt = protective ? gptPartitions(start) : undefined;
  if (gpt !== undefined) return { scheme: 'GPT', partitions: gpt };
  const partitions = mbrPartitions(record.partition_record);
  return partitions === undefined ? undefined : { scheme: 'MBR', partitions };
}

/** `an MBR partition table: 1 at 1048576 (15 MiB)`; few words, however many partitions there are. */
export function describePartitionTable({ scheme, partitions }: PartitionTable): string {
  const shown = partitions
    .slice(0, 4)
    .map(
      ({ number, offsetBytes, lengthBytes }) => `${number} at ${offsetBytes} (${describeBytes(lengthBytes)})`,
    );
  const more = partitions.length > shown.length ? `, and ${partitions.length - shown.length} more` : '';
  const list = shown.length === 0 ? 'no partition' : shown.join(', ');
  return `${scheme === 'MBR' ? 'an' : 'a'} ${scheme} partition table: ${list}${more}`;
}
