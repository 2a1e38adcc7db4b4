import { directoryChecksum } from '../../ext/directory-checksum.js';
import { directoryEntryTail } from '../../ext/file-layout.js';
import { inodeChecksumSeed } from '../../ext/inode-checksum.js';
import {
  ROOT_INODE_NUMBER,
  SUPERBLOCK_OFFSET_BYTES,
  groupDescriptor,
  inode,
  superBlock,
} from '../../ext/layout.js';
import { MIB } from '../../units.js';
import type { DiskFile } from '../disk-file.js';
import { setBlockBitmapChecksum } from '../edit/bitmap-editor.js';
import {
  editSuperblock,
  groupDescriptorOffset,
  openDisk,
  placeOf,
  readRootBlock,
} from '../edit/ext-editor.js';
import { growExtentTree } from '../edit/extent-editor.js';
import { writeTransaction } from '../edit/journal-editor.js';
import {
  ALL_FILESYSTEMS,
  ALL_FORMATS,
  NO_MOUNT,
  TRUSTED,
  differing,
  found,
  mounted,
  warned,
  warnedNotVerified,
  type DiskFault,
} from './fault.js';

const COMMON = {
  family: 'file system',
  layer: 'disk',
  formats: ALL_FORMATS,
  filesystems: ALL_FILESYSTEMS,
  keyring: TRUSTED,
} as const;

/** Nothing of the file system can be read. */
const UNREADABLE = {
  ...found(['filesystem-unreadable'], 'not checked'),
  gpgv: undefined,
  fsck: 'refuses',
  mount: NO_MOUNT,
  apply: 'must refuse',
} as const;

/** Turns the lowest bit of a byte over. */
function flip(disk: DiskFile, offset: number): void {
  disk.write(
    offset,
    disk.read(offset, 1).map((byte) => byte ^ 1),
  );
}

/** Adds a feature to one of the three sets of the superblock, checksum right. */
function addFeature(
  disk: DiskFile,
  set: 's_feature_incompat' | 's_feature_ro_compat',
  bit: number,
): Promise<void> {
  return editSuperblock(disk, (bytes) => superBlock.set(bytes, set, superBlock.decode(bytes)[set] + bit));
}

/** `s_feature_incompat` and `s_feature_ro_compat`: bits that no kernel has given a meaning yet. */
const UNKNOWN_FEATURE = 0x40000000;

/** `s_state`: the bits "cleanly unmounted" (1) and "errors detected" (2) ("Super Block"). */
const STATE_NOT_UNMOUNTED = 0;
const STATE_UNMOUNTED_WITH_ERRORS = 3;

/** What the end of the disk is short of. */
const MISSING_BYTES = 2 * MIB;

async function patchBlock(disk: DiskFile): Promise<{ block: number; content: Uint8Array }> {
  const { map, filesystem } = await placeOf(disk, 'patch');
  const { blockBytes } = filesystem.superblock;
  const block = map?.extents[0]?.fsBlock ?? 0;
  return { block, content: disk.read(block * blockBytes, blockBytes) };
}

export const FILESYSTEM_FAULTS: readonly DiskFault[] = [
  {
    ...COMMON,
    name: 'superblock-zeroed',
    what: 'The superblock and all its copies are zeros: what is left when a build was cut off before its seal.',
    consumer: 'Mounts nothing, repairs nothing, and says that there is no file system.',
    expected: differing(UNREADABLE),
    edit: async ({ disk }) => {
      const { blockBytes, blocksPerGroup, firstDataBlock, backupGroups } = (await openDisk(disk)).superblock;
      const zeros = new Uint8Array(superBlock.sizeBytes);
      for (const group of backupGroups)
        disk.write((firstDataBlock + group * blocksPerGroup) * blockBytes, zeros);
      disk.write(SUPERBLOCK_OFFSET_BYTES, zeros);
    },
  },
  {
    ...COMMON,
    name: 'superblock-bad-checksum',
    filesystems: ['ext4'],
    what: 'The checksum of the superblock is wrong in one bit.',
    consumer: 'Refuses: nothing in the superblock can be trusted.',
    expected: differing({
      ...found(['superblock-checksum'], 'good'),
      fsck: 'refuses',
      mount: NO_MOUNT,
      apply: 'must refuse',
    }),
    edit: async ({ disk }) => {
      flip(disk, SUPERBLOCK_OFFSET_BYTES + superBlock.rows.s_checksum[0]);
      return await Promise.resolve();
    },
  },
  {
    ...COMMON,
    name: 'group-bad-checksum',
    filesystems: ['ext4'],
    what: 'The checksum of a group descriptor is wrong; Linux mounts that read-only, and only so.',
    consumer: 'Refuses to write to such a disk.',
    expected: differing({
      ...found(['group-descriptor-checksum'], 'good'),
      fsck: 'complains',
      mount: { readOnly: 'mounts', writable: 'refuses', patch: 'whole' },
      apply: 'must refuse',
    }),
    edit: async ({ disk }) => {
      flip(disk, groupDescriptorOffset(await openDisk(disk), 0) + groupDescriptor.rows.bg_checksum[0]);
    },
  },
  {
    ...COMMON,
    name: 'inode-bad-checksum',
    filesystems: ['ext4'],
    what: 'The checksum of the inode of patch is wrong: the kernel refuses to open the file.',
    consumer: 'Reports damage instead of an unreadable patch.',
    expected: differing({
      ...found(['inode-checksum'], 'good'),
      fsck: 'complains',
      mount: mounted('unreadable'),
      apply: 'must refuse',
    }),
    edit: async ({ disk }) => {
      flip(disk, (await placeOf(disk, 'patch')).offset + inode.rows.l_i_checksum_lo[0]);
    },
  },
  {
    ...COMMON,
    name: 'extent-bad-checksum',
    filesystems: ['ext4'],
    what: 'The extent tree of patch has a block of its own, whose checksum is wrong.',
    consumer: 'Refuses: where the file lies cannot be trusted.',
    expected: differing({
      ...found(['extent-block-checksum'], 'good'),
      fsck: 'complains',
      mount: mounted('unreadable'),
      apply: 'must refuse',
    }),
    edit: async ({ disk, folder, call }) => {
      const leaf = await growExtentTree(disk, folder, call);
      const { blockBytes } = (await openDisk(disk)).superblock;
      // The checksum is the last thing in the block.
      flip(disk, (leaf + 1) * blockBytes - 1);
    },
  },
  {
    ...COMMON,
    name: 'directory-bad-checksum',
    filesystems: ['ext4'],
    what: 'The checksum of the root folder is wrong: the kernel finds nothing in it.',
    consumer: 'Reports damage instead of a missing patch.',
    expected: differing({
      ...found(['directory-checksum'], 'good'),
      fsck: 'complains',
      mount: mounted('unreadable'),
      apply: 'must refuse',
    }),
    edit: async ({ disk }) => {
      const { bytes, offset, filesystem, raw } = await readRootBlock(disk);
      const seed = inodeChecksumSeed(filesystem.superblock, ROOT_INODE_NUMBER, raw.i_generation) ?? 0;
      const { at } = directoryChecksum(seed, bytes, 0, false);
      flip(disk, offset + at + directoryEntryTail.rows.det_checksum[0]);
    },
  },
  {
    ...COMMON,
    name: 'bitmap-bad-checksum',
    filesystems: ['ext4'],
    what: 'The checksum of a block bitmap is wrong: the kernel will allocate nothing in that group.',
    consumer: 'Checks the file system before it unpacks anything, and refuses.',
    expected: differing({
      ...found(['block-bitmap-checksum'], 'good'),
      fsck: 'complains',
      apply: 'must refuse',
    }),
    edit: async ({ disk }) => {
      const group = (await openDisk(disk)).groups.at(0);
      await setBlockBitmapChecksum(disk, 0, ((group?.blockBitmapChecksum ?? 0) ^ 1) >>> 0);
    },
  },
  {
    ...COMMON,
    name: 'unknown-incompatible-feature',
    what: 'The superblock has an incompatible feature that nobody knows.',
    consumer: 'Names the feature and refuses; guesses at nothing.',
    expected: differing(UNREADABLE),
    edit: ({ disk }) => addFeature(disk, 's_feature_incompat', UNKNOWN_FEATURE),
  },
  {
    ...COMMON,
    name: 'unknown-read-only-feature',
    what: 'The superblock has an unknown feature that allows reading and forbids writing.',
    consumer: 'Reads patch, and refuses to unpack beside it.',
    expected: differing({
      ...warned(['unknown-read-only-feature'], 'good'),
      fsck: 'refuses',
      mount: { readOnly: 'mounts', writable: 'refuses', patch: 'whole' },
      apply: 'must refuse',
    }),
    edit: ({ disk }) => addFeature(disk, 's_feature_ro_compat', UNKNOWN_FEATURE),
  },
  {
    ...COMMON,
    name: 'filesystem-larger-than-disk',
    what: 'The last 2 MiB of the disk are missing; the superblock still counts them.',
    consumer: 'Compares the size of the file system with that of the disk, and refuses.',
    expected: differing({
      ...found(['filesystem-larger-than-disk'], 'good'),
      fsck: 'complains',
      mount: NO_MOUNT,
      apply: 'must refuse',
    }),
    edit: async ({ disk }) => {
      disk.resize(disk.sizeBytes - MISSING_BYTES);
      return await Promise.resolve();
    },
  },
  {
    ...COMMON,
    name: 'not-unmounted',
    what: 'The superblock says that the file system was never unmounted.',
    consumer: 'Checks it before use; the content may be right all the same.',
    expected: differing({ ...warned(['not-clean'], 'good') }),
    edit: ({ disk }) =>
      editSuperblock(disk, (bytes) => superBlock.set(bytes, 's_state', STATE_NOT_UNMOUNTED)),
  },
  {
    ...COMMON,
    name: 'has-errors',
    what: 'The superblock says that a kernel has met damage.',
    consumer: 'Refuses until it was checked: mount does not look at it.',
    expected: differing({ ...warned(['has-errors'], 'good'), apply: 'must refuse' }),
    edit: ({ disk }) =>
      editSuperblock(disk, (bytes) => superBlock.set(bytes, 's_state', STATE_UNMOUNTED_WITH_ERRORS)),
  },
  {
    ...COMMON,
    name: 'journal-needs-recovery',
    filesystems: ['ext3'],
    what: 'The journal holds a transaction that was not played back; it changes nothing that matters.',
    consumer: 'Plays it back on a private copy before it checks the signature, or refuses.',
    expected: differing({
      ...warnedNotVerified(['journal-needs-recovery']),
      fsck: 'complains',
      mount: { readOnly: 'refuses', writable: 'mounts', patch: 'whole' },
      apply: 'must refuse',
    }),
    edit: async ({ disk }) => {
      const { block, content } = await patchBlock(disk);
      await writeTransaction(disk, block, content);
    },
  },
  {
    ...COMMON,
    name: 'journal-changes-patch',
    filesystems: ['ext3'],
    what: 'The signature holds until the journal is played back, which changes patch: a mount is enough.',
    consumer: 'Verifies what it runs: after the mount, in one reading.',
    expected: differing({
      ...warnedNotVerified(['journal-needs-recovery']),
      gpgv: 'bad',
      fsck: 'complains',
      mount: { readOnly: 'refuses', writable: 'mounts', patch: 'damaged' },
      apply: 'must refuse',
    }),
    edit: async ({ disk }) => {
      const { block, content } = await patchBlock(disk);
      await writeTransaction(
        disk,
        block,
        content.map((byte) => byte ^ 0xff),
      );
    },
  },
];
