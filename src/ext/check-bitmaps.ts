import type { Finding } from '../findings.js';
import { countClearBits } from './bitmap.js';
import { crc32c } from './crc32c.js';
import type { ExtFilesystem } from './filesystem.js';
import { FindingCap } from './finding-cap.js';
import { clusterCount, type BlockGroup } from './block-group.js';
import { SUPERBLOCK_OFFSET_BYTES, groupDescriptor, superBlock } from './layout.js';
import { BitmapReader, isInitialised, uninitialisedBlockBitmap, type BitmapKind } from './read-bitmaps.js';
import type { Superblock } from './superblock.js';

/** What the bitmaps themselves say. */
export interface BitmapFacts {
  /** In blocks; with `bigalloc` those of all free clusters. */
  readonly freeBlockCount: number;
  readonly freeInodeCount: number;
  /** Groups that could not be used, and are in neither count. */
  readonly unreadGroupCount: number;
}

export interface CheckBitmapsOptions {
  readonly abortSignal?: AbortSignal | undefined;
}

/** Bytes that {@link checkBitmaps} will read: of bitmaps that mean anything. */
export function bitmapBytes({ superblock, groups }: ExtFilesystem): number {
  let bitmaps = 0;
  for (const group of groups) {
    if (isInitialised('block', group)) bitmaps += 1;
    if (isInitialised('inode', group)) bitmaps += 1;
  }
  return bitmaps * superblock.blockBytes;
}

/** One kind of bitmap while the groups are gone through. */
class BitmapCheck {
  readonly #filesystem: ExtFilesystem;
  readonly #kind: BitmapKind;
  readonly #reader: BitmapReader;
  readonly #tell: (finding: Finding) => void;
  /** Units are clusters or inodes. */
  counted = 0;
  /** As the descriptors have it. */
  told = 0;
  /** A bitmap whose checksum is wrong: what it says is no ground for a second complaint. */
  damaged = false;

  constructor(filesystem: ExtFilesystem, kind: BitmapKind, tell: (finding: Finding) => void) {
    this.#filesystem = filesystem;
    this.#kind = kind;
    this.#reader = new BitmapReader(filesystem, kind);
    this.#tell = tell;
  }

  async visit(group: BlockGroup): Promise<void> {
    const { superblock } = this.#filesystem;
    const blocks = this.#kind === 'block';
    const told = blocks ? group.freeBlockCount / superblock.blocksPerCluster : group.freeInodeCount;
    const bits = blocks ? clusterCount(superblock, group) : superblock.inodesPerGroup;
    this.told += told;
    if (!isInitialised(this.#kind, group)) {
      const free = blocks ? countClearBits(uninitialisedBlockBitmap(superblock, group), bits) : bits;
      this.#count(group, free, told);
      return;
    }
    const bitmap = await this.#reader.read(group);
    const free = countClearBits(bitmap, bits);
    const checksum = checksumFault(superblock, this.#kind, group, bitmap);
    if (checksum === undefined) {
      this.#count(group, free, told);
      return;
    }
    this.counted += free;
    this.damaged = true;
    const block = blocks ? group.blockBitmapBlock : group.inodeBitmapBlock;
    this.#tell({
      code: blocks ? 'block-bitmap-checksum' : 'inode-bitmap-checksum',
      severity: 'error',
      structure: `${this.#kind} bitmap of group ${group.index}`,
      space: 'disk',
      offset: block * superblock.blockBytes,
      ...checksum,
    });
  }

  #count(group: BlockGroup, free: number, told: number): void {
    this.counted += free;
    if (free === told) return;
    const { superblock } = this.#filesystem;
    const units = unitsOf(superblock, this.#kind);
    this.#tell({
      code: this.#kind === 'block' ? 'group-free-blocks' : 'group-free-inodes',
      severity: severityOfCounts(superblock),
      structure: `${this.#kind} bitmap of group ${group.index}`,
      space: 'disk',
      offset:
        (this.#kind === 'block' ? group.blockBitmapBlock : group.inodeBitmapBlock) * superblock.blockBytes,
      found: `${free} free ${units}`,
      expected: `${told}, as the group descriptor has it`,
    });
  }

  /** The total in the superblock, which must be that of the bitmaps, or at least of the descriptors. */
  finish(told: number, complete: boolean): void {
    const { superblock } = this.#filesystem;
    const blocks = this.#kind === 'block';
    // Each group whose bitmap and descriptor disagree has its finding already.
    const counted = this.counted * (blocks ? superblock.blocksPerCluster : 1);
    const inDescriptors = this.told * (blocks ? superblock.blocksPerCluster : 1);
    if (!complete || told === inDescriptors || (!this.damaged && told === counted)) return;
    // More than there are at all: said when the superblock was read.
    if (told > (blocks ? superblock.blockCount + superblock.blocksPerCluster - 1 : superblock.inodeCount))
      return;
    const field = blocks ? 's_free_blocks_count_lo' : 's_free_inodes_count';
    this.#tell({
      code: blocks ? 'free-block-count' : 'free-inode-count',
      severity: severityOfCounts(superblock),
      structure: 'superblock',
      space: 'disk',
      offset: SUPERBLOCK_OFFSET_BYTES + superBlock.rows[field][0],
      found: `${told} free ${blocks ? 'blocks' : 'inodes'}`,
      expected: `${inDescriptors}, as the groups have it`,
    });
  }
}

function unitsOf({ blocksPerCluster }: Superblock, kind: BitmapKind): string {
  if (kind === 'inode') return 'inodes';
  return blocksPerCluster === 1 ? 'blocks' : 'clusters';
}

/** While a file system is mounted its counts are behind; only an unmount, or the journal, puts them right. */
function severityOfCounts({ state, needsRecovery }: Superblock): Finding['severity'] {
  return state.clean && !needsRecovery ? 'error' : 'warning';
}

/** A CRC-32C over the bits of a whole group, also of the last; small descriptors hold its lower half. */
function checksumFault(
  superblock: Superblock,
  kind: BitmapKind,
  group: BlockGroup,
  bitmap: Uint8Array,
): { found: string; expected: string } | undefined {
  if (!superblock.hasMetadataChecksums) return undefined;
  const bits =
    kind === 'block' ? superblock.blocksPerGroup / superblock.blocksPerCluster : superblock.inodesPerGroup;
  const whole = crc32c(superblock.checksumSeed, bitmap.subarray(0, Math.floor(bits / 8)));
  const computed = superblock.descriptorBytes < groupDescriptor.sizeBytes ? whole & 0xffff : whole;
  const stored = kind === 'block' ? group.blockBitmapChecksum : group.inodeBitmapChecksum;
  if (computed === stored) return undefined;
  return { found: `a checksum of 0x${computed.toString(16)}`, expected: `0x${stored.toString(16)}` };
}

/**
 * Reads all bitmaps, verifies their checksums, and counts what is free against the descriptors and the superblock.
 * What does not fit is reported; in a file system that was not unmounted, counts that are behind are warnings.
 * Reads {@link bitmapBytes}, and holds 512 KiB at most.
 *
 * @throws PatchVdiError `image` when a bitmap cannot be read; the reason of the signal
 */
export async function checkBitmaps(
  filesystem: ExtFilesystem,
  { abortSignal }: CheckBitmapsOptions = {},
): Promise<BitmapFacts> {
  const { superblock, groups, report } = filesystem;
  const cap = new FindingCap(report);
  const tell = (finding: Finding): void => cap.report(finding);
  const blocks = new BitmapCheck(filesystem, 'block', tell);
  const inodes = new BitmapCheck(filesystem, 'inode', tell);
  let usable = 0;
  for (const group of groups) {
    abortSignal?.throwIfAborted();
    await blocks.visit(group);
    await inodes.visit(group);
    usable += 1;
  }
  const complete = usable === groups.length;
  blocks.finish(superblock.freeBlockCount, complete);
  inodes.finish(superblock.freeInodeCount, complete);
  cap.finish();
  return {
    freeBlockCount: blocks.counted * superblock.blocksPerCluster,
    freeInodeCount: inodes.counted,
    unreadGroupCount: groups.length - usable,
  };
}
