/**
 * Every finding that there is, and what it means, in one sentence each. Codes are for programs and stay; the words are
 * for people and may change. docs/inspect.md has the same list.
 */
export const FINDING_CODES = {
  // What the file is about
  'filesystem-unreadable': 'the disk holds no ext file system that can be read',
  'patch-missing': 'the root folder has no file of that name',
  'patch-not-regular': 'it is a folder, a link or something else',
  'patch-unreadable': 'the inode or the map of its blocks cannot be read',
  'patch-data-unreadable': 'a part of its content cannot be read',
  'patch-empty': 'it has no bytes',
  'patch-not-executable': 'its mode has no x bit, and hosts run it',
  'patch-has-holes': 'a part of it was never written and reads as zeros',
  'scratch-small': 'less is free beside it than it is large itself',
  'payload-marked-free': 'blocks of it are free, says the block bitmap: the next write may destroy it',
  'payload-overlaps-metadata':
    'a block of it holds metadata as well, or belongs to the journal: a mount changes it',
  'payload-overlaps-itself': 'a block is two pieces of it',
  'payload-not-checked': 'whether its blocks are its own was not looked at: too many pieces, or a stream',

  // Superblock
  'superblock-checksum': 'the superblock is not what its checksum was made of',
  'checksum-type': 'a kind of checksum that nobody knows',
  'not-clean': 'it was not unmounted',
  'has-errors': 'a kernel has met damage',
  'orphan-inodes': 'files were removed while open, and wait to be freed',
  'journal-needs-recovery': 'the journal holds changes; data is read as it stands',
  'unknown-compatible-feature': 'features that nobody knows, which do not matter to reading',
  'unknown-read-only-feature': 'features that nobody knows, which do not matter to reading',
  'features-in-revision-0': 'features in a superblock too old to have them',
  'filesystem-larger-than-disk': 'the disk ends before the file system does',
  'cluster-size': 'the cluster size does not fit the block size',
  'inode-count': 'the number of inodes is not groups times inodes a group',
  'first-inode': 'the first inode for files is none',
  'first-meta-group': 'meta groups start behind the last one',
  'free-block-count': 'the count of free blocks is not that of the groups',
  'free-inode-count': 'the count of free inodes is not that of the groups',
  'reserved-block-count': 'more blocks are reserved than there are',
  'reserved-descriptor-blocks': 'more blocks are reserved for descriptors than can be',

  // Groups and bitmaps
  'descriptors-outside': 'group descriptors lie behind the end',
  'descriptors-overlap': 'group descriptors lie where other metadata does',
  'group-descriptor-checksum': 'a group descriptor is not what its checksum was made of',
  'group-descriptor-blocks': 'bitmaps or inode table of a group lie where they cannot',
  'group-descriptor-counts': 'a group has more free or unused than it has',
  'group-free-blocks': 'the count of free blocks of a group is not that of its bitmap',
  'group-free-inodes': 'the count of free inodes of a group is not that of its bitmap',
  'block-bitmap-checksum': 'a block bitmap is not what its checksum was made of',
  'inode-bitmap-checksum': 'an inode bitmap is not what its checksum was made of',
  'bitmaps-unreadable': 'a bitmap cannot be read',

  // Inodes and files
  'inode-checksum': 'an inode is not what its checksum was made of',
  'inode-size': 'a size that no file can have',
  'inode-extra-size': 'the second part of an inode is larger than the inode',
  'inode-block-count': 'the count of blocks is not that of the map',
  'inode-flags': 'flags that contradict each other or the features',
  'inode-unreadable': 'an inode cannot be read',
  'deleted-inode': 'a name leads to a deleted inode',
  'extent-block-checksum': 'a block of an extent tree is not what its checksum was made of',
  'extent-node-capacity': 'a node of an extent tree claims another capacity than it has',
  'file-over-superblock': 'a file has the block of the superblock',
  'inline-data-missing': 'content in the inode that is not there',
  'inline-data-size': 'the size of content in the inode is not that of the file',

  // Folders
  'directory-checksum': 'a block of a folder is not what its checksum was made of',
  'directory-entry': 'an entry does not fit its block',
  'directory-entry-inode': 'an entry names an inode that cannot be',
  'directory-entry-name': 'a name that no file can have',
  'directory-entry-twice': 'a name stands twice: a kernel may take the other file',
  'directory-entry-type': 'an entry tells another type than the inode has',
  'directory-hole': 'a folder with a hole',
  'directory-size': 'the size of a folder is not whole blocks, or not all of its blocks',
  'directory-cycle': 'a folder is met twice',
  'directory-blocks': 'folders share blocks',
  'directory-encrypted': 'names that cannot be read without a key',
  'directory-unreadable': 'a folder cannot be read',
  'listing-cut': 'there are more files than are listed',
  'listing-depth': 'folders lie deeper than is listed',

  // VHD: footers
  'vhd-footer-missing': 'there is no footer at the end; its copy is used',
  'vhd-footer-copy-missing': 'there is no copy of the footer at the front',
  'vhd-footer-checksum': 'the footer is not what its checksum was made of',
  'vhd-footer-copy-checksum': 'the copy of the footer is not what its checksum was made of',
  'vhd-footers-disagree': 'the footer and its copy are not the same',
  'vhd-format-version': 'a version of the format other than 1.0',
  'vhd-features': 'features that the specification does not have',
  'vhd-time-stamp': 'made in the future',
  'vhd-unique-id': 'the unique id is null',
  'vhd-saved-state': 'the disk belongs to a saved virtual machine',
  'vhd-reserved': 'reserved bytes that are not zero',
  'vhd-original-size': 'an original size that no disk has',
  'vhd-and-raw': 'the file is a VHD, and taken for raw it is another disk',

  // VHD: sizes
  'vhd-size-zero': 'a disk of no bytes',
  'vhd-size-unaligned': 'a disk that is not whole sectors',
  'vhd-size-limit': 'a disk beyond the 2040 GiB that libvhd and XAPI take',
  'vhd-fixed-size': 'the file is not the disk and its footer',
  'vhd-geometry': 'the geometry makes another size of it for some readers',

  // VHD: header and table
  'vhd-data-offset': 'the header is not where the footer says',
  'vhd-header-cookie': 'the header has another cookie',
  'vhd-header-checksum': 'the header is not what its checksum was made of',
  'vhd-header-version': 'a version of the header other than 1.0',
  'vhd-header-data-offset': 'the header leads somewhere, which it must not',
  'vhd-block-size': 'blocks of another size than 2 MiB: XAPI corrupts smaller ones silently',
  'vhd-max-table-entries': 'the block allocation table has not as many entries as the disk has blocks',
  'vhd-batmap-missing': 'a batmap is announced and not there',
  'vhd-bat-truncated': 'the file ends within the block allocation table',
  'vhd-truncated': 'the file ends before its blocks do',
  'vhd-structures-overlap': 'footer copy, header and table lie on each other',
  'vhd-block-outside': 'a block lies behind the end of the file',
  'vhd-block-in-structure': 'a block lies on a footer, the header or the table',
  'vhd-blocks-overlap': 'two blocks lie on each other',
  'vhd-bitmap-hides-data':
    'data under bits of 0: libvhd and XAPI read zeros there, qemu-img and vhd-lib the data',
  'vhd-batmap-disagrees': 'the batmap calls a block full, its bitmap does not: blktap goes by the batmap',
  'vhd-unaccounted-bytes': 'bytes in the file that belong to nothing',

  // VHD: parents
  'vhd-parent-missing': 'the parent of a differencing disk is not there',
  'vhd-parent-mismatch': 'what is there in its place is another disk',
  'vhd-parent-unreadable': 'the parent cannot be read',
  'vhd-parent-time': 'the parent was made after the disk that differs from it',
  'vhd-parent-locator': 'where the parent is cannot be read',
} as const;

export type FindingCode = keyof typeof FINDING_CODES;
