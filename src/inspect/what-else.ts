import type { ReadBytes } from '../bytes.js';
import { PatchVdiError } from '../errors.js';
import { findBackupSuperblock } from '../ext/backup-superblock.js';
import { EXT_MAGIC, SUPERBLOCK_OFFSET_BYTES, superBlock } from '../ext/layout.js';
import { lookAtUpload } from '../signature/look.js';
import { viewOf } from '../struct.js';
import { FOREIGN_START_BYTES, foreignFormatError } from './foreign-formats.js';
import { describePartitionTable, findPartitionTable } from './partition-table.js';

/** Where a file system was looked for. */
interface DiskPlace {
  readonly name: string;
  readonly offsetBytes: number;
  readonly forwardOnly: boolean;
}

/** The superblock's magic is there: then what is wrong with the file system is the news, not what else it may be. */
function startsExt(start: Uint8Array): boolean {
  if (start.length < SUPERBLOCK_OFFSET_BYTES + superBlock.sizeBytes) return false;
  return superBlock.number(viewOf(start), SUPERBLOCK_OFFSET_BYTES, 's_magic') === EXT_MAGIC;
}

/** A disk without an ext file system at that place: what is there instead, if that can be told. */
export async function whatElse(
  place: DiskPlace,
  read: ReadBytes,
  diskBytes: number | undefined,
): Promise<PatchVdiError | undefined> {
  const bytes = Math.min(FOREIGN_START_BYTES, diskBytes ?? FOREIGN_START_BYTES);
  // A disk that cannot be read was told by the error that led here.
  const start = await read(0, bytes).catch(() => undefined);
  if (start === undefined || startsExt(start)) return undefined;
  const table = findPartitionTable(start);
  if (table === undefined)
    return (
      foreignFormatError(place.name, start) ??
      (await signedMessageError(place.name, start, diskBytes)) ??
      (await onlyBackups(place, read, diskBytes))
    );
  const [first] = table.partitions;
  return new PatchVdiError('image', 'the disk has a partition table', {
    context: {
      path: place.name,
      offset: place.offsetBytes,
      found: describePartitionTable(table),
      expected: 'a file system from the first byte on, as in every patch VDI',
    },
    ...(first === undefined ? {} : { hint: `look into a partition: --offset ${first.offsetBytes}` }),
  });
}

/** Somebody has named the upload, of which the image is to be made yet. */
async function signedMessageError(
  name: string,
  start: Uint8Array,
  bytes: number | undefined,
): Promise<PatchVdiError | undefined> {
  const { kind, description } = await lookAtUpload(start, bytes ?? Number.MAX_SAFE_INTEGER);
  if (kind !== 'signed message') return undefined;
  return new PatchVdiError('image', 'this is an upload, and not the image of a disk', {
    context: { path: name, offset: 0, found: description, expected: 'a disk with ext2, ext3 or ext4' },
    hint: 'a disk image is made of it by: patch-vdi build UPLOAD -o IMAGE.vhd --keyring KEYS',
  });
}

/** A superblock that is lost, of which there are copies: e2fsck can help. */
async function onlyBackups(
  place: DiskPlace,
  read: ReadBytes,
  diskBytes: number | undefined,
): Promise<PatchVdiError | undefined> {
  if (place.forwardOnly || diskBytes === undefined) return undefined;
  const [backup] = await findBackupSuperblock(read, diskBytes);
  if (backup === undefined) return undefined;
  const { block, blockBytes, offset } = backup;
  return new PatchVdiError('image', 'the superblock is lost, and a copy of it is there', {
    context: {
      path: place.name,
      offset: place.offsetBytes + SUPERBLOCK_OFFSET_BYTES,
      found: `no superblock; a copy at ${place.offsetBytes + offset}`,
      expected: 'a superblock',
    },
    hint: `e2fsck -b ${block} -B ${blockBytes} on a copy of the disk can restore it`,
  });
}
