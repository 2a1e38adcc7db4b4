import {
  GPT_SIGNATURE,
  MBR_SIGNATURE,
  OS_TYPE_GPT_PROTECTIVE,
  gptEntry,
  gptHeader,
  masterBootRecord,
  mbrPartition,
} from '../../src/inspect/partition-table.js';
import { MIB, SECTOR_BYTES } from '../../src/units.js';
import { fieldsOf, type BytesIo, type Target } from './target.js';

/** Where the partition of {@link partitionedDisk} starts. */
export const PARTITION_OFFSET_BYTES = MIB;
const ENTRIES_OFFSET_BYTES = 2 * SECTOR_BYTES;
const ENTRY_COUNT = 4;

/** A disk with one partition that holds these bytes. */
export function partitionedDisk(content: Uint8Array, scheme: 'MBR' | 'GPT'): Uint8Array {
  const disk = new Uint8Array(PARTITION_OFFSET_BYTES + content.length);
  disk.set(content, PARTITION_OFFSET_BYTES);
  const [firstLba, sectors] = [PARTITION_OFFSET_BYTES / SECTOR_BYTES, content.length / SECTOR_BYTES];
  const records = new Uint8Array(masterBootRecord.rows.partition_record[1].bytes);
  const record =
    scheme === 'MBR'
      ? { os_type: 0x83, starting_lba: firstLba, size_in_lba: sectors }
      : { os_type: OS_TYPE_GPT_PROTECTIVE, starting_lba: 1, size_in_lba: disk.length / SECTOR_BYTES - 1 };
  records.set(mbrPartition.encode(record));
  disk.set(masterBootRecord.encode({ partition_record: records, signature: MBR_SIGNATURE }));
  if (scheme === 'MBR') return disk;
  const header = {
    signature: new Uint8Array(Buffer.from(GPT_SIGNATURE)),
    revision: 0x00010000,
    header_size: gptHeader.sizeBytes,
    my_lba: 1n,
    first_usable_lba: BigInt(firstLba),
    partition_entry_lba: BigInt(ENTRIES_OFFSET_BYTES / SECTOR_BYTES),
    number_of_partition_entries: ENTRY_COUNT,
    size_of_partition_entry: gptEntry.sizeBytes,
  };
  disk.set(gptHeader.encode(header), SECTOR_BYTES);
  const entry = gptEntry.encode({
    partition_type_guid: new Uint8Array(16).fill(0x11),
    unique_partition_guid: new Uint8Array(16).fill(0x22),
    starting_lba: BigInt(firstLba),
    ending_lba: BigInt(firstLba + sectors - 1),
  });
  disk.set(entry, ENTRIES_OFFSET_BYTES);
  return disk;
}

/** The tables of such a disk. */
export function findPartitionTargets(io: BytesIo): Target[] {
  const [recordsAt] = masterBootRecord.rows.partition_record;
  const of = (offset: number, length: number, fields: Target['fields']): Target => ({
    kind: 'partition table',
    io,
    offset,
    length,
    fields,
  });
  const targets = [of(0, masterBootRecord.sizeBytes, fieldsOf(masterBootRecord, 0, true))];
  for (let index = 0; index < 4; index += 1) {
    const at = recordsAt + index * mbrPartition.sizeBytes;
    targets.push(of(at, mbrPartition.sizeBytes, fieldsOf(mbrPartition, at, true)));
  }
  targets.push(of(SECTOR_BYTES, gptHeader.sizeBytes, fieldsOf(gptHeader, SECTOR_BYTES, true)));
  for (let index = 0; index < ENTRY_COUNT; index += 1) {
    const at = ENTRIES_OFFSET_BYTES + index * gptEntry.sizeBytes;
    targets.push(of(at, gptEntry.sizeBytes, fieldsOf(gptEntry, at, true)));
  }
  return targets;
}
