import { copyFileSync, statSync, truncateSync } from 'node:fs';
import { execa } from 'execa';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { change, listExtents } from '../../oracles/debugfs.js';
import { flipByte } from '../../oracles/sample-image.js';
import { CLI } from '../cli.js';
import { MIB, uploadBytes } from '../uploads.js';
import { makeWorkspace, type Workspace } from '../workspace.js';
import { USEFUL, USELESS, usesOf } from './importer.js';
import { expectPatchDisk, requireImageJudges } from './patch-disk.js';
import { difference, differingOffsets } from './same-bytes.js';

/*
 * The judges of this folder see a good image with exactly one thing wrong, and must say so. (Those of test/oracles
 * have their own such test.)
 */

const VIRTUAL_SIZE = 16 * MIB;
/** s_magic (kernel documentation, "The Super Block"). */
const MAGIC_OFFSET = 1024 + 0x38;

let work: Workspace;
let upload: string;
let raw: string;
let vhd: string;
beforeAll(async () => {
  work = makeWorkspace();
  upload = work.input('upload', uploadBytes(3 * MIB + 5));
  raw = work.output('good.raw');
  vhd = work.output('good.vhd');
  for (const image of [raw, vhd]) {
    await execa(process.execPath, [CLI, 'build', upload, '-o', image, '--allow-unsigned', '--quiet']);
  }
});
afterAll(() => work.remove());
beforeEach((context) => requireImageJudges(context));

function damaged(image: string, damage: (copy: string) => void): string {
  const copy = `${image}.damaged`;
  copyFileSync(image, copy);
  damage(copy);
  return copy;
}

test('the good images pass', async () => {
  await expectPatchDisk(raw, 'raw', upload, VIRTUAL_SIZE);
  await expectPatchDisk(vhd, 'vhd', upload, VIRTUAL_SIZE);
  expect(await usesOf(raw, 'raw')).toEqual(USEFUL);
  expect(await usesOf(vhd, 'vhd')).toEqual(USEFUL);
});

function payloadStart(): number {
  return (listExtents(raw, '/patch').extents[0]?.fsBlock ?? 0) * 4096;
}

const DAMAGES: readonly (readonly [what: string, damage: (copy: string) => void])[] = [
  ['one byte of the payload', (copy) => flipByte(copy, payloadStart() + 12_345)],
  ['the mode', (copy) => void change(copy, 'sif /patch mode 0100644')],
  ['the owner', (copy) => void change(copy, 'sif /patch uid 1000')],
  ['the group', (copy) => void change(copy, 'sif /patch gid 1000')],
  ['the size', (copy) => void change(copy, `sif /patch size ${3 * MIB + 4}`)],
  ['another file beside it', (copy) => void change(copy, `write ${upload} other`)],
  ['a free count', (copy) => flipByte(copy, 1024 + 0x10)],
  ['the length of the image', (copy) => truncateSync(copy, VIRTUAL_SIZE + 512)],
];

test.for(DAMAGES)('an image that differs is no patch disk: %s', async ([, damage]) => {
  const bad = damaged(raw, damage);
  await expect(expectPatchDisk(bad, 'raw', upload, VIRTUAL_SIZE)).rejects.toThrow();
});

test('cmp shows where two files differ', () => {
  const bad = damaged(raw, (copy) => flipByte(copy, 70_000));
  expect(difference(raw, raw)).toBeUndefined();
  expect(difference(raw, bad)).toMatch(/(byte|char) 70001/);
  expect(differingOffsets(raw, bad)).toEqual([70_000]);
  truncateSync(bad, MIB);
  expect(() => differingOffsets(raw, bad)).toThrow('EOF');
});

test('an image without its superblock is of no use', async () => {
  const bad = damaged(raw, (copy) => flipByte(copy, MAGIC_OFFSET));
  expect(await usesOf(bad, 'raw')).toEqual({ converts: true, ...USELESS });
});

test('a file system that e2fsck can only open by a backup superblock still is of use', async () => {
  const ordinary = work.output('ordinary.raw');
  copyFileSync('/dev/null', ordinary);
  truncateSync(ordinary, 256 * MIB);
  await execa('mke2fs', ['-q', '-F', '-t', 'ext4', '-b', '4096', ordinary], {
    env: { PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` },
  });
  flipByte(ordinary, MAGIC_OFFSET);
  expect(await usesOf(ordinary, 'raw')).toEqual({ converts: true, opens: true, mounts: false });
});

test('a VHD without a header converts to nothing', async () => {
  const bad = damaged(vhd, (copy) => {
    flipByte(copy, 0);
    truncateSync(copy, 4 * MIB);
  });
  expect(await usesOf(bad, 'vhd')).toEqual({ converts: false, ...USELESS });
});

test('a VHD that only lacks its trailing footer still is of use', async () => {
  const cut = damaged(vhd, (copy) => truncateSync(copy, statSync(vhd).size - 512));
  expect(await usesOf(cut, 'vhd')).toMatchObject({ opens: true, mounts: true });
});

test('a VHD that lacks the end of its last block is of use to whoever reads zeros there', async () => {
  const cut = damaged(vhd, (copy) => truncateSync(copy, statSync(vhd).size - 100_000));
  expect(await usesOf(cut, 'vhd')).toEqual({ converts: false, opens: true, mounts: true });
});
