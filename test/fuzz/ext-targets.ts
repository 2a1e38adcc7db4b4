/* One target for each structure of ext that has a reader: a table, best read as a whole. */
import { crc16 } from '../../src/ext/crc16.js';
import { crc32c } from '../../src/ext/crc32c.js';
import { directoryChecksum } from '../../src/ext/directory-checksum.js';
import { descriptorChecksum } from '../../src/ext/features.js';
import { fileExtents } from '../../src/ext/file-extents.js';
import {
  GOOD_OLD_INODE_BYTES,
  INODE_FLAG_INDEX,
  dxCountLimit,
  dxRoot,
  extentTail,
  xattrEntryHead,
  xattrInodeHeader,
} from '../../src/ext/file-layout.js';
import { openExt, type BlockGroup, type ExtFilesystem } from '../../src/ext/filesystem.js';
import { descriptorRuns } from '../../src/ext/group-head.js';
import { inodeChecksum, inodeChecksumSeed } from '../../src/ext/inode-checksum.js';
import { inodeOffset, readInode, type RawInode } from '../../src/ext/inode.js';
import {
  BLOCK_NUMBER_BYTES,
  INODE_FLAG_EXTENTS,
  INODE_FLAG_INLINE_DATA,
  MODE_TYPE_DIRECTORY,
  MODE_TYPE_MASK,
  ROOT_INODE_NUMBER,
  SUPERBLOCK_OFFSET_BYTES,
  directoryEntryHead,
  extentHeader,
  extentIndex,
  extentLeaf,
  groupDescriptor,
  inode as inodeLayout,
  superBlock,
} from '../../src/ext/layout.js';
import { walk } from '../../src/ext/walk.js';
import { viewOf } from '../../src/struct.js';
import { fieldsOf, numbersAt, type BytesIo, type Field, type Target } from './target.js';

/** Enough to have some of everything; the rest is more of the same. */
const MAX_GROUPS = 8;
const MAX_INODES = 24;
const MAX_BLOCKS_OF_A_FILE = 6;
const MAX_ENTRIES_OF_A_BLOCK = 24;
const ALL_ONES = 0xffffffff;

/** Numbers that mean something in this file system: mutations put them where they do not belong. */
export interface ExtFacts {
  readonly targets: readonly Target[];
  readonly numbers: readonly number[];
}

function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(Uint32Array.BYTES_PER_ELEMENT);
  viewOf(bytes).setUint32(0, value, true);
  return bytes;
}

function u16(value: number): Uint8Array {
  return u32(value).subarray(0, Uint16Array.BYTES_PER_ELEMENT);
}

class ExtTargets {
  readonly targets: Target[] = [];
  readonly #io: BytesIo;
  readonly #filesystem: ExtFilesystem;
  /** Where each descriptor stands, by group. */
  readonly #descriptors: number[] = [];

  constructor(io: BytesIo, filesystem: ExtFilesystem) {
    this.#io = io;
    this.#filesystem = filesystem;
    const { superblock } = filesystem;
    const { blockBytes, descriptorBytes } = superblock;
    for (const { firstBlock, blockCount } of descriptorRuns(superblock)) {
      const perBlock = blockBytes / descriptorBytes;
      for (let index = 0; index < blockCount * perBlock; index += 1) {
        this.#descriptors.push(firstBlock * blockBytes + index * descriptorBytes);
      }
    }
  }

  #add(kind: string, offset: number, length: number, fields: readonly Field[], fix?: () => void): void {
    this.targets.push({ kind, io: this.#io, offset, length, fields, ...(fix === undefined ? {} : { fix }) });
  }

  addSuperblocks(): void {
    const { superblock } = this.#filesystem;
    const { blockBytes, blocksPerGroup, firstDataBlock, hasMetadataChecksums } = superblock;
    const copies = superblock.backupGroups
      .slice(0, 2)
      .map((group) => (firstDataBlock + group * blocksPerGroup) * blockBytes);
    for (const [index, offset] of [SUPERBLOCK_OFFSET_BYTES, ...copies].entries()) {
      const fix = (): void => {
        const [at] = superBlock.rows.s_checksum;
        this.#io.write(offset + at, u32(crc32c(ALL_ONES, this.#io.read(offset, at))));
      };
      const fields = fieldsOf(superBlock, offset, true);
      const kind = index === 0 ? 'superblock' : 'superblock backup';
      this.#add(kind, offset, superBlock.sizeBytes, fields, hasMetadataChecksums ? fix : undefined);
    }
  }

  #fixDescriptor(group: number): void {
    const { superblock } = this.#filesystem;
    const { descriptorBytes, features, checksumSeed, uuid } = superblock;
    const kind = descriptorChecksum(features);
    const offset = this.#descriptors[group];
    if (kind === undefined || offset === undefined) return;
    const bytes = this.#io.read(offset, descriptorBytes);
    const [at] = groupDescriptor.rows.bg_checksum;
    const [front, behind] = [bytes.subarray(0, at), bytes.subarray(at + Uint16Array.BYTES_PER_ELEMENT)];
    const parts = kind === 'crc32c' ? [front, u16(0), behind] : [front, behind];
    const step = kind === 'crc32c' ? crc32c : crc16;
    const start = kind === 'crc32c' ? checksumSeed : crc16(0xffff, uuid);
    const crc = parts.reduce((value, part) => step(value, part), step(start, u32(group)));
    this.#io.write(offset + at, u16(crc % 2 ** 16));
  }

  #fixBitmap(kind: 'block' | 'inode', group: BlockGroup): void {
    const { superblock } = this.#filesystem;
    const { descriptorBytes, blocksPerGroup, blocksPerCluster, inodesPerGroup, blockBytes } = superblock;
    const descriptor = this.#descriptors[group.index] ?? 0;
    const bits = kind === 'block' ? blocksPerGroup / blocksPerCluster : inodesPerGroup;
    const block = kind === 'block' ? group.blockBitmapBlock : group.inodeBitmapBlock;
    const crc = crc32c(superblock.checksumSeed, this.#io.read(block * blockBytes, Math.floor(bits / 8)));
    const { rows } = groupDescriptor;
    const [low] = kind === 'block' ? rows.bg_block_bitmap_csum_lo : rows.bg_inode_bitmap_csum_lo;
    const [high] = kind === 'block' ? rows.bg_block_bitmap_csum_hi : rows.bg_inode_bitmap_csum_hi;
    if (superblock.hasMetadataChecksums) {
      this.#io.write(descriptor + low, u16(crc % 2 ** 16));
      if (descriptorBytes >= groupDescriptor.sizeBytes) {
        this.#io.write(descriptor + high, u16(Math.floor(crc / 2 ** 16)));
      }
    }
    this.#fixDescriptor(group.index);
  }

  addGroups(): void {
    const { superblock, groups } = this.#filesystem;
    const { descriptorBytes, blockBytes } = superblock;
    for (const group of [...groups].slice(0, MAX_GROUPS)) {
      const offset = this.#descriptors[group.index];
      if (offset === undefined) continue;
      const fields = fieldsOf(groupDescriptor, offset, true, descriptorBytes);
      this.#add('descriptor', offset, descriptorBytes, fields, () => this.#fixDescriptor(group.index));
      for (const kind of ['block', 'inode'] as const) {
        const block = kind === 'block' ? group.blockBitmapBlock : group.inodeBitmapBlock;
        this.#add(`${kind} bitmap`, block * blockBytes, blockBytes, [], () => this.#fixBitmap(kind, group));
      }
    }
  }

  #fixInode(number: number): void {
    const { superblock } = this.#filesystem;
    const offset = inodeOffset(this.#filesystem, number);
    const sum = inodeChecksum(superblock, number, this.#io.read(offset, superblock.inodeBytes));
    if (sum === undefined) return;
    this.#io.write(offset + inodeLayout.rows.l_i_checksum_lo[0], u16(sum.computed % 2 ** 16));
    if (superblock.inodeBytes <= GOOD_OLD_INODE_BYTES) return;
    const extra = viewOf(this.#io.read(offset + inodeLayout.rows.i_extra_isize[0], 2)).getUint16(0, true);
    const [high] = inodeLayout.rows.i_checksum_hi;
    if (GOOD_OLD_INODE_BYTES + extra < high + 2) return;
    this.#io.write(offset + high, u16(Math.floor(sum.computed / 2 ** 16)));
  }

  /** The header of an extent tree node and its first entries. */
  #nodeFields(offset: number): Field[] {
    const header = extentHeader.decode(this.#io.read(offset, extentHeader.sizeBytes));
    const entry = header.eh_depth === 0 ? extentLeaf : extentIndex;
    const count = Math.min(header.eh_entries, MAX_ENTRIES_OF_A_BLOCK);
    const fields = fieldsOf(extentHeader, offset, true);
    for (let index = 0; index < count; index += 1) {
      fields.push(...fieldsOf(entry, offset + extentHeader.sizeBytes + index * entry.sizeBytes, true));
    }
    return fields;
  }

  async addInode(number: number, name: string): Promise<void> {
    const { superblock } = this.#filesystem;
    const { inodeBytes } = superblock;
    const raw = await readInode(this.#filesystem, number);
    const offset = inodeOffset(this.#filesystem, number);
    const fix = (): void => this.#fixInode(number);
    this.#add(`inode of ${name}`, offset, inodeBytes, fieldsOf(inodeLayout, offset, true, inodeBytes), fix);
    const [blockAt, { bytes: blockBytes }] = inodeLayout.rows.i_block;
    const [start, end] = [offset + blockAt, offset + blockAt + blockBytes];
    const inline = (raw.i_flags & INODE_FLAG_INLINE_DATA) !== 0;
    const extents = (raw.i_flags & INODE_FLAG_EXTENTS) !== 0;
    const map = extents
      ? this.#nodeFields(start).filter((field) => field.offset + field.bytes <= end)
      : numbersAt(start, blockBytes / BLOCK_NUMBER_BYTES, BLOCK_NUMBER_BYTES, true);
    this.#add(inline ? 'inline data' : 'map', start, blockBytes, map, fix);
    this.#addAttributes(offset, raw, fix);
    if (inline) return;
    await this.#addMapBlocks(number, raw, extents);
    if ((raw.i_mode & MODE_TYPE_MASK) === MODE_TYPE_DIRECTORY) await this.#addFolderBlocks(number, raw);
  }

  #addAttributes(offset: number, raw: RawInode, fix: () => void): void {
    const { inodeBytes } = this.#filesystem.superblock;
    const start = GOOD_OLD_INODE_BYTES + raw.i_extra_isize;
    const length = inodeBytes - start;
    if (length < xattrInodeHeader.sizeBytes + xattrEntryHead.sizeBytes) return;
    const base = offset + start;
    const fields = [
      ...fieldsOf(xattrInodeHeader, base, true),
      ...fieldsOf(xattrEntryHead, base + xattrInodeHeader.sizeBytes, true),
    ];
    this.#add('attributes', base, length, fields, fix);
  }

  async #addMapBlocks(number: number, raw: RawInode, extents: boolean): Promise<void> {
    const { superblock } = this.#filesystem;
    const { blockBytes } = superblock;
    const blocks: number[] = [];
    for await (const extent of fileExtents(this.#filesystem, number, raw, {
      onTreeBlock: (block) => blocks.push(block),
    })) {
      if (extent.blockCount === 0) break;
    }
    const seed = inodeChecksumSeed(superblock, number, raw.i_generation);
    for (const block of [...blocks.slice(0, MAX_BLOCKS_OF_A_FILE), ...blocks.slice(-1)]) {
      const base = block * blockBytes;
      const count = Math.min(blockBytes / BLOCK_NUMBER_BYTES, MAX_ENTRIES_OF_A_BLOCK);
      const fields = extents ? this.#nodeFields(base) : numbersAt(base, count, BLOCK_NUMBER_BYTES, true);
      const fix = (): void => {
        const header = extentHeader.decode(this.#io.read(base, extentHeader.sizeBytes));
        const at = extentHeader.sizeBytes + header.eh_max * extentLeaf.sizeBytes;
        if (at + extentTail.sizeBytes > blockBytes || seed === undefined) return;
        this.#io.write(base + at, u32(crc32c(seed, this.#io.read(base, at))));
      };
      this.#add('map', base, blockBytes, fields, extents && seed !== undefined ? fix : undefined);
    }
  }

  #entryFields(base: number): Field[] {
    const { blockBytes } = this.#filesystem.superblock;
    const fields: Field[] = [];
    for (let at = 0; at + directoryEntryHead.sizeBytes <= blockBytes;) {
      fields.push(...fieldsOf(directoryEntryHead, base + at, true));
      const { rec_len } = directoryEntryHead.decode(this.#io.read(base + at, directoryEntryHead.sizeBytes));
      at += Math.max(rec_len, directoryEntryHead.sizeBytes);
      if (fields.length > MAX_ENTRIES_OF_A_BLOCK * 4) break;
    }
    return fields;
  }

  async #addFolderBlocks(number: number, raw: RawInode): Promise<void> {
    const { superblock } = this.#filesystem;
    const { blockBytes } = superblock;
    const seed = inodeChecksumSeed(superblock, number, raw.i_generation);
    const hashed = (raw.i_flags & INODE_FLAG_INDEX) !== 0;
    const blocks: { base: number; fileBlock: number }[] = [];
    for await (const { fileBlock, fsBlock, blockCount } of fileExtents(this.#filesystem, number, raw)) {
      for (let index = 0; index < Math.min(blockCount, MAX_BLOCKS_OF_A_FILE); index += 1) {
        blocks.push({ base: (fsBlock + index) * blockBytes, fileBlock: fileBlock + index });
      }
    }
    for (const { base, fileBlock } of [...blocks.slice(0, MAX_BLOCKS_OF_A_FILE), ...blocks.slice(-1)]) {
      const fix = (): void => {
        if (seed === undefined) return;
        const { at, computed } = directoryChecksum(seed, this.#io.read(base, blockBytes), fileBlock, hashed);
        if (computed !== undefined) this.#io.write(base + at, u32(computed));
      };
      const ofIndex =
        hashed && fileBlock === 0
          ? [
              ...fieldsOf(dxRoot, base, true),
              ...fieldsOf(dxCountLimit, base + dxRoot.sizeBytes, true),
              ...numbersAt(base + dxRoot.sizeBytes, 8, BLOCK_NUMBER_BYTES, true),
            ]
          : [];
      const fields = [...this.#entryFields(base), ...ofIndex];
      this.#add('folder block', base, blockBytes, fields, seed === undefined ? undefined : fix);
    }
  }
}

/** The structures of the file system at the start of these bytes; none when there is none that can be opened. */
export async function findExtTargets(io: BytesIo, diskBytes: number): Promise<ExtFacts> {
  const read = (offset: number, length: number): Promise<Uint8Array> =>
    Promise.resolve(io.read(offset, length));
  const report = (): void => undefined;
  let filesystem: ExtFilesystem;
  try {
    filesystem = await openExt(read, { report, diskBytes });
  } catch {
    // Refused fixtures: their superblock is all there is to change.
    const fields = fieldsOf(superBlock, SUPERBLOCK_OFFSET_BYTES, true);
    const { sizeBytes: length } = superBlock;
    return {
      targets: [{ kind: 'superblock', io, offset: SUPERBLOCK_OFFSET_BYTES, length, fields }],
      numbers: [],
    };
  }
  const found = new ExtTargets(io, filesystem);
  found.addSuperblocks();
  found.addGroups();
  await found.addInode(ROOT_INODE_NUMBER, 'root');
  let count = 0;
  for await (const { path, facts } of walk(filesystem)) {
    if (path !== 'patch' && (count += 1) > MAX_INODES) continue;
    if (path === 'patch' || facts.type === 'directory' || count < MAX_INODES / 2) {
      await found.addInode(facts.inodeNumber, path === 'patch' ? 'patch' : 'others');
    }
  }
  const { blockCount, inodeCount, blockBytes, blocksPerGroup, inodesPerGroup } = filesystem.superblock;
  const blocks = found.targets.map(({ offset }) => Math.floor(offset / blockBytes));
  const numbers = [blockCount, inodeCount, blockBytes, blocksPerGroup, inodesPerGroup, ...new Set(blocks)];
  return { targets: found.targets, numbers };
}
