import { readBytesOf, type ByteReader } from '../bytes.js';
import { EXT_MAGIC, SUPERBLOCK_OFFSET_BYTES, superBlock } from '../ext/layout.js';
import type { ReportFinding } from '../findings.js';
import { viewOf } from '../struct.js';
import type { VhdDisk } from '../vhd/open-vhd.js';

/** The largest block has 64 KiB, as 1 KiB shifted by this. */
const MAX_LOG_BLOCK_SIZE = 6;

/**
 * A file can be a VHD with one disk inside, and as it stands a raw disk with another: whoever imports it as raw mounts
 * that one. In a VHD, a part of the header stands where the superblock would be. A fixed VHD is the same disk either way.
 *
 * Reports `vhd-and-raw`.
 */
export async function reportRawView(reader: ByteReader, vhd: VhdDisk, report: ReportFinding): Promise<void> {
  const size = reader.sizeBytes ?? 0;
  if (vhd.kind === 'fixed' || size < SUPERBLOCK_OFFSET_BYTES + superBlock.sizeBytes) return;
  const view = viewOf(await readBytesOf(reader)(SUPERBLOCK_OFFSET_BYTES, superBlock.sizeBytes));
  if (superBlock.number(view, 0, 's_magic') !== EXT_MAGIC) return;
  if (superBlock.number(view, 0, 's_log_block_size') > MAX_LOG_BLOCK_SIZE) return;
  report({
    code: 'vhd-and-raw',
    severity: 'error',
    structure: 'file',
    space: 'file',
    offset: SUPERBLOCK_OFFSET_BYTES,
    found: 'a VHD, and the superblock of a raw disk in front of its blocks',
    expected: 'one of the two: imported as raw, the file is another disk',
    hint: '--image-format vhd or raw says which is meant',
  });
}
