import { invariant } from '../errors.js';
import { KIB, SECTOR_BYTES, roundUp } from '../units.js';
import { VHD_BLOCK_BYTES, dynamicDiskHeader, hardDiskFooter } from '../vhd/layout.js';
import {
  BITMAP_BYTES,
  BlockAllocationTable,
  encodeBitmap,
  encodeDynamicFooter,
  encodeDynamicHeader,
  tableBytes,
  type VhdIdentity,
} from '../vhd/structures.js';
import { mapImage, payloadInOrder, rangeDraft, type ImageRange, type TemplateFacts } from './image-map.js';
import type { Plan } from './plan.js';
import { requireVhdSize } from './vhd-size.js';
import { SegmentList, type PlanEntry, type SegmentDraft, type Turn } from './segment-list.js';

/**
 * The data of each block starts on a page of the file, as libvhd lays it out: tapdisk reads with O_DIRECT, and
 * page-aligned writes of the payload need 0.6 times the time on ext4 (measured). It costs 3.5 KiB a block.
 */
const DATA_ALIGNMENT_BYTES = 4 * KIB;

/**
 * A run of allocated virtual blocks that look alike: one block with anything in it, or many that are payload from
 * first byte to last. A plan for 500 GiB stays a handful of runs.
 */
interface BlockRun {
  /** Number of the first virtual block. */
  readonly number: number;
  readonly count: number;
  /** What the first block holds, by offset within the block. */
  readonly parts: readonly ImageRange[];
}

/** Cuts the ranges of the image at block boundaries; offsets become relative to their block. */
function cutIntoBlocks(ranges: readonly ImageRange[]): BlockRun[] {
  const runs: { number: number; count: number; parts: ImageRange[] }[] = [];
  for (const range of ranges) {
    const end = range.offset + range.length;
    for (let at = range.offset; at < end;) {
      const number = Math.floor(at / VHD_BLOCK_BYTES);
      const offset = at - number * VHD_BLOCK_BYTES;
      const wholeBlocks =
        offset === 0 && range.payloadOffset !== undefined ? Math.floor((end - at) / VHD_BLOCK_BYTES) : 0;
      const count = Math.max(1, wholeBlocks);
      const length = Math.min(end - at, VHD_BLOCK_BYTES - offset);
      const payloadOffset =
        range.payloadOffset === undefined ? undefined : range.payloadOffset + (at - range.offset);
      const part: ImageRange = { ...range, offset, length, payloadOffset };
      const last = runs.at(-1);
      if (last !== undefined && last.number === number) last.parts.push(part);
      else runs.push({ number, count, parts: [part] });
      at += wholeBlocks > 0 ? wholeBlocks * VHD_BLOCK_BYTES : length;
    }
  }
  return runs;
}

function blockDraft(block: BlockRun): SegmentDraft[] {
  const drafts: SegmentDraft[] = [];
  let at = 0;
  const fillTo = (offset: number): void => {
    if (offset > at) drafts.push({ name: 'zeros', length: offset - at, content: { kind: 'zeros' } });
    at = offset;
  };
  for (const part of block.parts) {
    fillTo(part.offset);
    drafts.push(rangeDraft(part, block.number * VHD_BLOCK_BYTES + part.offset));
    at += part.length;
  }
  fillTo(VHD_BLOCK_BYTES);
  return drafts;
}

const holdsPayload = (block: BlockRun): boolean =>
  block.parts.some((part) => part.payloadOffset !== undefined);

function turnOf(block: BlockRun): Turn {
  if (block.parts.some((part) => part.superblock)) return 'seal';
  return holdsPayload(block) ? 'payload' : 'metadata';
}

/** The order in the file: payload as the upload arrives, metadata, and the blocks with a superblock last. */
const FILE_ORDER: readonly Turn[] = ['payload', 'metadata', 'seal'];

function bitmapDraft(block: BlockRun): SegmentDraft[] {
  const gap = DATA_ALIGNMENT_BYTES - BITMAP_BYTES;
  return [
    { name: 'alignment', length: gap, content: { kind: 'zeros' } },
    {
      name: 'sector bitmap',
      length: BITMAP_BYTES,
      content: { kind: 'literal', bytes: encodeBitmap(block.parts) },
    },
  ];
}

const TABLE_OFFSET_BYTES = hardDiskFooter.sizeBytes + dynamicDiskHeader.sizeBytes;
const BLOCK_STRIDE_BYTES = DATA_ALIGNMENT_BYTES + VHD_BLOCK_BYTES;

/** Where the first block starts in the file. */
function blocksOffset(virtualSize: number): number {
  return roundUp(TABLE_OFFSET_BYTES + tableBytes(virtualSize), DATA_ALIGNMENT_BYTES);
}

function appendRun(list: SegmentList, run: BlockRun): void {
  list.append(turnOf(run), [...bitmapDraft(run), ...blockDraft(run)], run.count);
}

/**
 * Where a payload will stand in the file: its blocks are the first ones, so this is known before the template is.
 *
 * @param payload its ranges, as announced
 */
export function announceVhdPayload(
  virtualSize: number,
  payload: readonly ImageRange[],
): readonly PlanEntry[] {
  const list = new SegmentList(blocksOffset(virtualSize));
  for (const run of cutIntoBlocks(payload)) appendRun(list, run);
  return list.entries;
}

/**
 * Plans a dynamic VHD that can be written in one pass and mounts only when it is complete: footer copy, header, BAT,
 * the blocks in file order with virtual block 0 last, trailing footer.
 *
 * @throws PatchVdiError `space` beyond 2040 GiB; `tool` for a template that cannot be planned (see mapImage)
 */
export function planVhd(facts: TemplateFacts, identity: VhdIdentity): Plan {
  const { virtualSize, payloadLength } = facts;
  requireVhdSize(virtualSize);
  const ranges = mapImage(facts);
  invariant(payloadInOrder(ranges), 'the payload lies in the image in the order in which it arrives');
  const blocks = cutIntoBlocks(ranges);
  const inFileOrder = FILE_ORDER.flatMap((turn) => blocks.filter((block) => turnOf(block) === turn));
  const firstBlockOffset = blocksOffset(virtualSize);

  const table = new BlockAllocationTable(virtualSize);
  let blockCount = 0;
  for (const run of inFileOrder) {
    for (let index = 0; index < run.count; index += 1, blockCount += 1) {
      const bitmapOffset =
        firstBlockOffset + blockCount * BLOCK_STRIDE_BYTES + DATA_ALIGNMENT_BYTES - BITMAP_BYTES;
      table.place(run.number + index, bitmapOffset / SECTOR_BYTES);
    }
  }

  const footer = encodeDynamicFooter(virtualSize, identity);
  const header = encodeDynamicHeader(virtualSize, TABLE_OFFSET_BYTES);
  const literal = (name: string, bytes: Uint8Array): SegmentDraft => ({
    name,
    length: bytes.length,
    content: { kind: 'literal', bytes },
  });

  const list = new SegmentList();
  list.append('metadata', [
    literal('footer copy', footer),
    literal('dynamic disk header', header),
    literal('BAT', table.bytes),
  ]);
  if (list.length < firstBlockOffset) {
    const length = firstBlockOffset - list.length;
    list.append('metadata', [{ name: 'alignment', length, content: { kind: 'zeros' } }]);
  }
  for (const run of inFileOrder) appendRun(list, run);
  list.append('seal', [literal('footer', footer)]);

  const outputLength = firstBlockOffset + blockCount * BLOCK_STRIDE_BYTES + footer.length;
  return { format: 'vhd', virtualSize, payloadLength, ...list.finish(outputLength, payloadLength) };
}
