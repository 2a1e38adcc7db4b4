import { MIB, SECTOR_BYTES } from '../../units.js';
import { dynamicDiskHeader, hardDiskFooter } from '../../vhd/layout.js';
import {
  FOOTER_COPY_OFFSET,
  HEADER_OFFSET,
  editFooter,
  editHeader,
  firstBlock,
  footerOffset,
  lastUnusedBlock,
  readTable,
  setTableEntry,
  spoilChecksum,
} from '../edit/vhd-editor.js';
import { ALL_FILESYSTEMS, TRUSTED, differing, found, warned, type FileFault } from './fault.js';

export const VHD_FILE = {
  family: 'VHD',
  layer: 'file',
  formats: ['vhd'],
  filesystems: ALL_FILESYSTEMS,
  keyring: TRUSTED,
  isStream: false,
} as const;

const [FOOTER_CHECKSUM_AT] = hardDiskFooter.rows.checksum;
const [HEADER_CHECKSUM_AT] = dynamicDiskHeader.rows.checksum;

/** No disk comes out of it. */
export const NO_DISK = {
  gpgv: undefined,
  qemuImg: 'refuses',
  fsck: undefined,
  mount: undefined,
  apply: 'must refuse',
} as const;

/** Behind the end of every file of a test suite, in sectors. */
const FAR_AWAY_SECTOR = 0x7fffff00;

export const VHD_FAULTS: readonly FileFault[] = [
  {
    ...VHD_FILE,
    name: 'vhd-footer-bad-checksum',
    what: 'The checksum of the footer at the end is wrong; its copy at the front is good.',
    consumer: 'May go on with the copy, and says so.',
    expected: differing({ ...found(['vhd-footer-checksum'], 'good'), import: 'refuses' }),
    edit: (file) => spoilChecksum(file, footerOffset(file), FOOTER_CHECKSUM_AT),
  },
  {
    ...VHD_FILE,
    name: 'vhd-footer-copy-bad-checksum',
    what: 'The checksum of the footer copy at the front is wrong; the footer at the end is good.',
    consumer: 'Refuses while it streams: the footer at the end comes too late.',
    expected: differing({ ...found(['vhd-footer-copy-checksum'], 'good'), import: 'refuses', ...NO_DISK }),
    edit: (file) => spoilChecksum(file, FOOTER_COPY_OFFSET, FOOTER_CHECKSUM_AT),
  },
  {
    ...VHD_FILE,
    name: 'vhd-footers-disagree',
    what: 'The footer and its copy are both good, and have different unique ids.',
    consumer: 'Compares them, and refuses: which disk this is depends on who reads it.',
    expected: differing({ ...found(['vhd-footers-disagree'], 'good'), import: 'depends' }),
    edit: (file) =>
      editFooter(file, FOOTER_COPY_OFFSET, (footer) => {
        const { unique_id } = hardDiskFooter.decode(footer);
        hardDiskFooter.set(
          footer,
          'unique_id',
          unique_id.map((byte) => byte ^ 0xff),
        );
      }),
  },
  {
    ...VHD_FILE,
    name: 'vhd-fixed-footer-bad-checksum',
    formats: ['vhd-fixed'],
    what: 'The checksum of the only footer of a fixed VHD is wrong.',
    consumer: 'Refuses; does not take the file for a raw disk with 512 bytes too many.',
    expected: differing({ ...found(['vhd-footer-checksum'], 'good'), import: 'refuses', ...NO_DISK }),
    edit: (file) => spoilChecksum(file, footerOffset(file), FOOTER_CHECKSUM_AT),
  },
  {
    ...VHD_FILE,
    name: 'vhd-fixed-size',
    formats: ['vhd-fixed'],
    what: 'The footer of a fixed VHD says 2 MiB more than the file holds; qemu fills up with zeros.',
    consumer: 'Compares the size in the footer with that of the file, and refuses.',
    expected: differing({ ...found(['vhd-fixed-size'], 'good'), import: 'refuses', apply: 'must refuse' }),
    edit: (file) =>
      editFooter(file, footerOffset(file), (footer) => {
        const { current_size } = hardDiskFooter.decode(footer);
        hardDiskFooter.set(footer, 'current_size', current_size + BigInt(2 * MIB));
      }),
  },
  {
    ...VHD_FILE,
    name: 'vhd-header-bad-checksum',
    what: 'The checksum of the dynamic disk header is wrong.',
    consumer: 'Refuses: the header says where the blocks are.',
    expected: differing({ ...found(['vhd-header-checksum'], 'good'), import: 'refuses' }),
    edit: (file) => spoilChecksum(file, HEADER_OFFSET, HEADER_CHECKSUM_AT),
  },
  {
    ...VHD_FILE,
    name: 'vhd-block-past-end',
    what: 'An entry of the block allocation table leads far behind the end of the file.',
    consumer: 'Checks each entry against the length before it writes anything.',
    expected: differing({
      ...found(['vhd-block-outside'], 'good'),
      import: 'refuses',
      ...NO_DISK,
    }),
    edit: (file) => setTableEntry(file, lastUnusedBlock(file), FAR_AWAY_SECTOR),
  },
  {
    ...VHD_FILE,
    name: 'vhd-blocks-overlap',
    what: 'Two entries of the block allocation table lead to the same block of the file.',
    consumer: 'Refuses: what is written to one would be in the other.',
    expected: differing({
      ...found(['vhd-blocks-overlap'], 'good'),
      import: 'depends',
      apply: 'must refuse',
    }),
    edit: (file) => {
      const { bitmapOffset } = firstBlock(file);
      setTableEntry(file, lastUnusedBlock(file), bitmapOffset / SECTOR_BYTES);
    },
  },
  {
    ...VHD_FILE,
    name: 'vhd-table-too-short',
    what: 'The block allocation table has one entry less than the disk has blocks.',
    consumer: 'Compares max_table_entries with the size of the disk, and refuses.',
    expected: differing({ ...found(['vhd-max-table-entries'], 'good'), import: 'refuses', ...NO_DISK }),
    edit: (file) =>
      editHeader(file, (header) =>
        dynamicDiskHeader.set(header, 'max_table_entries', readTable(file).sectors.length - 1),
      ),
  },
  {
    ...VHD_FILE,
    name: 'vhd-geometry-larger',
    what: 'The geometry (cylinders, heads, sectors) makes a larger disk than current_size.',
    consumer: 'Goes by current_size.',
    expected: differing({ ...warned(['vhd-geometry'], 'good') }),
    edit: (file) => {
      for (const offset of [FOOTER_COPY_OFFSET, footerOffset(file)]) {
        editFooter(file, offset, (footer) => {
          const { disk_geometry_cylinders: cylinders } = hardDiskFooter.decode(footer);
          hardDiskFooter.set(footer, 'disk_geometry_cylinders', cylinders * 2);
        });
      }
    },
  },
];
