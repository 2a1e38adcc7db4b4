import { uuidBytes } from '../../build/identity.js';
import { KIB } from '../../units.js';
import { seededUuid } from '../seed.js';
import { ALL_FILESYSTEMS, TRUSTED, differing, found, warnedNotVerified, type DiskFault } from './fault.js';

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
    expected: differing({ ...warnedNotVerified(['vhd-block-size']), import: 'depends' }),
    packing: () => ({ blockBytes: 512 * KIB }),
  },
  {
    ...PACKED,
    name: 'vhd-parent-missing',
    what: 'A differencing VHD whose parent is nowhere; all that is in use is in the child, and qemu-img takes it for a whole disk.',
    consumer: 'Refuses to import or to read a disk that is only a part.',
    expected: differing({
      ...found(['vhd-parent-missing'], 'good'),
      import: 'refuses',
      apply: 'must refuse',
    }),
    packing: (seed) => ({
      parent: { uniqueId: uuidBytes(seededUuid(seed, 'missing parent')), name: 'missing-parent.vhd' },
    }),
  },
];
