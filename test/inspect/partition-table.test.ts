import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  PARTITION_TABLE_BYTES,
  describePartitionTable,
  findPartitionTable,
} from '../../src/inspect/partition-table.js';
import { MIB } from '../../src/units.js';
import { requireTool } from '../oracles/require-tool.js';
import { runJudge } from '../oracles/run-judge.js';
import { createSparse, readAt } from '../oracles/sample-image.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';

/** Partitions a disk with sfdisk, and tells what `sfdisk --json` says of it. */
function partition(script: string) {
  const disk = createSparse(join(temporaryFolder(), 'disk.raw'), 64 * MIB);
  const made = runJudge('sfdisk', ['--quiet', disk], script);
  expect(made.exitCode, made.stderr).toBe(0);
  const told = JSON.parse(runJudge('sfdisk', ['--json', disk]).stdout) as {
    partitiontable: { label: string; partitions?: { start: number; size: number; node: string }[] };
  };
  return { start: readAt(disk, 0, PARTITION_TABLE_BYTES), told: told.partitiontable };
}

describe('what sfdisk has made is what we find', () => {
  test.for([
    ['MBR, one partition', 'label: dos\n2048,,L\n'],
    ['MBR, three partitions', 'label: dos\n2048,16384,L,*\n20480,16384,83\n40960,,82\n'],
    ['MBR, the second one only', 'label: dos\n2 : start=4096, size=8192, type=83\n'],
    ['GPT, two partitions', 'label: gpt\n2048,16384,L\n20480,,L\n'],
    ['GPT with a gap', 'label: gpt\n3 : start=4096, size=8192, type=L\n'],
    ['GPT without partitions', 'label: gpt\n'],
  ] as const)('%s', ([, script], context) => {
    requireTool(context, 'sfdisk');
    const { start, told } = partition(script);
    const found = findPartitionTable(start);
    expect(found?.scheme).toBe(told.label === 'dos' ? 'MBR' : 'GPT');
    expect(found?.partitions).toEqual(
      (told.partitions ?? []).map(({ start: sector, size, node }) => ({
        number: Number(/(\d+)$/.exec(node)?.[1]),
        offsetBytes: sector * 512,
        lengthBytes: size * 512,
      })),
    );
  });

  test('sabotage: a moved partition is seen', (context) => {
    requireTool(context, 'sfdisk');
    const { start } = partition('label: dos\n2048,,L\n');
    const before = findPartitionTable(start);
    // The first byte of starting_lba in the first record: 446 + 8.
    start[454] = 1;
    expect(findPartitionTable(start)).not.toEqual(before);
  });
});

test('no table: zeros, a file system, half a sector, a boot sector of FAT', () => {
  expect(findPartitionTable(new Uint8Array(PARTITION_TABLE_BYTES))).toBeUndefined();
  expect(findPartitionTable(new Uint8Array(100))).toBeUndefined();
  const fat = new Uint8Array(512).fill(0x5a);
  fat.set([0x55, 0xaa], 510);
  expect(findPartitionTable(fat)).toBeUndefined();
});

test('hostile numbers are passed over', () => {
  const start = new Uint8Array(PARTITION_TABLE_BYTES).fill(0xff);
  start.set([0x55, 0xaa], 510);
  start.fill(0, 446, 510);
  start[450] = 0xee;
  start.set(Buffer.from('EFI PART'), 512);
  expect(findPartitionTable(start)).toEqual({ scheme: 'GPT', partitions: [] });
});

test('few words, however many partitions there are', () => {
  const partitions = Array.from({ length: 128 }, (_, index) => ({
    number: index + 1,
    offsetBytes: MIB * (index + 1),
    lengthBytes: MIB,
  }));
  expect(describePartitionTable({ scheme: 'GPT', partitions })).toBe(
    'a GPT partition table: 1 at 1048576 (1 MiB), 2 at 2097152 (1 MiB), 3 at 3145728 (1 MiB), 4 at 4194304 (1 MiB), and 124 more',
  );
  expect(describePartitionTable({ scheme: 'MBR', partitions: [] })).toBe(
    'an MBR partition table: no partition',
  );
});
