import fc from 'fast-check';
import type { MetadataRange } from '../../src/ext/metadata-map.js';
import type { TemplateFacts } from '../../src/plan/image-map.js';
import { KIB, MIB } from '../../src/units.js';
import type { VhdIdentity } from '../../src/vhd/structures.js';

export const BLOCK_BYTES = 4 * KIB;
const UNIT_BLOCKS = (2 * MIB) / BLOCK_BYTES;

/** Metadata on so many whole blocks. */
export function metadata(name: string, firstBlock: number, blockCount: number): MetadataRange {
  const superblock = name === 'superblock';
  return { name, offset: firstBlock * BLOCK_BYTES, length: blockCount * BLOCK_BYTES, superblock };
}

/**
 * What a template of that size looks like, written by hand after the table of the design: superblock and descriptors
 * first, bitmaps, inode tables and folders behind them, the payload from `payloadBlock` on in one run.
 */
export function handMadeFacts(
  virtualSize: number,
  payloadLength: number,
  payloadBlock: number,
): TemplateFacts {
  const blockCount = Math.ceil(payloadLength / BLOCK_BYTES);
  return {
    virtualSize,
    blockBytes: BLOCK_BYTES,
    payloadLength,
    extents: [{ fileBlock: 0, fsBlock: payloadBlock, blockCount, unwritten: false }],
    metadata: [
      metadata('superblock', 0, 1),
      metadata('group descriptors', 1, 1),
      metadata('block bitmaps', 2, 1),
      metadata('inode bitmaps', 18, 1),
      metadata('inode tables', 34, 1),
      metadata('root directory', 290, 1),
      metadata('lost+found', 291, 4),
    ],
  };
}

interface Piece {
  readonly kind: 'payload' | 'metadata';
  readonly gap: number;
  readonly count: number;
}

/** Block counts around the borders of a VHD block, and small ones. */
const counts = fc.oneof(
  fc.integer({ min: 1, max: 20 }),
  fc.constantFrom(1, UNIT_BLOCKS - 1, UNIT_BLOCKS, UNIT_BLOCKS + 1, 2 * UNIT_BLOCKS, 3 * UNIT_BLOCKS),
);
const piece: fc.Arbitrary<Piece> = fc.record({
  kind: fc.constantFrom('payload' as const, 'payload' as const, 'metadata' as const),
  gap: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: UNIT_BLOCKS + 10 })),
  count: counts,
});

function layOut(
  pieces: readonly Piece[],
  start: number,
  missingBytes: number,
  tailUnits: number,
): TemplateFacts {
  const ranges = [metadata('superblock', 0, 1), metadata('group descriptors', 1, 2)];
  const extents = [];
  let next = start;
  let fileBlock = 0;
  for (const { kind, gap, count } of [...pieces, { kind: 'payload', gap: 0, count: 1 } as const]) {
    const first = next + gap;
    if (kind === 'metadata') ranges.push(metadata('extent tree of patch', first, count));
    else {
      extents.push({ fileBlock, fsBlock: first, blockCount: count, unwritten: false });
      fileBlock += count;
    }
    next = first + count;
  }
  const virtualSize = (Math.ceil(next / UNIT_BLOCKS) + tailUnits) * UNIT_BLOCKS * BLOCK_BYTES;
  const payloadLength = fileBlock * BLOCK_BYTES - missingBytes;
  return { virtualSize, blockBytes: BLOCK_BYTES, payloadLength, extents, metadata: ranges };
}

/** Templates of any shape that could be planned: payload in several runs, metadata before, between and behind them. */
export const layouts: fc.Arbitrary<TemplateFacts> = fc
  .tuple(
    fc.array(piece, { maxLength: 6 }),
    // Virtual block 0 is for metadata: it is the seal of a VHD.
    fc.integer({ min: UNIT_BLOCKS, max: 2 * UNIT_BLOCKS + 3 }),
    fc.integer({ min: 0, max: BLOCK_BYTES - 1 }),
    fc.integer({ min: 0, max: 3 }),
  )
  .map(([pieces, start, missingBytes, tailUnits]) => layOut(pieces, start, missingBytes, tailUnits));

/** Of every VHD that the tests plan. */
export const identity: VhdIdentity = {
  uniqueId: Uint8Array.from({ length: 16 }, (_, index) => index + 1),
  createdSeconds: 1_000_000_000,
};
