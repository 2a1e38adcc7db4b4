/* One image for each loop over on-disk data, made to run as long as it can: a table, best read as a whole. */
import { closeSync, openSync, truncateSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import {
  FILE_TYPE_DIRECTORY,
  INCOMPAT_LARGE_DIR,
  MODE_TYPE_SYMLINK,
  XATTR_INDEX_SYSTEM,
  XATTR_MAGIC,
  inlineDirectoryHead,
  xattrEntryHead,
  xattrInodeHeader,
} from '../../src/ext/file-layout.js';
import { BLOCK_NUMBER_BYTES, INODE_FLAG_INLINE_DATA, MODE_TYPE_DIRECTORY } from '../../src/ext/layout.js';
import { viewOf } from '../../src/struct.js';
import { GIB, KIB, MIB, TIB } from '../../src/units.js';
import { BAT_UNUSED } from '../../src/vhd/layout.js';
import { FOOTER_BYTES, makeFooter, makeHeader, type Fields } from '../vhd/hand-made.js';
import {
  PATCH_INODE,
  PATCH_MODE,
  extentNode,
  folderBlock,
  index,
  leaf,
  makeExt,
  sizeFields,
  type HandMadeExt,
  type InodeFields,
  type Piece,
} from './hand-made-ext.js';

/** An image that is as bad as it can be made. */
export interface WorstImage {
  /** What is bad about it, and the name of the test. */
  readonly what: string;
  /** Writes it; other files that it needs go beside it. */
  readonly write: (path: string) => void;
  /** Its file claims so many blocks that copying them takes hours, as it would of a good file of that size. */
  readonly tooLargeToCopy?: true;
  /** Also listed, and compared with itself. */
  readonly listed?: true;
}

const BLOCK_BYTES = 4 * KIB;
const GROUP_BLOCKS = 8 * BLOCK_BYTES;
/** Files of ext4 with 4 KiB blocks end a block before 16 TiB; the tests' folder may be on one. */
const LARGE_BYTES = 15 * TIB;
const LARGE_BLOCKS = LARGE_BYTES / BLOCK_BYTES;
/** An extent is of so many blocks at most. */
const EXTENT_BLOCKS = 32_768;
const NODE_ENTRIES = Math.floor((BLOCK_BYTES - 12) / 12);
const DIFFERENCING = 4;
const DYNAMIC = 3;

function writePieces(path: string, sizeBytes: number, pieces: Iterable<Piece>): void {
  const fd = openSync(path, 'w');
  try {
    for (const { offset, bytes } of pieces) writeSync(fd, bytes, 0, bytes.length, offset);
  } finally {
    closeSync(fd);
  }
  truncateSync(path, sizeBytes);
}

const writeExt =
  (wish: HandMadeExt, more: (freeBlock: number) => Iterable<Piece> = () => []) =>
  (path: string): void => {
    const made = makeExt(wish);
    writePieces(path, made.sizeBytes, [...made.pieces, ...more(made.freeBlock)]);
  };

const large: HandMadeExt = {
  blockBytes: BLOCK_BYTES,
  blockCount: LARGE_BLOCKS,
  blocksPerGroup: GROUP_BLOCKS,
};
const small: HandMadeExt = { blockBytes: BLOCK_BYTES, blockCount: 4096, blocksPerGroup: GROUP_BLOCKS };

/** An image whose `patch` has these fields; the first free block of such an image is known beforehand. */
function withPatch(wish: HandMadeExt, patch: (freeBlock: number) => InodeFields): HandMadeExt {
  return { ...wish, patch: patch(makeExt(wish).freeBlock) };
}

function numbers(values: readonly number[], length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  const view = viewOf(bytes);
  values.forEach((value, at) => view.setUint32(at * BLOCK_NUMBER_BYTES, value, true));
  return bytes;
}

const at = (block: number, bytes: Uint8Array, blockBytes = BLOCK_BYTES): Piece => ({
  offset: block * blockBytes,
  bytes,
});
const count = <T>(length: number, make: (at: number) => T): T[] =>
  Array.from({ length }, (_, place) => make(place));

/** One indirect block of three levels, whose 1024 children share the same 1024 children, and those their data. */
function tripleIndirect(): WorstImage['write'] {
  const blockCount = (8 * TIB) / BLOCK_BYTES / 2;
  const perBlock = BLOCK_BYTES / BLOCK_NUMBER_BYTES;
  const wish = withPatch({ ...large, blockCount }, (free) => ({
    i_flags: 0,
    ...sizeFields(4 * TIB - GIB),
    i_block: numbers([...count(14, () => 0), free], 60),
  }));
  return writeExt(wish, function* (free) {
    const [middle, lowest, data] = [free + 1, free + 1 + perBlock, free + 1 + 2 * perBlock];
    yield at(
      free,
      numbers(
        count(perBlock, (place) => middle + place),
        BLOCK_BYTES,
      ),
    );
    for (let place = 0; place < perBlock; place += 1) {
      yield at(
        middle + place,
        numbers(
          count(perBlock, (child) => lowest + child),
          BLOCK_BYTES,
        ),
      );
      yield at(
        lowest + place,
        numbers(
          count(perBlock, (child) => data + 2 * child),
          BLOCK_BYTES,
        ),
      );
    }
  });
}

/** As many extents as there is room for: leaves of single blocks, each two blocks behind the one before. */
function manyExtents(extents: number): WorstImage['write'] {
  const blockBytes = KIB;
  const perNode = Math.floor((blockBytes - 12) / 12);
  const wish = { blockBytes, blockCount: 4 * MIB, blocksPerGroup: 8 * KIB };
  const leaves = Math.ceil(extents / perNode);
  const middle = Math.ceil(leaves / perNode);
  const top = Math.ceil(middle / perNode);
  return writeExt(
    withPatch(wish, (free) => ({
      ...sizeFields(extents * blockBytes),
      i_block: extentNode(
        3,
        count(top, (place) => index(place * perNode ** 3, free + place)),
      ),
    })),
    function* (free) {
      const [atMiddle, atLeaves] = [free + top, free + top + middle];
      const data = atLeaves + leaves;
      const children = (place: number, total: number): number => Math.min(perNode, total - place * perNode);
      for (let node = 0; node < top; node += 1) {
        const entries = count(children(node, middle), (child) => {
          const place = node * perNode + child;
          return index(place * perNode ** 2, atMiddle + place);
        });
        yield at(free + node, extentNode(2, entries, blockBytes), blockBytes);
      }
      for (let node = 0; node < middle; node += 1) {
        const entries = count(children(node, leaves), (child) => {
          const place = node * perNode + child;
          return index(place * perNode, atLeaves + place);
        });
        yield at(atMiddle + node, extentNode(1, entries, blockBytes), blockBytes);
      }
      for (let node = 0; node < leaves; node += 1) {
        const entries = count(children(node, extents), (child) => {
          const place = node * perNode + child;
          return leaf(place, 1, data + 2 * place);
        });
        yield at(atLeaves + node, extentNode(0, entries, blockBytes), blockBytes);
      }
    },
  );
}

/** A folder that claims all of the disk, in as many extents as a node holds. */
function hugeFolder(incompat: number, bytes: number): WorstImage['write'] {
  const extents = Math.min(NODE_ENTRIES, Math.ceil(bytes / BLOCK_BYTES / EXTENT_BLOCKS));
  const free = makeExt(large).freeBlock;
  const root = { ...sizeFields(bytes), i_block: extentNode(1, [index(0, free)]) };
  return writeExt({ ...large, incompat, root }, function* () {
    const leaves = count(extents, (place) =>
      leaf(place * EXTENT_BLOCKS, EXTENT_BLOCKS, free + 1 + place * EXTENT_BLOCKS),
    );
    yield at(free, extentNode(0, leaves, BLOCK_BYTES));
  });
}

/** Folders in the root that all have the same blocks, of 128 MiB each; and one that has itself in it. */
function sharedFolders(): WorstImage['write'] {
  const free = makeExt(large).freeBlock;
  const mode = MODE_TYPE_DIRECTORY + 0o755;
  const wide = {
    i_mode: mode,
    i_size_lo: EXTENT_BLOCKS * BLOCK_BYTES,
    i_block: extentNode(0, [leaf(0, EXTENT_BLOCKS, free)]),
  };
  const loop = { i_mode: mode, i_size_lo: BLOCK_BYTES, i_block: extentNode(0, [leaf(0, 1, free)]) };
  const inodes = new Map<number, InodeFields>([
    [13, wide],
    [14, wide],
    [15, wide],
    [16, loop],
  ]);
  const entries = [
    ['a', 13],
    ['b', 14],
    ['c', 15],
    ['d', 16],
    ['patch', PATCH_INODE],
  ] as const;
  return writeExt({ ...large, inodes, entries }, () => [
    at(
      free,
      folderBlock(
        [
          ['.', 16],
          ['..', 2],
          ['again', 16],
          ['root', 2],
          ['a', 13],
        ],
        BLOCK_BYTES,
      ),
    ),
  ]);
}

function attributesOf(fields: Parameters<typeof xattrEntryHead.encode>[0]): Uint8Array {
  const head = xattrInodeHeader.encode({ h_magic: XATTR_MAGIC });
  const entry = { e_name_len: 4, e_name_index: XATTR_INDEX_SYSTEM, ...fields };
  return Buffer.concat([head, xattrEntryHead.encode(entry), Buffer.from('data')]);
}

const inlinePatch = (attributes: Uint8Array): HandMadeExt => ({
  ...small,
  attributes,
  patch: {
    i_flags: INODE_FLAG_INLINE_DATA,
    i_size_lo: 0xffffffff,
    i_size_high: 0x7fffffff,
    i_block: new Uint8Array(60).fill(1),
  },
});

interface WorstVhd {
  readonly diskBytes: number;
  readonly entries: number;
  readonly blockBytes: number;
  readonly place: (block: number) => number;
  readonly type?: number;
  readonly footer?: Fields;
  readonly header?: Fields;
  readonly fileBytes?: number;
}

function* vhdPieces({
  diskBytes,
  entries,
  blockBytes,
  place,
  type = DYNAMIC,
  footer,
  header,
}: WorstVhd): Generator<Piece> {
  const copy = makeFooter(type, diskBytes, footer);
  yield { offset: 0, bytes: copy };
  const tableOffset = 3 * FOOTER_BYTES;
  yield { offset: FOOTER_BYTES, bytes: makeHeader(tableOffset, entries, blockBytes, header) };
  const table = Buffer.alloc(entries * 4);
  for (let block = 0; block < entries; block += 1) table.writeUInt32BE(place(block), block * 4);
  yield { offset: tableOffset, bytes: table };
}

function writeVhd(path: string, vhd: WorstVhd): void {
  const fileBytes = vhd.fileBytes ?? LARGE_BYTES;
  const footer = makeFooter(vhd.type ?? DYNAMIC, vhd.diskBytes, vhd.footer);
  writePieces(path, fileBytes, [...vhdPieces(vhd), { offset: fileBytes - FOOTER_BYTES, bytes: footer }]);
}

const idOf = (number: number): Uint8Array => new Uint8Array(16).fill(number);

/** A chain of differencing disks `0.vhd`, `1.vhd`, …; the child is at `path`. The last has `end` as its parent. */
function writeChain(path: string, length: number, end: number, entries: number): void {
  const blockBytes = 2 * MIB;
  const folder = dirname(path);
  for (let number = 0; number < length; number += 1) {
    const parent = number + 1 === length ? end : number + 1;
    const name = Buffer.from(`${parent}.vhd`, 'utf16le').swap16();
    writeVhd(number === 0 ? path : join(folder, `${number}.vhd`), {
      diskBytes: Math.min(entries * blockBytes, 2040 * GIB),
      entries,
      blockBytes,
      place: () => BAT_UNUSED,
      type: DIFFERENCING,
      footer: { 'Unique Id': idOf(number + 1) },
      header: { 'Parent Unique ID': idOf(parent + 1), 'Parent Unicode Name': name },
      fileBytes: entries * 4 + MIB,
    });
  }
}

const folderOfItself = Buffer.concat([
  inlineDirectoryHead.encode({ parent: FILE_TYPE_DIRECTORY }),
  new Uint8Array(56),
]);

export const WORST_IMAGES: readonly WorstImage[] = [
  {
    what: '262,144 groups of 8 blocks, with descriptors that point nowhere',
    write: writeExt({ blockBytes: 64 * KIB, blockCount: 2 * MIB, blocksPerGroup: 8, emptyDescriptors: true }),
  },
  {
    what: '262,144 groups of 8 blocks, with descriptors that point to two places in turn',
    write: writeExt({
      blockBytes: 64 * KIB,
      blockCount: 2 * MIB,
      blocksPerGroup: 8,
      alternateBitmaps: true,
    }),
  },
  {
    what: '262,144 groups of 8 blocks of 1 KiB, each with a copy of the superblock',
    write: writeExt({
      blockBytes: KIB,
      blockCount: 2 * MIB,
      blocksPerGroup: 8,
      superblock: { s_feature_ro_compat: 0 },
    }),
  },
  {
    what: 'a group more than there can be',
    write: writeExt({ blockBytes: KIB, blockCount: 2 * MIB + 8, blocksPerGroup: 8 }),
  },
  {
    what: 'far more groups than there can be',
    write: (path) => {
      const { pieces } = makeExt({
        ...small,
        superblock: { s_blocks_count_lo: LARGE_BLOCKS, s_blocks_per_group: 8, s_clusters_per_group: 8 },
      });
      writePieces(path, LARGE_BYTES, pieces);
    },
  },
  { what: 'a file system of 15 TiB, all in order', write: writeExt(large), listed: true },
  { what: 'an i_size of 2^63', write: writeExt({ ...small, patch: sizeFields(2 ** 63) }) },
  {
    what: 'an i_size of 2^44 - 1, all of it holes',
    write: writeExt({ ...small, patch: sizeFields(2 ** 44 - 1) }),
    listed: true,
  },
  { what: 'a map of three levels that multiplies', write: tripleIndirect(), tooLargeToCopy: true },
  {
    what: 'an extent tree with 340 entries to the same child',
    write: writeExt(
      withPatch(small, (free) => ({ ...sizeFields(4 * MIB), i_block: extentNode(2, [index(0, free)]) })),
      (free) => [
        at(
          free,
          extentNode(
            1,
            count(NODE_ENTRIES, (place) => index(place, free + 1)),
            BLOCK_BYTES,
          ),
        ),
        at(free + 1, extentNode(0, [leaf(0, 1, free + 2)], BLOCK_BYTES)),
      ],
    ),
  },
  {
    what: 'an extent tree that leads to itself',
    write: writeExt(
      withPatch(small, (free) => ({ ...sizeFields(4 * MIB), i_block: extentNode(2, [index(0, free)]) })),
      (free) => [at(free, extentNode(1, [index(0, free), index(1, free)], BLOCK_BYTES))],
    ),
  },
  {
    what: 'a root folder of 4 GiB, nearly all of it holes',
    write: writeExt({ ...large, root: { i_size_lo: 0xfffff000 } }),
    listed: true,
  },
  { what: 'a root folder of 4 GiB of nothing', write: hugeFolder(0, 4 * GIB - BLOCK_BYTES), listed: true },
  {
    what: 'a root folder of 40 GiB of nothing',
    write: hugeFolder(INCOMPAT_LARGE_DIR, 40 * GIB),
    listed: true,
  },
  { what: 'folders with the same blocks, and circles', write: sharedFolders(), listed: true },
  {
    what: 'a root folder that stands in its inode',
    write: writeExt({
      ...small,
      incompat: 0x8000,
      root: { i_flags: INODE_FLAG_INLINE_DATA, i_block: folderOfItself },
    }),
    listed: true,
  },
  { what: 'a million extents', write: manyExtents(1_000_000) },
  {
    what: 'a symbolic link to itself',
    write: writeExt({
      ...small,
      patch: {
        i_mode: MODE_TYPE_SYMLINK + 0o777,
        i_flags: 0,
        i_size_lo: 5,
        i_block: Buffer.concat([Buffer.from('patch'), new Uint8Array(55)]),
      },
    }),
    listed: true,
  },
  {
    what: 'a symbolic link of 2^32 - 1 bytes',
    write: writeExt({
      ...small,
      patch: { i_mode: MODE_TYPE_SYMLINK + 0o777, i_size_lo: 0xffffffff, i_blocks_lo: 8 },
    }),
    listed: true,
  },
  {
    what: 'inline data of 4 GiB',
    write: writeExt({
      ...inlinePatch(attributesOf({ e_value_size: 0xffffffff, e_value_offs: 0xffff })),
      incompat: 0x8000,
    }),
  },
  {
    what: 'inline data in another inode',
    write: writeExt({ ...inlinePatch(attributesOf({ e_value_size: 4, e_value_inum: 2 })), incompat: 0x8000 }),
  },
  {
    what: 'attributes whose names go on for ever',
    write: writeExt({ ...inlinePatch(attributesOf({ e_name_len: 255, e_name_index: 1 })), incompat: 0x8000 }),
  },
  {
    what: 'a file of another mode',
    write: writeExt({ ...small, patch: { i_mode: PATCH_MODE % 0o1000, i_size_lo: 5 } }),
  },
  {
    what: 'a VHD of 2^21 blocks in disorder',
    write: (path) =>
      writeVhd(path, {
        diskBytes: 4 * TIB,
        entries: 2 ** 21,
        blockBytes: 2 * MIB,
        place: (block) => 20_000 + ((block * 5_000_011) % 2 ** 20) * 4080,
      }),
  },
  {
    what: 'a VHD of 2^23 blocks in one place',
    write: (path) =>
      writeVhd(path, {
        diskBytes: 2 ** 23 * 4 * KIB,
        entries: 2 ** 23,
        blockBytes: 4 * KIB,
        place: () => 2 ** 20,
      }),
  },
  {
    what: 'a VHD with blocks of 2 GiB',
    write: (path) =>
      writeVhd(path, {
        diskBytes: 14 * TIB,
        entries: 7 * 1024,
        blockBytes: 2 ** 31,
        place: (block) => 1024 + block,
      }),
  },
  {
    what: 'a VHD with blocks of 512 bytes',
    write: (path) =>
      writeVhd(path, {
        diskBytes: 2 ** 22 * 512,
        entries: 2 ** 22,
        blockBytes: 512,
        place: (block) => 2 ** 20 + block * 2,
      }),
  },
  { what: 'a differencing disk that is its own parent', write: (path) => writeChain(path, 1, 0, 16) },
  { what: 'a circle of parents', write: (path) => writeChain(path, 5, 2, 16) },
  { what: 'a chain of 17 parents', write: (path) => writeChain(path, 18, 99, 16) },
  { what: 'a chain of 15 parents with large tables', write: (path) => writeChain(path, 16, 99, 2 ** 20) },
  { what: 'an empty file', write: (path) => writePieces(path, 0, []) },
  { what: 'zeros', write: (path) => writePieces(path, LARGE_BYTES, []) },
];
