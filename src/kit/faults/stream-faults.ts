import { MIB, SECTOR_BYTES } from '../../units.js';
import {
  ALL_FILESYSTEMS,
  ALL_FORMATS,
  NO_MOUNT,
  TRUSTED,
  differing,
  found,
  type Expected,
  type FileFault,
  type Shape,
} from './fault.js';

const COMMON = {
  family: 'stream',
  layer: 'file',
  formats: ALL_FORMATS,
  filesystems: ALL_FILESYSTEMS,
  keyring: TRUSTED,
  isStream: true,
} as const;

/** What is missing at the end: of a VHD half of block 0, without the superblock, and the footer. */
const MISSING_BYTES = MIB;

/** What follows the end. */
const SURPLUS_BYTES = 8 * SECTOR_BYTES;

const NO_DISK = { gpgv: undefined, qemuImg: 'refuses', fsck: undefined, mount: undefined } as const;

function shorter(shape: Shape): Expected {
  const refused = { import: 'refuses', apply: 'must refuse' } as const;
  switch (shape.format) {
    case 'raw':
      return differing({
        ...found(['filesystem-larger-than-disk'], 'good'),
        ...refused,
        fsck: 'complains',
        mount: NO_MOUNT,
      })(shape);
    case 'vhd':
      return differing({
        ...found(['vhd-truncated'], 'good'),
        ...refused,
        ...NO_DISK,
      })(shape);
    case 'vhd-fixed':
      // Without its footer it is a raw disk.
      return differing({
        ...found(['filesystem-larger-than-disk'], 'good'),
        ...refused,
        ...NO_DISK,
      })(shape);
  }
}

function longer(shape: Shape): Expected {
  const refused = { import: 'refuses' } as const;
  switch (shape.format) {
    case 'raw':
      return differing(refused)(shape);
    case 'vhd':
      return differing({ ...found(['vhd-footer-missing'], 'good'), ...refused })(shape);
    case 'vhd-fixed':
      return differing({ ...refused, ...NO_DISK })(shape);
  }
}

export const STREAM_FAULTS: readonly FileFault[] = [
  {
    ...COMMON,
    name: 'stream-shorter',
    what: 'The stream ends 1 MiB before the length that it was announced with.',
    consumer: 'Fails, removes the disk, and does not fill up with zeros.',
    expected: shorter,
    edit: (file) => file.resize(file.sizeBytes - MISSING_BYTES),
  },
  {
    ...COMMON,
    name: 'stream-longer',
    what: 'The stream goes on for 4 KiB of zeros behind the length that it was announced with.',
    consumer: 'Fails, or takes the announced bytes and not one more.',
    expected: longer,
    edit: (file) => file.resize(file.sizeBytes + SURPLUS_BYTES),
  },
];
