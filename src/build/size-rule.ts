import { PatchVdiError } from '../errors.js';
import { BLOCK_BYTES } from '../tools/mke2fs.js';
import { GIB, MIB, TIB, describeBytes, roundUp } from '../units.js';

/** The size of an image whose upload has no length: "defaulting to 4GiB if we have no size information". */
const DEFAULT_IMAGE_BYTES = 4 * GIB;
/** "A VDI will be created whose size is 4x the apparent size of the patch". */
const SIZE_FACTOR = 4;
const MIN_IMAGE_BYTES = 16 * MIB;
/** Images are multiples of this: the block of a VHD, and what storage repositories round to anyway. */
export const IMAGE_STEP_BYTES = 2 * MIB;
/** The limit of ext4 with 4 KiB blocks and 32-bit block numbers within files. */
const MAX_IMAGE_BYTES = 16 * TIB;
/** `patch` is allocated in units of this (`hugefiles_align`). */
export const PAYLOAD_UNIT_BYTES = 2 * MIB;

/**
 * The size of the image, in bytes: four times the upload, or what was asked for.
 *
 * @param contentLength bytes of the upload, or undefined when it has no length
 * @param requested bytes, already a multiple of IMAGE_STEP_BYTES; or undefined
 * @throws PatchVdiError `space` beyond what ext4 can have
 */
export function imageSize(contentLength: number | undefined, requested: number | undefined): number {
  if (requested !== undefined) return requested;
  if (contentLength === undefined) return DEFAULT_IMAGE_BYTES;
  if (contentLength > MAX_IMAGE_BYTES / SIZE_FACTOR) {
    throw new PatchVdiError('space', 'an image of four times this upload is too large', {
      context: {
        operation: 'choose the size of the image',
        found: `an upload of ${describeBytes(contentLength)}`,
        expected: `${describeBytes(MAX_IMAGE_BYTES)} for the image at most`,
      },
      hint: 'give a smaller image size with --size',
      leftBehind: 'nothing was touched',
    });
  }
  return roundUp(Math.max(SIZE_FACTOR * contentLength, MIN_IMAGE_BYTES), IMAGE_STEP_BYTES);
}

/**
 * Checks a size that the user asked for and rounds it up to a multiple of 2 MiB.
 *
 * @throws PatchVdiError `usage`
 */
export function checkRequestedSize(requested: number | undefined): number | undefined {
  if (requested === undefined) return undefined;
  if (Number.isSafeInteger(requested) && requested >= MIN_IMAGE_BYTES && requested <= MAX_IMAGE_BYTES) {
    return roundUp(requested, IMAGE_STEP_BYTES);
  }
  throw new PatchVdiError('usage', 'an image cannot have that size', {
    context: {
      found: Number.isSafeInteger(requested) ? describeBytes(requested) : String(requested),
      expected: `${describeBytes(MIN_IMAGE_BYTES)} to ${describeBytes(MAX_IMAGE_BYTES)}`,
    },
  });
}

/**
 * The longest payload behind the metadata, in bytes. The last 2 MiB unit must end before the image does: debugfs
 * cannot punch a file that ends on the last block (measured).
 */
export function payloadCapacity(virtualSize: number, payloadStart: number): number {
  return Math.max(0, virtualSize - payloadStart - PAYLOAD_UNIT_BYTES);
}

/**
 * Checks that the payload fits.
 *
 * @param largest the longest payload for such an image, in bytes
 * @throws PatchVdiError `space` that names both sizes
 */
export function requireFit(virtualSize: number, largest: number, payloadLength: number): void {
  if (payloadLength <= largest) return;
  throw new PatchVdiError('space', 'the upload does not fit into the image', {
    context: {
      operation: 'place the payload',
      found: `an upload of ${describeBytes(payloadLength)}`,
      expected: `${describeBytes(largest)} at most in an image of ${describeBytes(virtualSize)}`,
    },
    hint: 'give a larger size of the disk (--size; --disk-size in test vdi), or none: four times the upload is the default',
  });
}

/**
 * More blocks than mke2fs reserves in front of a file of any size in such an image for its extent tree: one leaf for
 * every 169 extents of 32768 blocks, a level of index blocks above, and so on (e2fsprogs, misc/mk_hugefiles.c,
 * calc_overhead; leaves are reckoned half full).
 */
function extentTreeBlocksAtMost(virtualSize: number): number {
  const extentsPerNode = 169;
  let nodes = Math.ceil(virtualSize / BLOCK_BYTES / 32768);
  let total = 0;
  for (let level = 0; level < 4; level += 1) {
    nodes = Math.ceil(nodes / extentsPerNode);
    total += nodes;
  }
  return total;
}

export interface PayloadStart {
  /** Offset of the payload in the image, in bytes. */
  readonly offset: number;
  /** What mke2fs must leave free in front of it (`hugefiles_slack`). */
  readonly slackBlocks: number;
}

/**
 * Where the payload of an image starts, whatever its length: mke2fs rounds `firstFree + slack + extent tree blocks +
 * 1` up to 2 MiB (misc/mk_hugefiles.c), and the number of extent tree blocks depends on the length. Where the largest
 * number would cross a boundary, slack moves every file across it; else none is needed.
 *
 * @param firstFreeBlock of the formatted image without `patch`
 */
export function payloadStartFor(virtualSize: number, firstFreeBlock: number): PayloadStart {
  const unitBlocks = PAYLOAD_UNIT_BYTES / BLOCK_BYTES;
  const start = roundUp(firstFreeBlock + 1 + extentTreeBlocksAtMost(virtualSize), unitBlocks);
  return { offset: start * BLOCK_BYTES, slackBlocks: Math.max(0, start - unitBlocks - firstFreeBlock) };
}
