import { join } from 'node:path';
import { writeFile } from 'node:fs/promises';
import { extentHeader, extentLeaf, inode, EXTENT_MAX_INITIALISED_BLOCKS } from '../../ext/layout.js';
import { PATCH_MODE, changeImage } from '../../tools/debugfs.js';
import { editInode, editRootBlock, openDisk, placeOf } from '../edit/ext-editor.js';
import { freeBlocks } from '../edit/bitmap-editor.js';
import { utf8 } from '../packets.js';
import {
  ALL_FILESYSTEMS,
  ALL_FORMATS,
  TRUSTED,
  differing,
  found,
  mounted,
  warned,
  type DiskBench,
  type DiskFault,
} from './fault.js';

const COMMON = {
  family: 'patch file',
  layer: 'disk',
  formats: ALL_FORMATS,
  filesystems: ALL_FILESYSTEMS,
  keyring: TRUSTED,
} as const;

/** What all without a usable file `patch` come to. */
const noPatch = (code: 'patch-missing' | 'patch-not-regular') =>
  differing({
    ...found([code], 'not checked'),
    gpgv: undefined,
    mount: mounted('absent'),
    apply: 'must refuse',
  });

const debugfs = ({ disk, folder, call }: DiskBench, ...commands: readonly string[]): Promise<void> =>
  changeImage(disk.path, commands, folder, call);

/** Changes the name `patch` in the root folder to another of the same length. */
async function rename({ disk }: DiskBench, name: string): Promise<void> {
  await editRootBlock(disk, (block) => {
    const at = Buffer.from(block.buffer, block.byteOffset, block.length).indexOf('patch');
    block.set(utf8(name), at);
  });
}

/** Blocks of the file `patch`, without those of its map. */
async function dataBlocks({ disk }: DiskBench): Promise<number> {
  const { map } = await placeOf(disk, 'patch');
  return (map?.extents ?? []).reduce((sum, extent) => sum + extent.blockCount, 0);
}

/** Blocks that a hole or a wrong size takes in or out. */
const SOME_BLOCKS = 10;

async function makeHole(bench: DiskBench): Promise<void> {
  const middle = Math.floor((await dataBlocks(bench)) / 2);
  await debugfs(bench, `punch /patch ${middle} ${middle + SOME_BLOCKS - 1}`);
}

async function makeUnwritten({ disk }: DiskBench): Promise<void> {
  const patch = await placeOf(disk, 'patch');
  editInode(disk, patch, (bytes) => {
    const [blockAt] = inode.rows.i_block;
    const { eh_entries } = extentHeader.decode(bytes, blockAt);
    for (let entry = 0; entry < eh_entries; entry += 1) {
      const leaf = bytes.subarray(blockAt + extentHeader.sizeBytes + entry * extentLeaf.sizeBytes);
      const { ee_len } = extentLeaf.decode(leaf);
      extentLeaf.set(leaf, 'ee_len', ee_len + EXTENT_MAX_INITIALISED_BLOCKS);
    }
  });
}

async function resize({ disk }: DiskBench, bytes: number): Promise<void> {
  const patch = await placeOf(disk, 'patch');
  editInode(disk, patch, (raw) => inode.set(raw, 'i_size_lo', patch.raw.i_size_lo + bytes));
}

/** Leaves less than this free. */
const LEFT_FREE_BLOCKS = 16;

/** Writes an empty file into the root folder. What debugfs takes from the host's file, umask and owner, is overwritten. */
async function writeEmpty(
  bench: DiskBench,
  name: string,
  mode: number,
  ...more: readonly string[]
): Promise<void> {
  await writeFile(join(bench.folder, 'empty'), '');
  const set = (field: string, value: string) => `set_inode_field /${name} ${field} ${value}`;
  const owner = [set('uid', '0'), set('gid', '0')];
  await debugfs(bench, `write empty ${name}`, set('mode', `0${mode.toString(8)}`), ...owner, ...more);
}

/** One file takes nearly all that is free. */
async function fillDisk(bench: DiskBench): Promise<void> {
  const { superblock } = await openDisk(bench.disk);
  const blocks = superblock.freeBlockCount - LEFT_FREE_BLOCKS;
  await writeEmpty(
    bench,
    'filler',
    PATCH_MODE,
    `fallocate /filler 0 ${blocks - 1}`,
    `set_inode_field /filler size ${blocks * superblock.blockBytes}`,
  );
}

async function shareMetadata({ disk }: DiskBench): Promise<void> {
  const patch = await placeOf(disk, 'patch');
  const table = patch.filesystem.groups.at(0)?.inodeTableBlock ?? 0;
  editInode(disk, patch, (bytes) => {
    const [blockAt] = inode.rows.i_block;
    extentLeaf.set(bytes.subarray(blockAt + extentHeader.sizeBytes), 'ee_start_lo', table);
  });
}

export const PATCH_FILE_FAULTS: readonly DiskFault[] = [
  {
    ...COMMON,
    name: 'patch-missing',
    what: 'The root folder has no file patch.',
    consumer: 'Says that this is no patch VDI.',
    expected: noPatch('patch-missing'),
    edit: (bench) => debugfs(bench, 'rm /patch'),
  },
  {
    ...COMMON,
    name: 'patch-other-name',
    what: 'The file is called Patch: names in ext differ by case.',
    consumer: 'Looks for patch, and for nothing like it.',
    expected: noPatch('patch-missing'),
    edit: (bench) => rename(bench, 'Patch'),
  },
  {
    ...COMMON,
    name: 'patch-is-folder',
    what: 'patch is a folder; the upload lies in it.',
    consumer: 'Takes a regular file only.',
    expected: noPatch('patch-not-regular'),
    edit: async (bench) => {
      await rename(bench, 'moved');
      await debugfs(bench, 'mkdir /patch', 'ln /moved /patch/patch', 'unlink /moved');
    },
  },
  {
    ...COMMON,
    name: 'patch-is-symlink',
    what: 'patch is a symbolic link to the file that holds the upload.',
    consumer: 'Follows no link that comes with a disk: it may lead anywhere on the host.',
    expected: noPatch('patch-not-regular'),
    edit: async (bench) => {
      await rename(bench, 'moved');
      await debugfs(bench, 'symlink /patch /moved');
    },
  },
  {
    ...COMMON,
    name: 'patch-not-executable',
    what: 'patch has mode 0644.',
    consumer: 'Does not mind: what runs is the verified clear text, never the file patch itself.',
    expected: differing(warned(['patch-not-executable'], 'good')),
    edit: async ({ disk }) => {
      const patch = await placeOf(disk, 'patch');
      editInode(disk, patch, (bytes) => inode.set(bytes, 'i_mode', PATCH_MODE & ~0o111));
    },
  },
  {
    ...COMMON,
    name: 'patch-empty',
    what: 'patch has no bytes.',
    consumer: 'Says so instead of running nothing.',
    expected: differing({
      ...warned(['patch-empty'], 'bad'),
      gpgv: 'bad',
      mount: mounted('damaged'),
      apply: 'must refuse',
    }),
    edit: async (bench) => {
      await debugfs(bench, 'rm /patch');
      await writeEmpty(bench, 'patch', PATCH_MODE);
    },
  },
  {
    ...COMMON,
    name: 'patch-has-hole',
    what: 'Ten blocks in the middle of patch have no place on the disk and read as zeros.',
    consumer: 'Checks the signature over what it reads, and refuses.',
    expected: differing({
      ...warned(['patch-has-holes'], 'bad'),
      gpgv: 'bad',
      mount: mounted('damaged'),
      apply: 'must refuse',
    }),
    edit: makeHole,
  },
  {
    ...COMMON,
    name: 'patch-unwritten-extents',
    filesystems: ['ext4'],
    what: 'The extents of patch are marked as never written: its bytes are there, and it reads as zeros.',
    consumer: 'Reads as the kernel does, and refuses.',
    expected: differing({
      ...warned(['patch-has-holes'], 'bad'),
      gpgv: 'bad',
      mount: mounted('damaged'),
      apply: 'must refuse',
    }),
    edit: makeUnwritten,
  },
  {
    ...COMMON,
    name: 'patch-size-beyond-blocks',
    what: 'The size of patch is 1 MiB more than its blocks hold; the rest reads as zeros.',
    consumer: 'Checks the signature over all of the file, and refuses.',
    expected: differing({
      ...warned(['patch-has-holes'], 'bad'),
      gpgv: 'bad',
      mount: mounted('damaged'),
      apply: 'must refuse',
    }),
    edit: (bench) => resize(bench, 2 ** 20),
  },
  {
    ...COMMON,
    name: 'patch-size-short',
    what: 'The size of patch is 64 KiB less than its blocks hold.',
    consumer: 'Checks the signature over all of the file, and refuses.',
    expected: differing({
      ...warned([], 'bad'),
      gpgv: 'bad',
      fsck: 'complains',
      mount: mounted('damaged'),
      apply: 'must refuse',
    }),
    edit: (bench) => resize(bench, -(2 ** 16)),
  },
  {
    ...COMMON,
    name: 'patch-on-metadata',
    filesystems: ['ext4'],
    what: 'The extents of patch lead to the inode table.',
    consumer: 'Checks the file system before it reads or writes in it, and refuses.',
    expected: differing({
      inspect: { exitCode: 0, findings: [] },
      verify: {
        exitCode: 3,
        signature: 'bad',
        structure: 'damaged',
        findings: ['payload-overlaps-metadata'],
      },
      gpgv: 'bad',
      fsck: 'complains',
      mount: mounted('unreadable'),
      apply: 'must refuse',
    }),
    edit: shareMetadata,
  },
  {
    ...COMMON,
    name: 'patch-blocks-free',
    what: 'The block bitmap calls the blocks of patch free: whatever is written next may overwrite it.',
    consumer: 'Checks the file system before it unpacks anything beside patch, and refuses.',
    expected: differing({
      inspect: { exitCode: 0, findings: [] },
      verify: { exitCode: 6, signature: 'good', structure: 'damaged', findings: ['payload-marked-free'] },
      fsck: 'complains',
      apply: 'must refuse',
    }),
    edit: async ({ disk }) => {
      const { map } = await placeOf(disk, 'patch');
      await freeBlocks(disk, map?.extents ?? []);
    },
  },
  {
    ...COMMON,
    name: 'no-scratch-left',
    what: 'A second file takes nearly all that was free beside patch.',
    consumer: 'Looks for free space before it unpacks, and says how much is missing.',
    expected: differing({ ...warned(['scratch-small'], 'good'), apply: 'must refuse' }),
    edit: fillDisk,
  },
];
