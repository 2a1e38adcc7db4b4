import type { ReadBytes } from '../bytes.js';
import { throwErrors, type ReportFinding } from '../findings.js';
import { checkGroups } from './check-groups.js';
import { readDescriptorTable } from './descriptor-table.js';
import type { GroupTable } from './groups.js';
import { SUPERBLOCK_OFFSET_BYTES, superBlock } from './layout.js';
import { decodeSuperblock, type Superblock } from './superblock.js';

export { corrupt } from './corrupt.js';
export { inodeTableBytes, type BlockGroup } from './block-group.js';
export { type GroupTable } from './groups.js';

/** An opened ext file system: the superblock, the groups, and how to read. */
export interface ExtFilesystem {
  readonly superblock: Superblock;
  readonly groups: GroupTable;
  readonly read: ReadBytes;
  /** Is told whatever is wrong but can be read past; by default the first error ends the reading. */
  readonly report: ReportFinding;
}

export interface OpenExtOptions {
  readonly report?: ReportFinding;
  /** How large the disk is, if that is known: nothing behind its end is ever read. */
  readonly diskBytes?: number | undefined;
}

function reportSize({ blockCount, blockBytes }: Superblock, diskBytes: number, report: ReportFinding): void {
  const sizeBytes = blockCount * blockBytes;
  if (sizeBytes <= diskBytes) return;
  report({
    code: 'filesystem-larger-than-disk',
    severity: 'error',
    structure: 'superblock',
    space: 'disk',
    offset: SUPERBLOCK_OFFSET_BYTES + superBlock.rows.s_blocks_count_lo[0],
    found: `${blockCount} blocks of ${blockBytes} bytes`,
    expected: `at most the ${diskBytes} bytes of the disk`,
  });
}

/**
 * Opens the file system that starts at offset 0 of what `read` reads: its superblock and all group descriptors, which
 * are checked here. What is wrong with one group makes that group unusable, and the rest is read.
 *
 * @throws PatchVdiError `image` when it is not one, is damaged beyond reading, or has features this reader does not
 *   know
 */
export async function openExt(
  read: ReadBytes,
  { report = throwErrors, diskBytes }: OpenExtOptions = {},
): Promise<ExtFilesystem> {
  const head = new Uint8Array(await read(SUPERBLOCK_OFFSET_BYTES, superBlock.sizeBytes));
  const superblock = decodeSuperblock(head, report);
  if (diskBytes !== undefined) reportSize(superblock, diskBytes, report);
  const groups = await readDescriptorTable(superblock, read, { report, diskBytes });
  checkGroups(superblock, groups, report);
  return { superblock, groups, read, report };
}
