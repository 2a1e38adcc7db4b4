import type { ReadBytes } from '../bytes.js';
import type { ReportFinding } from '../findings.js';
import { MIB } from '../units.js';
import { descriptorBlockCount, descriptorRuns } from './group-head.js';
import { GroupTable } from './groups.js';
import { descriptorTableBytes, type Superblock } from './superblock.js';

const READ_BYTES = MIB;

export interface TableSource {
  readonly report: ReportFinding;
  readonly diskBytes: number | undefined;
}

/**
 * Reads all group descriptors, the first copy of each: behind the superblock, and with `meta_bg` in the groups that
 * they describe. Blocks outside the file system, and such behind the end of the disk, are left out.
 *
 * @throws PatchVdiError `image` when the image ends too early
 */
export async function readDescriptorTable(
  superblock: Superblock,
  read: ReadBytes,
  { report, diskBytes }: TableSource,
): Promise<GroupTable> {
  const { blockBytes, blockCount } = superblock;
  const table = new Uint8Array(descriptorTableBytes(superblock));
  const missing = new Set<number>();
  const blocksOnDisk = diskBytes === undefined ? blockCount : Math.floor(diskBytes / blockBytes);
  const endBlock = Math.min(blockCount, blocksOnDisk);
  // Read in pieces: the buffer of a piece is not kept.
  const readRun = async (firstBlock: number, count: number, at: number): Promise<void> => {
    const end = Math.min(at + count * blockBytes, table.length);
    for (let done = at; done < end; done += READ_BYTES) {
      const offset = firstBlock * blockBytes + (done - at);
      table.set(await read(offset, Math.min(READ_BYTES, end - done)), done);
    }
  };
  let outside: number | undefined;
  let index = 0;
  for (const { firstBlock, blockCount: count } of descriptorRuns(superblock)) {
    const readable = Math.max(0, Math.min(count, endBlock - firstBlock));
    await readRun(firstBlock, readable, index * blockBytes);
    for (let block = readable; block < count; block += 1) missing.add(index + block);
    if (firstBlock + count > blockCount) outside ??= firstBlock + readable;
    index += count;
  }
  // What is behind the end of the disk is known already: the file system is larger than it.
  if (outside !== undefined) {
    report({
      code: 'descriptors-outside',
      severity: 'error',
      structure: 'group descriptors',
      space: 'disk',
      offset: outside * blockBytes,
      found: `${descriptorBlockCount(superblock)} blocks of descriptors, some from block ${outside} on`,
      expected: `all of them before block ${blockCount}`,
    });
  }
  return new GroupTable(superblock, table, missing, endBlock);
}
