/* One thing in a good image is changed, its checksum put right: exactly that is reported, by its own name. */
import { readFileSync } from 'node:fs';
import { beforeEach, describe, expect, test } from 'vitest';
import { dxCountLimit, dxRoot, xattrEntryHead, xattrInodeHeader } from '../../src/ext/file-layout.js';
import { inodeOffset } from '../../src/ext/inode.js';
import { directoryEntryHead, extentHeader, extentIndex, extentLeaf, inode } from '../../src/ext/layout.js';
import { lookUp } from '../../src/ext/paths.js';
import { change } from '../oracles/debugfs.js';
import { clean } from '../oracles/e2fsck.js';
import { requireTool } from '../oracles/require-tool.js';
import { runJudge } from '../oracles/run-judge.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { BLOCK_BYTES, Disk, complaintsAbout, makeGood } from './damage.js';

const EXTENTS = 0x80000;
const INLINE = 0x10000000;
const ENCRYPT = 0x800;

type Damage = readonly [name: string, damage: (disk: Disk) => Promise<void>, complaints: readonly string[]];

/** Changes the first entry behind `.` and `..` of the folder `sub`. */
const ofEntry =
  (edit: (entry: Buffer) => void, fixChecksum = true) =>
  (disk: Disk): Promise<void> =>
    disk.changeFolder('sub', (block) => edit(block.subarray(2 * 12)), fixChecksum);

const ofInode =
  (values: Parameters<Disk['setInode']>[1], path = 'patch') =>
  (disk: Disk): Promise<void> =>
    disk.setInode(path, values);

/** Changes the root of the extent tree of `patch`, in its inode: an index entry, or the header. */
const ofRoot =
  (edit: (root: Buffer) => void) =>
  async (disk: Disk): Promise<void> => {
    const filesystem = await disk.open();
    const inodeNumber = (await lookUp(filesystem, 'patch')) ?? 0;
    edit(disk.bytes.subarray(inodeOffset(filesystem, inodeNumber) + inode.rows.i_block[0]));
    await disk.fixInode(inodeNumber);
  };

const ofTree =
  (edit: (block: Buffer) => void, fixChecksum = true) =>
  (disk: Disk): Promise<void> =>
    disk.changeTree('patch', edit, fixChecksum);

const firstLeaf = (block: Buffer): Buffer => block.subarray(extentHeader.sizeBytes);
const flip = (bytes: Uint8Array, at: number): void => {
  bytes[at] = (bytes[at] ?? 0) ^ 0x40;
};

async function flipInode(disk: Disk, field: keyof typeof inode.rows): Promise<void> {
  const filesystem = await disk.open();
  flip(disk.bytes, inodeOffset(filesystem, (await lookUp(filesystem, 'patch')) ?? 0) + inode.rows[field][0]);
}

const INODE_FIELDS = Object.keys(inode.rows).filter((field) => field !== 'i_extra_isize');

/** Whose damage cannot be read past. */
const ENDS_READING: Readonly<Record<string, readonly string[]>> = {
  i_block: ['error: an extent tree node is damaged'],
};

const DAMAGES: readonly Damage[] = [
  ...INODE_FIELDS.map((field): Damage => [
    `a bit of ${field}`,
    (disk) => flipInode(disk, field as keyof typeof inode.rows),
    ['inode-checksum', ...(ENDS_READING[field] ?? [])],
  ]),
  ['i_extra_isize that is odd', ofInode({ i_extra_isize: 30 }), ['inode-extra-size']],
  ['i_extra_isize beyond the inode', ofInode({ i_extra_isize: 132 }), ['inode-extra-size']],
  ['extents and inline data', ofInode({ i_flags: EXTENTS + INLINE }), ['inode-flags']],
  [
    'inline data that is not there, nor the feature',
    ofInode({ i_flags: INLINE, i_size_lo: 9 }),
    ['inode-flags', 'inline-data-missing'],
  ],
  ['a size of 2^63', ofInode({ i_size_high: 0x80000000 }), ['inode-size', 'error: inode 12 is damaged']],
  ['a file without links', ofInode({ i_links_count: 0 }), ['deleted-inode']],
  ['a file that was deleted', ofInode({ i_dtime: 1_000_000_000 }), ['deleted-inode']],
  ['i_blocks', ofInode({ i_blocks_lo: 8 }), ['inode-block-count']],
  ['a file that is encrypted', ofInode({ i_flags: EXTENTS + ENCRYPT }), ['error: inode 12 is damaged']],
  ['a folder that is encrypted', ofInode({ i_flags: EXTENTS + ENCRYPT }, 'sub'), ['directory-encrypted']],
  ['a file that is a socket', ofInode({ i_mode: 0xc1a4 }), ['directory-entry-type']],

  ['a bit in an extent block', ofTree((block) => flip(block, 500), false), ['extent-block-checksum']],
  [
    'room for more than there is',
    ofTree((block) => extentHeader.set(block, 'eh_max', 341)),
    ['extent-node-capacity'],
  ],
  [
    'more entries than room',
    ofTree((block) => extentHeader.set(block, 'eh_max', 2)),
    ['extent-node-capacity'],
  ],
  [
    'a leaf without entries',
    ofTree((block) => extentHeader.set(block, 'eh_entries', 0)),
    ['error: an extent tree node is damaged'],
  ],
  [
    'a leaf of another depth',
    ofTree((block) => extentHeader.set(block, 'eh_depth', 1)),
    ['error: an extent tree node is damaged'],
  ],
  [
    'data over the superblock',
    ofTree((block) => extentLeaf.set(firstLeaf(block), 'ee_start_lo', 0)),
    ['file-over-superblock'],
  ],
  [
    'data behind the last block',
    ofTree((block) => extentLeaf.set(firstLeaf(block), 'ee_start_lo', 4096)),
    ['error: an extent is damaged'],
  ],
  [
    'data far behind it',
    ofTree((block) => extentLeaf.set(firstLeaf(block), 'ee_start_hi', 1)),
    ['error: an extent is damaged'],
  ],
  [
    'an extent of no blocks',
    ofTree((block) => extentLeaf.set(firstLeaf(block), 'ee_len', 0)),
    ['error: an extent is damaged'],
  ],
  [
    'extents that overlap',
    ofTree((block) => extentLeaf.set(firstLeaf(block), 'ee_len', 3)),
    ['error: an extent is damaged'],
  ],
  [
    'an extent in the place of another',
    ofTree((block) => extentLeaf.set(firstLeaf(block), 'ee_block', 7)),
    ['error: an extent is damaged'],
  ],
  [
    'a tree block behind the last block',
    ofRoot((root) => extentIndex.set(firstLeaf(root), 'ei_leaf_lo', 4096)),
    ['error: an extent index is damaged'],
  ],
  [
    'a tree block over the superblock',
    ofRoot((root) => extentIndex.set(firstLeaf(root), 'ei_leaf_lo', 0)),
    ['error: an extent index is damaged'],
  ],
  [
    'a tree block for other file blocks',
    ofRoot((root) => extentIndex.set(firstLeaf(root), 'ei_block', 1)),
    ['error: an extent is damaged'],
  ],
  [
    'a root without its magic',
    ofRoot((root) => extentHeader.set(root, 'eh_magic', 0xf30b)),
    ['error: an extent tree node is damaged'],
  ],

  [
    'a bit in a name',
    ofEntry((entry) => flip(entry, directoryEntryHead.sizeBytes), false),
    ['directory-checksum'],
  ],
  ['rec_len 0', ofEntry((entry) => directoryEntryHead.set(entry, 'rec_len', 0)), ['directory-entry']],
  [
    'rec_len beyond the block',
    ofEntry((entry) => directoryEntryHead.set(entry, 'rec_len', 8000)),
    ['directory-entry'],
  ],
  [
    'name_len beyond rec_len',
    ofEntry((entry) => directoryEntryHead.set(entry, 'name_len', 255)),
    ['directory-entry'],
  ],
  [
    'an inode that does not exist',
    ofEntry((entry) => directoryEntryHead.set(entry, 'inode', 0xffffffff)),
    ['directory-entry-inode'],
  ],
  [
    'another type',
    ofEntry((entry) => directoryEntryHead.set(entry, 'file_type', 7)),
    ['directory-entry-type'],
  ],
  [
    'a name with a slash',
    ofEntry((entry) => entry.write('/', directoryEntryHead.sizeBytes)),
    ['directory-entry-name'],
  ],
  ['a name with a zero', ofEntry((entry) => entry.fill(0, 9, 10)), ['directory-entry-name']],
  [
    'a name of no bytes',
    ofEntry((entry) => directoryEntryHead.set(entry, 'name_len', 0)),
    ['directory-entry-name'],
  ],
  [
    'a folder that holds its parent',
    ofEntry((entry) => directoryEntryHead.set(entry, 'inode', 2)),
    ['directory-cycle'],
  ],
  ['a folder without its last block', ofInode({ i_size_lo: 5 * BLOCK_BYTES }, 'many'), ['directory-hole']],
  ['a folder of half a block', ofInode({ i_size_lo: BLOCK_BYTES / 2 }, 'sub'), ['directory-size']],
  [
    'no checksum in a folder',
    (disk) => disk.changeFolder('sub', (block) => block.fill(0, BLOCK_BYTES - 5)),
    ['directory-checksum'],
  ],
  [
    'a bit of the index of a hashed folder',
    (disk) => disk.changeFolder('many', (block) => flip(block, dxRoot.sizeBytes + dxCountLimit.sizeBytes)),
    ['directory-checksum'],
  ],
  [
    'a limit of the index that no block has',
    (disk) =>
      disk.changeFolder('many', (block) =>
        dxCountLimit.set(block.subarray(dxRoot.sizeBytes), 'limit', 0xffff),
      ),
    ['directory-checksum'],
  ],
];

beforeEach((context) => requireTool(context, 'mke2fs', 'debugfs', 'e2fsck'));

/** Made once: each damage gets a copy. */
let good: Buffer | undefined;

function goodImage(): Disk {
  if (good === undefined) {
    const image = makeGood(temporaryFolder());
    // Gives the large folder an index.
    runJudge('e2fsck', ['-fyD', image]);
    clean(image);
    good = readFileSync(image);
  }
  return new Disk(good);
}

describe('a file system that is', () => {
  test('good has nothing to be said about', async () => {
    expect(await complaintsAbout(goodImage())).toEqual([]);
  });

  test.for(DAMAGES)('damaged by %s', async ([, damage, complaints]) => {
    const disk = goodImage();
    await damage(disk);
    expect(await complaintsAbout(disk)).toEqual(complaints);
  });
});

describe('inline data', () => {
  const FEATURES = ['-O', 'none,filetype,extent,64bit,extra_isize,ext_attr,inline_data,metadata_csum'];

  async function inlineImage(): Promise<{ disk: Disk; attributes: Buffer; inodeNumber: number }> {
    const image = makeGood(temporaryFolder(), ...FEATURES);
    const disk = new Disk(readFileSync(image));
    return attributesOf(disk);
  }

  async function attributesOf(disk: Disk) {
    const filesystem = await disk.open();
    const inodeNumber = (await lookUp(filesystem, 'sub')) ?? 0;
    const start = inodeOffset(filesystem, inodeNumber) + inode.sizeBytes + xattrInodeHeader.sizeBytes;
    return { disk, attributes: disk.bytes.subarray(start), inodeNumber };
  }

  test('that is good has nothing to be said about', async () => {
    const { disk } = await inlineImage();
    expect(await complaintsAbout(disk)).toEqual([]);
  });

  test.for([
    ['a value beyond the inode', { e_value_size: 200 }, ['directory-unreadable']],
    ['a value far beyond it', { e_value_offs: 0xfffc }, ['directory-unreadable']],
    ['a value of 4 GiB', { e_value_size: 0xffffffff }, ['directory-unreadable']],
    ['a value in another inode', { e_value_inum: 13 }, ['directory-unreadable']],
    ['another name', { e_name_index: 1 }, ['inline-data-missing']],
    ['a name that is longer than the inode', { e_name_len: 255 }, ['inline-data-missing']],
  ] as const)('with %s', async ([, values, complaints]) => {
    const { disk, attributes, inodeNumber } = await inlineImage();
    for (const [name, value] of Object.entries(values)) {
      xattrEntryHead.set(attributes, name as keyof typeof xattrEntryHead.rows, value);
    }
    await disk.fixInode(inodeNumber);
    expect(await complaintsAbout(disk)).toEqual(complaints);
  });

  test.for([1, 59, 61, 400])('with a size of %i that is not its own', async (sizeBytes) => {
    const { disk } = await inlineImage();
    await disk.setInode('sub', { i_size_lo: sizeBytes });
    const complaints = await complaintsAbout(disk);
    // Of what stands in i_block a part may be unused.
    expect(complaints).toEqual(sizeBytes < 60 ? [] : ['inline-data-size']);
  });
});

test('a checksum that another program wrote is right: debugfs changes a field', async () => {
  const image = makeGood(temporaryFolder());
  change(image, 'set_inode_field /patch generation 12345', 'set_inode_field /patch mtime @1000000007');
  // The blocks of its tree continue from the generation: these now have the checksum of another file.
  expect(await complaintsAbout(new Disk(readFileSync(image)))).toEqual(['extent-block-checksum']);
});
