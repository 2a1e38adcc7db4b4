import { expect, test } from 'vitest';
import { runCli } from './cli.js';
import { workspace } from './workspace.js';

/** Upload and disk in bytes, by hand: four times, at least 16 MiB, rounded up to 2 MiB (2097152). */
const DISKS = [
  [1, 16_777_216],
  [4_194_303, 16_777_216],
  [4_194_304, 16_777_216],
  [4_194_305, 18_874_368],
  [5_242_880, 20_971_520],
  [5_242_883, 23_068_672],
  [104_857_600, 419_430_400],
  [104_857_601, 421_527_552],
  [734_003_200, 2_936_012_800],
  [1_073_741_823, 4_294_967_296],
  [1_073_741_825, 4_297_064_448],
  [43 * 1_073_741_824, 172 * 1_073_741_824],
] as const;

async function planned(
  ...args: string[]
): Promise<{ exitCode: number | null; virtualSize: unknown; stderr: string }> {
  const { exitCode, stdout, stderr } = await runCli(workspace(), ['plan', '-', '--json', ...args]);
  return { exitCode, stderr, virtualSize: (JSON.parse(stdout) as Record<string, unknown>)['virtualSize'] };
}

test.for(DISKS)('an upload of %i bytes gets a disk of %i bytes', async ([upload, disk]) => {
  const found = await planned('--format', 'vhd', '--content-length', String(upload));
  expect(found).toMatchObject({ exitCode: 0, virtualSize: disk });
});

test.for([
  ['6G', 6_442_450_944],
  ['16M', 16_777_216],
  ['16MiB', 16_777_216],
  ['16777217', 18_874_368],
  [' 20480 K ', 20_971_520],
] as const)('--size %s makes a disk of %i bytes', async ([text, disk]) => {
  const found = await planned('--format', 'raw', '--content-length', '1M', '--size', text);
  expect(found).toMatchObject({ exitCode: 0, virtualSize: disk });
});

test.for([
  '200MB',
  '-1',
  '1e9',
  '0',
  '1.5G',
  '',
  'G',
  '16 Q',
  '0x1000000',
  '99999999999999999999',
  '15M',
  '17T',
  '16M,',
])('--size "%s" is refused, and what would be right is said', async (text) => {
  const work = workspace();
  const args = [
    'build',
    work.input('u', 'x'),
    '-o',
    work.output('x.raw'),
    '--allow-unsigned',
    '--size',
    text,
  ];
  const { exitCode, stderr } = await runCli(work, args);
  expect(exitCode).toBe(2);
  expect(stderr).toMatch(/expected/);
  expect(work.outputs()).toEqual([]);
});

test.for(['200MB', '-1', '1e9', 'many', ''])('--content-length "%s" is refused', async (text) => {
  const work = workspace();
  const args = ['build', '-', '-o', work.output('x.raw'), '--allow-unsigned', '--content-length', text];
  const { exitCode, stderr } = await runCli(work, args);
  expect(exitCode).toBe(2);
  expect(stderr).toMatch(/expected/);
  expect(work.outputs()).toEqual([]);
});

test('an upload whose disk would be beyond ext4, and one beyond VHD', async () => {
  const work = workspace();
  const beyondExt = await runCli(work, ['plan', '-', '--format', 'raw', '--content-length', '5T']);
  expect(beyondExt.exitCode).toBe(5);
  expect(beyondExt.stderr).toContain('5 TiB');
  expect(beyondExt.stderr).toContain('16 TiB');
  const beyondVhd = await runCli(work, ['plan', '-', '--format', 'vhd', '--content-length', '511G']);
  expect(beyondVhd.exitCode).toBe(5);
  expect(beyondVhd.stderr).toContain('2194728288256 bytes');
  expect(beyondVhd.stderr).toContain('2190433320960 bytes');
  expect(beyondVhd.stderr).toContain('--format raw');
});
