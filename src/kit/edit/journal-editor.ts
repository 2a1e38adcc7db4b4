import { invariant } from '../../errors.js';
import { INCOMPAT_RECOVER, superBlock } from '../../ext/layout.js';
import { defineStruct } from '../../struct.js';
import type { DiskFile } from '../disk-file.js';
import { editSuperblock, openDisk, placeOfInode } from './ext-editor.js';

/*
 * The journal of ext3 and ext4, without checksums and with 32-bit block numbers: what a fresh ext3 has. Source: ext4
 * documentation, "Journal (jbd2)"; names are the kernel's (include/linux/jbd2.h). Everything is big-endian.
 */

const journalHeader = defineStruct('journal_header_s', 'big', 12, {
  h_magic: [0, 'u32'],
  h_blocktype: [4, 'u32'],
  h_sequence: [8, 'u32'],
});

const journalSuperblock = defineStruct('journal_superblock_s', 'big', 1024, {
  header: [0, { bytes: 12 }],
  s_blocksize: [12, 'u32'],
  s_maxlen: [16, 'u32'],
  s_first: [20, 'u32'],
  s_sequence: [24, 'u32'],
  s_start: [28, 'u32'],
  s_errno: [32, 'u32'],
  s_feature_compat: [36, 'u32'],
  s_feature_incompat: [40, 'u32'],
  s_feature_ro_compat: [44, 'u32'],
  s_uuid: [48, { bytes: 16 }],
  s_others: [64, { bytes: 960 }],
});

const journalBlockTag = defineStruct('journal_block_tag_s', 'big', 8, {
  t_blocknr: [0, 'u32'],
  t_checksum: [4, 'u16'],
  t_flags: [6, 'u16'],
});

const JBD2_MAGIC_NUMBER = 0xc03b3998;
const JBD2_DESCRIPTOR_BLOCK = 1;
const JBD2_COMMIT_BLOCK = 2;
const JBD2_FLAG_SAME_UUID = 2;
const JBD2_FLAG_LAST_TAG = 8;

function controlBlock(blockBytes: number, type: number, sequence: number): Uint8Array {
  const block = new Uint8Array(blockBytes);
  block.set(journalHeader.encode({ h_magic: JBD2_MAGIC_NUMBER, h_blocktype: type, h_sequence: sequence }));
  return block;
}

/**
 * Puts one committed transaction into an empty journal, and marks the file system as one that needs recovery: whoever
 * plays the journal back gives `block` that content.
 *
 * @param content a whole block, which does not begin with the magic number of the journal
 */
export async function writeTransaction(disk: DiskFile, block: number, content: Uint8Array): Promise<void> {
  const filesystem = await openDisk(disk);
  const { blockBytes, journalInodeNumber } = filesystem.superblock;
  const { map } = await placeOfInode(filesystem, journalInodeNumber);
  const first = map?.extents[0];
  invariant(first !== undefined && first.blockCount > 4, 'the journal begins with some blocks in one piece');
  const at = (journalBlock: number): number => (first.fsBlock + journalBlock) * blockBytes;
  const head = disk.read(at(0), journalSuperblock.sizeBytes);
  const { s_first, s_sequence, s_start, s_feature_incompat } = journalSuperblock.decode(head);
  invariant(s_start === 0 && s_feature_incompat === 0, 'the journal is empty and of the plainest kind');

  const descriptor = controlBlock(blockBytes, JBD2_DESCRIPTOR_BLOCK, s_sequence);
  const t_flags = JBD2_FLAG_SAME_UUID + JBD2_FLAG_LAST_TAG;
  descriptor.set(journalBlockTag.encode({ t_blocknr: block, t_flags }), journalHeader.sizeBytes);
  disk.write(at(s_first), descriptor);
  disk.write(at(s_first + 1), content);
  disk.write(at(s_first + 2), controlBlock(blockBytes, JBD2_COMMIT_BLOCK, s_sequence));
  journalSuperblock.set(head, 's_start', s_first);
  disk.write(at(0), head);
  await editSuperblock(disk, (bytes) => {
    const { s_feature_incompat: features } = superBlock.decode(bytes);
    superBlock.set(bytes, 's_feature_incompat', features + INCOMPAT_RECOVER);
  });
}
