import type { DiskFile } from '../disk-file.js';
import { MIB, SECTOR_BYTES } from '../../units.js';
import { dynamicDiskHeader, hardDiskFooter } from '../../vhd/layout.js';
import { HEADER_OFFSET, firstBlock, footerOffset, readTable } from '../edit/vhd-editor.js';
import { CANNOT_BE_OPENED, differing, found, type FileFault } from './fault.js';
import { NO_DISK, VHD_FILE } from './vhd-faults.js';

/** Cut off in the middle of a structure, and right before the last one. */
interface Cut {
  readonly name: string;
  readonly what: string;
  readonly at: (file: DiskFile) => number;
  readonly expected: FileFault['expected'];
}

const CANNOT = differing({ ...CANNOT_BE_OPENED, import: 'refuses', ...NO_DISK });

const CUTS: readonly Cut[] = [
  {
    name: 'vhd-cut-in-footer-copy',
    what: 'The file ends within the copy of the footer at the front.',
    at: () => hardDiskFooter.sizeBytes / 2,
    // Nothing in it tells that it was to be a VHD.
    expected: differing({
      ...found(['filesystem-unreadable'], 'not checked'),
      import: 'refuses',
      ...NO_DISK,
    }),
  },
  {
    name: 'vhd-cut-in-header',
    what: 'The file ends within the dynamic disk header.',
    at: () => HEADER_OFFSET + dynamicDiskHeader.sizeBytes / 2,
    expected: CANNOT,
  },
  {
    name: 'vhd-cut-in-table',
    what: 'The file ends within the block allocation table.',
    at: (file) => readTable(file).offset + 2 * Uint32Array.BYTES_PER_ELEMENT,
    expected: differing({
      ...found(['filesystem-unreadable', 'vhd-bat-truncated'], 'not checked'),
      import: 'refuses',
      ...NO_DISK,
    }),
  },
  {
    name: 'vhd-cut-in-bitmap',
    what: 'The file ends within the bitmap of its first block.',
    at: (file) => firstBlock(file).bitmapOffset + SECTOR_BYTES / 2,
    expected: differing({
      ...found(['filesystem-unreadable', 'vhd-truncated'], 'not checked'),
      import: 'refuses',
      ...NO_DISK,
    }),
  },
  {
    name: 'vhd-cut-in-data',
    what: 'The file ends within the data of its first block.',
    at: (file) => firstBlock(file).dataOffset + MIB / 2,
    expected: differing({
      ...found(['filesystem-unreadable', 'vhd-truncated'], 'not checked'),
      import: 'refuses',
      ...NO_DISK,
    }),
  },
  {
    name: 'vhd-cut-before-last-block',
    what: 'The file ends before its last block, which is block 0 with the superblock.',
    at: (file) => (readTable(file).sectors[0] ?? 0) * SECTOR_BYTES,
    expected: differing({
      ...found(['filesystem-unreadable', 'vhd-truncated'], 'not checked'),
      import: 'refuses',
      ...NO_DISK,
    }),
  },
  {
    name: 'vhd-footer-missing',
    what: 'The file ends where its footer should start.',
    at: (file) => footerOffset(file),
    expected: differing({ ...found(['vhd-footer-missing'], 'good'), import: 'refuses' }),
  },
  {
    name: 'vhd-cut-in-footer',
    what: 'The file ends within its footer.',
    at: (file) => footerOffset(file) + hardDiskFooter.sizeBytes / 2,
    expected: differing({ ...found(['vhd-footer-missing'], 'good'), import: 'refuses' }),
  },
];

export const VHD_CUTS: readonly FileFault[] = CUTS.map(({ name, what, at, expected }) => ({
  ...VHD_FILE,
  name,
  what,
  consumer: 'Refuses a disk that is not all there, and leaves nothing that mounts.',
  expected,
  edit: (file) => file.resize(at(file)),
}));
