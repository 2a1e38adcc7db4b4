import { viewOf } from '../struct.js';
import { decodeGroup, metadataEnd, type BlockGroup } from './block-group.js';
import { crc16 } from './crc16.js';
import { crc32c } from './crc32c.js';
import { descriptorChecksum } from './features.js';
import { placeFault, type DescriptorFault } from './group-faults.js';
import { groupHead } from './group-head.js';
import { groupDescriptor } from './layout.js';
import type { Superblock } from './superblock.js';

/** The table of groups: descriptors as they are on disk, decoded when they are asked for. */
export class GroupTable {
  readonly length: number;
  readonly #superblock: Superblock;
  readonly #table: Uint8Array;
  readonly #view: DataView;
  readonly #missing: ReadonlySet<number>;
  readonly #blocksOnDisk: number;
  readonly #firstHeadEnd: number;

  /**
   * @param table all descriptors, in order; kept
   * @param missing the blocks of descriptors that could not be read, counted from 0
   * @param blocksOnDisk groups that name blocks from this one on cannot be used
   */
  constructor(
    superblock: Superblock,
    table: Uint8Array,
    missing: ReadonlySet<number> = new Set(),
    blocksOnDisk: number = superblock.blockCount,
  ) {
    this.#blocksOnDisk = blocksOnDisk;
    this.#firstHeadEnd = groupHead(superblock, 0).descriptorsEnd;
    this.length = superblock.groupCount;
    this.#superblock = superblock;
    this.#table = table;
    this.#view = viewOf(table);
    this.#missing = missing;
  }

  /** @returns undefined for a number that no group has, and for a group whose descriptor cannot be used */
  at(index: number): BlockGroup | undefined {
    const group = this.decode(index);
    if (group === undefined || this.placeFault(group) !== undefined) return undefined;
    if (metadataEnd(this.#superblock, group) > this.#blocksOnDisk) return undefined;
    const { inodesPerGroup } = this.#superblock;
    const uninitialised = group.blockBitmapUninitialised || group.inodeBitmapUninitialised;
    const promises = uninitialised || group.unusedInodeCount > 0 || group.inodeTableZeroed;
    if (!promises) return group;
    // What a damaged descriptor says need not be looked at is looked at.
    if (group.unusedInodeCount <= inodesPerGroup && this.checksumFault(index) === undefined) return group;
    return {
      ...group,
      blockBitmapUninitialised: false,
      inodeBitmapUninitialised: false,
      inodeTableZeroed: false,
      unusedInodeCount: 0,
    };
  }

  /** The groups that can be used, in order. */
  *[Symbol.iterator](): Generator<BlockGroup> {
    for (let index = 0; index < this.length; index += 1) {
      const group = this.at(index);
      if (group !== undefined) yield group;
    }
  }

  /** A descriptor as it is, whatever it says; undefined where there is none. */
  decode(index: number): BlockGroup | undefined {
    const { blockBytes, descriptorBytes } = this.#superblock;
    if (!Number.isInteger(index) || index < 0 || index >= this.length) return undefined;
    const at = index * descriptorBytes;
    if (this.#missing.has(Math.floor(at / blockBytes)) || at + descriptorBytes > this.#table.length) {
      return undefined;
    }
    return decodeGroup(this.#superblock, this.#view, at, index);
  }

  /** What makes the places that a group names unusable, if anything does. */
  placeFault(group: BlockGroup): DescriptorFault | undefined {
    return placeFault(this.#superblock, group, this.#firstHeadEnd);
  }

  /** The checksum of a descriptor against what it should be; undefined when it is right, or there is none. */
  checksumFault(index: number): DescriptorFault | undefined {
    const { descriptorBytes, features, hasMetadataChecksums } = this.#superblock;
    const kind = descriptorChecksum(features);
    if (kind === undefined || (kind === 'crc32c' && !hasMetadataChecksums)) return undefined;
    const at = index * descriptorBytes;
    const stored = groupDescriptor.number(this.#view, at, 'bg_checksum');
    const bytes = this.#table.subarray(at, at + descriptorBytes);
    const computed = kind === 'crc32c' ? this.#crc32cOf(index, bytes) : this.#crc16Of(index, bytes);
    if (computed === stored) return undefined;
    return { found: `bg_checksum 0x${stored.toString(16)}`, expected: `0x${computed.toString(16)}` };
  }

  /** The lower half of a CRC-32C over the group's number and its descriptor, in which the checksum counts as 0. */
  #crc32cOf(index: number, bytes: Uint8Array): number {
    const [at] = groupDescriptor.rows.bg_checksum;
    const behind = at + Uint16Array.BYTES_PER_ELEMENT;
    let crc = crc32c(this.#superblock.checksumSeed, groupNumberBytes(index));
    crc = crc32c(crc, bytes.subarray(0, at));
    crc = crc32c(crc, new Uint8Array(behind - at));
    return crc32c(crc, bytes.subarray(behind)) & 0xffff;
  }

  /** A CRC-16 over the UUID, the group's number and its descriptor without the checksum. */
  #crc16Of(index: number, bytes: Uint8Array): number {
    const [at] = groupDescriptor.rows.bg_checksum;
    let crc = crc16(crc16(0xffff, this.#superblock.uuid), groupNumberBytes(index));
    crc = crc16(crc, bytes.subarray(0, at));
    return crc16(crc, bytes.subarray(at + Uint16Array.BYTES_PER_ELEMENT));
  }
}

function groupNumberBytes(index: number): Uint8Array {
  const bytes = new Uint8Array(Uint32Array.BYTES_PER_ELEMENT);
  viewOf(bytes).setUint32(0, index, true);
  return bytes;
}
