import type { FindingCode } from '../finding-codes.js';
import { blockUse } from '../ext/block-use.js';
import { metadataRuns } from '../ext/metadata-runs.js';
import type { Extent } from '../ext/file-extents.js';
import type { ImageFile } from './image-file.js';
import type { ImageFilesystem } from './image-filesystem.js';
import type { Image } from './image.js';

/** A file in more pieces than this is not checked against the bitmaps, and a finding says so. */
const MAX_EXTENTS = 500_000;

interface Run {
  readonly firstBlock: number;
  readonly blockCount: number;
}

/** The first block that both have, of two lists in ascending order without overlaps within each. */
function firstCommonBlock(extents: readonly Extent[], run: Run): number | undefined {
  let low = 0;
  let high = extents.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const extent = extents[middle];
    if (extent !== undefined && extent.fsBlock + extent.blockCount <= run.firstBlock) low = middle + 1;
    else high = middle;
  }
  const extent = extents[low];
  if (extent === undefined || extent.fsBlock >= run.firstBlock + run.blockCount) return undefined;
  return Math.max(extent.fsBlock, run.firstBlock);
}

/**
 * Whether the blocks of a file are its own: used by no metadata, marked as used in the block bitmaps, and by the file
 * itself only once. What is wrong becomes a finding, one of each kind.
 */
export async function checkPayloadBlocks(
  image: Image,
  filesystem: ImageFilesystem,
  file: ImageFile,
): Promise<void> {
  if (file.facts.storage !== 'extents' && file.facts.storage !== 'block map') return;
  const { blockBytes } = filesystem.superblock;
  const fault = (
    code: FindingCode,
    severity: 'error' | 'warning',
    block: number,
    found: string,
    expected: string,
  ) =>
    image.report({
      code,
      severity,
      structure: file.path,
      space: 'disk',
      offset: image.offsetBytes + block * blockBytes,
      found,
      expected,
    });

  const extents: Extent[] = [];
  for await (const extent of file.extents()) {
    if (extents.length === MAX_EXTENTS) {
      fault('payload-not-checked', 'warning', extent.fsBlock, `more than ${MAX_EXTENTS} extents`, 'fewer');
      return;
    }
    extents.push(extent);
  }
  extents.sort((a, b) => a.fsBlock - b.fsBlock);
  const twice = extents.find((extent, index) => {
    const before = extents[index - 1];
    return before !== undefined && before.fsBlock + before.blockCount > extent.fsBlock;
  });
  if (twice !== undefined) {
    const found = `block ${twice.fsBlock} in two extents`;
    fault('payload-overlaps-itself', 'error', twice.fsBlock, found, 'every block once');
    return;
  }
  for (const run of metadataRuns(filesystem.ext)) {
    const block = firstCommonBlock(extents, run);
    if (block === undefined) continue;
    fault(
      'payload-overlaps-metadata',
      'error',
      block,
      `block ${block}, which holds ${run.name}`,
      'blocks of its own',
    );
    // A map that leads astray meets free blocks, too: by the same cause.
    return;
  }
  for await (const run of blockUse(filesystem.ext)) {
    const block = run.used ? undefined : firstCommonBlock(extents, run);
    if (block === undefined) continue;
    const found = `block ${block}, which the block bitmap calls free`;
    fault('payload-marked-free', 'error', block, found, 'blocks that are in use');
    break;
  }
}
