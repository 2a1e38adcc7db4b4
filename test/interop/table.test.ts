/* What `npm run interop` finds, beside lists written by hand of what each reader can do. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { requireLoopDevices } from '../oracles/loop-device.js';
import { requireTool, requireRoot } from '../oracles/require-tool.js';

const COMMAND = join(import.meta.dirname, 'interop.mjs');
/** Without guestfish, which starts a machine for each image. */
const READERS = ['qemu-img', 'libvhdi', 'e2fsck', 'debugfs', 'kernel', 'grub', '7-Zip', 'sleuthkit'];
const PROGRAMS = ['qemu-img', 'vhdimount', 'e2fsck', 'debugfs', 'mount', 'grub-fstest', '7zz', 'fls', 'icat'];

interface Row {
  readonly format: string;
  readonly filesystem: string;
  readonly fault?: string;
  readonly verdicts: Readonly<Record<string, { readonly outcome: string; readonly said: string }>>;
}

interface Table {
  readonly good: readonly Row[];
  readonly damaged: readonly Row[];
}

beforeEach((context) => {
  requireTool(context, ...PROGRAMS);
  requireRoot(context);
  requireLoopDevices(context);
});

const outcomesOf = (row: Row): Record<string, string> =>
  Object.fromEntries(Object.entries(row.verdicts).map(([reader, { outcome }]) => [reader, outcome]));

let status: number | null;
let stderr: string;
let table: Table;
beforeAll(() => {
  const made = spawnSync(process.execPath, [COMMAND, '--json', '--readers', READERS.join(',')], {
    encoding: 'utf8',
  });
  ({ status, stderr } = made);
  // Without its judges it may say nothing; the first test shows why, where they are obligatory.
  if (made.stdout !== '') table = JSON.parse(made.stdout) as Table;
}, 300_000);

test('all readers are here, and each image is read by some and misread by none', () => {
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
});

/** What a reader knows, whatever the file system: the first three are the formats. */
const KNOWN: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'qemu-img': { raw: 'reads', vhd: 'reads', 'vhd-fixed': 'reads' },
  libvhdi: { raw: 'refuses', vhd: 'reads', 'vhd-fixed': 'reads' },
  // A fixed VHD has its file system in front, and 512 bytes behind it: who knows no VHD sees no difference.
  e2fsck: { raw: 'clean', vhd: 'refuses', 'vhd-fixed': 'clean' },
  debugfs: { raw: 'reads', vhd: 'refuses', 'vhd-fixed': 'reads' },
  kernel: { raw: 'reads', vhd: 'refuses', 'vhd-fixed': 'reads' },
  grub: { raw: 'reads', vhd: 'refuses', 'vhd-fixed': 'reads' },
  sleuthkit: { raw: 'reads', vhd: 'reads', 'vhd-fixed': 'reads' },
};

const KINDS = ['raw', 'vhd', 'vhd-fixed'].flatMap((format) =>
  ['ext4', 'ext3', 'ext2'].map((filesystem) => [format, filesystem] as const),
);

test.each(KINDS)('%s with %s', (format, filesystem) => {
  const rows = table.good.filter((row) => row.format === format && row.filesystem === filesystem);
  expect(rows).toHaveLength(1);
  const { '7-Zip': sevenZip, ...others } = outcomesOf(rows[0] as Row);
  const expected = Object.entries(KNOWN).map(([reader, formats]) => [reader, formats[format]]);
  expect(others).toEqual(Object.fromEntries(expected));
  // Some versions mind the 512 bytes behind the file system of a fixed VHD.
  expect(sevenZip).toMatch(format === 'vhd-fixed' ? /^(?:reads|complains)$/ : /^reads$/);
});

/** Who checks what is wrong there: has to refuse it or to complain. Others may, and need not. */
const NOTICED: Readonly<Record<string, readonly string[]>> = {
  'superblock-zeroed': ['e2fsck', 'debugfs', 'kernel', 'grub', '7-Zip', 'sleuthkit'],
  'superblock-bad-checksum': ['e2fsck', 'debugfs', 'kernel'],
  'group-bad-checksum': ['e2fsck'],
  'inode-bad-checksum': ['e2fsck', 'debugfs', 'kernel'],
  'unknown-incompatible-feature': ['e2fsck', 'debugfs', 'kernel', 'grub'],
  'filesystem-larger-than-disk': ['e2fsck', 'kernel'],
  'vhd-footer-bad-checksum': [],
  'vhd-footer-copy-bad-checksum': ['qemu-img'],
  'vhd-header-bad-checksum': [],
  'vhd-block-past-end': ['qemu-img'],
  'vhd-cut-before-last-block': ['qemu-img', 'libvhdi', '7-Zip', 'sleuthkit'],
  'vhd-fixed-footer-bad-checksum': ['qemu-img'],
  'vhd-fixed-size': [],
};

describe('damage', () => {
  test.each(Object.entries(NOTICED))('%s is noticed by %j', (fault, readers) => {
    const rows = table.damaged.filter((row) => row.fault === fault);
    expect(rows.length).toBeGreaterThan(0);
    for (const row of rows) {
      const outcomes = outcomesOf(row);
      for (const reader of readers)
        expect([reader, outcomes[reader]]).toEqual([
          reader,
          expect.stringMatching(/^(?:refuses|complains)$/),
        ]);
      // Nobody gives out other bytes without a word.
      expect(Object.values(outcomes)).not.toContain('wrong');
    }
  });

  test('the list is that of the command', () => {
    expect(new Set(table.damaged.map(({ fault }) => fault))).toEqual(new Set(Object.keys(NOTICED)));
  });
});

test('the document has a row for each of them', () => {
  const text = readFileSync(join(import.meta.dirname, '../../docs/interoperability.md'), 'utf8');
  for (const [format, filesystem] of KINDS)
    expect(text).toMatch(new RegExp(`^\\| ${format} +\\| ${filesystem} `, 'm'));
  for (const fault of Object.keys(NOTICED)) expect(text).toContain(`\n| ${fault} `);
  for (const reader of READERS) expect(text).toContain(`| ${reader} `);
});
