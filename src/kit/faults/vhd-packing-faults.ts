import { uuidBytes } from '../../build/identity.js';
import { KIB } from '../../units.js';
import { seededUuid } from '../seed.js';
import { ALL_FILESYSTEMS, TRUSTED, differing, found, warned, type DiskFault } from './fault.js';
import { NO_DISK } from './vhd-faults.js';

const PACKED = {
  family: 'VHD',
  layer: 'disk',
  formats: ['vhd'],
  filesystems: ALL_FILESYSTEMS,
  keyring: TRUSTED,
  edit: () => Promise.resolve(),
} as const;

/** Good disks, packed in a way that few expect. */
export const VHD_PACKING_FAULTS: readonly DiskFault[] = [
  {
    ...PACKED,
    name: 'vhd-small-blocks',
    what: 'A good VHD with blocks of 512 KiB, which XAPI takes and corrupts without a word.',
    consumer: 'Refuses every block size that it does not handle.',
    expected: differing({ ...warned(['vhd-block-size'], 'good'), import: 'depends' }),
    packing: () => ({ blockBytes: 512 * KIB }),
  },
  {
    ...PACKED,
    name: 'vhd-parent-missing',
    what: 'A differencing VHD whose parent is nowhere; all of the file system is in the child.',
    consumer: 'Refuses to import or read a disk that is only a part.',
    expected: differing({
      ...found(['patch-data-unreadable', 'vhd-parent-missing'], 'not checked'),
      import: 'refuses',
      ...NO_DISK,
    }),
    packing: (seed) => ({
      parent: { uniqueId: uuidBytes(seededUuid(seed, 'missing parent')), name: 'missing-parent.vhd' },
    }),
  },
];
