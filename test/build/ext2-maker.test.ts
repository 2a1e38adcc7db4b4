/*
 * Templates of ext2 and ext3, in which we place the file ourselves: e2fsck, debugfs, dumpe2fs and the kernel judge
 * them. No payload is written here, so that sizes up to 500 GiB can be tried.
 */
import { statSync } from 'node:fs';
import fc from 'fast-check';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { mapWholeImage, type TemplateFacts } from '../../src/plan/image-map.js';
import { GIB, KIB, MIB, TIB, roundUp } from '../../src/units.js';
import { ask, listBlocks, statFile } from '../oracles/debugfs.js';
import { superblockFields } from '../oracles/dumpe2fs.js';
import { clean, cleanByCopy } from '../oracles/e2fsck.js';
import { withKernelMount } from '../oracles/kernel-mount.js';
import { sameBytes } from '../oracles/qemu-img.js';
import { requireRoot, requireTool } from '../oracles/require-tool.js';
import { createSparse, readAt, writeAt } from '../oracles/sample-image.js';
import {
  EPOCH,
  IDENTITY,
  OLD_FILESYSTEMS,
  makeTemplate,
  openMaker,
  type MadeTemplate,
} from './old-filesystems.js';

beforeEach((context) => requireTool(context, 'mke2fs', 'debugfs', 'e2fsck', 'dumpe2fs', 'qemu-img'));

const BLOCK = 4 * KIB;
const UNIT = 2 * MIB;
const PER_BLOCK = 1024;
/** Four times the payload, at least 16 MiB, whole units. */
const sizeFor = (payload: number): number => roundUp(Math.max(4 * payload, 16 * MIB), UNIT);

/** Indirect blocks by hand: one for each 1024 blocks behind the first 12, one for each 1024 of those, and so on. */
function indirectByHand(blocks: number): number {
  let count = 0;
  let left = blocks - 12;
  if (left > 0) count += 1;
  left -= PER_BLOCK;
  if (left > 0) count += 1 + Math.ceil(Math.min(left, PER_BLOCK ** 2) / PER_BLOCK);
  left -= PER_BLOCK ** 2;
  if (left > 0) count += 1 + Math.ceil(left / PER_BLOCK ** 2) + Math.ceil(left / PER_BLOCK);
  return count;
}

/** 2 MiB units that some ranges touch. */
function unitsOf(ranges: readonly { readonly offset: number; readonly length: number }[]): Set<number> {
  const units = new Set<number>();
  for (const { offset, length } of ranges) {
    for (let unit = Math.floor(offset / UNIT); unit * UNIT < offset + length; unit += 1) units.add(unit);
  }
  return units;
}

function expectSeparateUnits(facts: TemplateFacts): void {
  const ranges = mapWholeImage(facts);
  const payload = unitsOf(ranges.filter((range) => range.payloadOffset !== undefined));
  const metadata = unitsOf(ranges.filter((range) => range.payloadOffset === undefined));
  expect([...payload].filter((unit) => metadata.has(unit))).toEqual([]);
}

/** Everything that can be said of a template without any payload. */
function expectGoodTemplate({ image, template }: MadeTemplate, payload: number): void {
  const blocks = Math.ceil(payload / BLOCK);
  expect(statFile(image, '/patch')).toMatchObject({
    type: 'regular',
    mode: '0755',
    user: 0,
    group: 0,
    size: payload,
    links: 1,
    blockCount: (blocks + indirectByHand(blocks)) * 8,
    flags: 0,
  });
  const theirs = listBlocks(image, '/patch');
  expect(theirs.extents).toEqual(template.facts.extents);
  expect(theirs.indirect).toHaveLength(indirectByHand(blocks));
  expectSeparateUnits(template.facts);
}

const EDGES = [
  1,
  BLOCK - 1,
  BLOCK,
  BLOCK + 1,
  11 * BLOCK,
  12 * BLOCK,
  12 * BLOCK + 1,
  13 * BLOCK,
  UNIT - 1,
  UNIT,
  UNIT + 1,
  (12 + PER_BLOCK - 1) * BLOCK,
  (12 + PER_BLOCK) * BLOCK,
  (12 + PER_BLOCK) * BLOCK + 1,
  (12 + 2 * PER_BLOCK) * BLOCK,
  (12 + 2 * PER_BLOCK) * BLOCK + 1,
  300 * MIB,
  (12 + PER_BLOCK + PER_BLOCK ** 2 - 1) * BLOCK,
  (12 + PER_BLOCK + PER_BLOCK ** 2) * BLOCK,
  (12 + PER_BLOCK + PER_BLOCK ** 2) * BLOCK + 1,
];

test('a journal is part of the metadata from its first block to its last, zeros too', async () => {
  const { image, template } = await makeTemplate('ext3', 2 * GIB, MIB);
  const theirs = listBlocks(image, '<8>');
  const journal = template.facts.metadata.filter(({ name }) => name === 'journal');
  const covered = (block: number): boolean =>
    journal.some(({ offset, length }) => offset <= block * BLOCK && block * BLOCK < offset + length);
  const blocks = theirs.extents.flatMap(({ fsBlock, blockCount }) =>
    Array.from({ length: blockCount }, (_, index) => fsBlock + index),
  );
  expect(blocks).toHaveLength(1024);
  expect([...blocks, ...theirs.indirect].filter((block) => !covered(block))).toEqual([]);
  // Only its superblock, and the pointers to the rest, are anything but zeros.
  const written = journal.filter(({ zero }) => zero !== true);
  const bytes = written.reduce((sum, { length }) => sum + length, 0);
  expect(bytes / BLOCK).toBe(1 + theirs.indirect.length);
});

describe.for(OLD_FILESYSTEMS)('%s', (filesystem) => {
  test.for(EDGES)('a template for %i bytes', async (payload) => {
    const made = await makeTemplate(filesystem, sizeFor(payload), payload);
    clean(made.image);
    expectGoodTemplate(made, payload);
  });

  test('a template for 50 GiB', async () => {
    const payload = 50 * GIB;
    const made = await makeTemplate(filesystem, sizeFor(payload), payload);
    expectGoodTemplate(made, payload);
  });

  test('the features are those of Linux 2.6, and no other', async () => {
    const { image } = await makeTemplate(filesystem, 16 * MIB, MIB);
    const fields = superblockFields(image);
    const features = (fields.get('Filesystem features') ?? '').split(' ').sort();
    const journal = filesystem === 'ext3' ? ['has_journal'] : [];
    expect(features).toEqual(['ext_attr', 'filetype', ...journal, 'large_file', 'sparse_super']);
    expect(fields.get('Filesystem state')).toBe('clean');
    expect(Number(fields.get('Inode size'))).toBe(256);
    expect(fields.get('Reserved block count')).toBe('0');
    expect(fields.get('Filesystem volume name')).toBe('old');
  });

  test('no more than a million inodes: without checksums e2fsck reads them all', async () => {
    const inodes = async (size: number): Promise<number> =>
      Number(superblockFields((await makeTemplate(filesystem, size, 1)).image).get('Inode count'));
    expect(await inodes(4 * GIB)).toBe((4 * GIB) / (64 * KIB));
    expect(await inodes(500 * GIB)).toBeGreaterThan(900_000);
    expect(await inodes(500 * GIB)).toBeLessThanOrEqual(1_100_000);
  });

  test('times are the epoch, down to the inode that we wrote', async () => {
    const { image } = await makeTemplate(filesystem, 16 * MIB, MIB);
    const seconds = `0x${EPOCH.toString(16)}`;
    const text = ask(image, 'stat /patch');
    for (const name of ['ctime', 'atime', 'mtime', 'crtime'])
      expect(text).toContain(`${name}: ${seconds}:00000000`);
  });

  test('every copy of the superblock opens the same clean file system', async () => {
    // Groups 0 to 15: copies in 1, 3, 5, 7 and 9.
    const { image, template } = await makeTemplate(filesystem, 2 * GIB, 300 * MIB);
    const copies = template.facts.metadata.filter((range) => range.superblock);
    expect(copies.map(({ offset }) => offset / (128 * MIB))).toEqual([0, 1, 3, 5, 7, 9]);
    for (const { offset } of copies.slice(1)) cleanByCopy(image, offset / BLOCK);
  });

  test.for([
    [16 * MIB, MIB],
    [2 * GIB, 300 * MIB],
    [40 * GIB, 10 * GIB],
  ])('the mapped metadata is the whole template (%i bytes)', async ([size, payload]) => {
    const { image, template } = await makeTemplate(filesystem, size ?? 0, payload ?? 0);
    const copy = createSparse(`${image}.copy`, statSync(image).size);
    for (const { offset, length } of template.facts.metadata) {
      writeAt(copy, offset, readAt(image, offset, length));
    }
    expect(sameBytes(image, copy)).toBe(true);
  });

  test.for(['ext2', 'ext3', 'ext4'] as const)(
    'the kernel mounts it as %s, or has a reason',
    async (type, context) => {
      requireRoot(context);
      const { image } = await makeTemplate(filesystem, 64 * MIB, 5 * MIB);
      const size = () => withKernelMount(image, (folder) => statSync(join(folder, 'patch')).size, { type });
      // ext3 is ext2 with a journal.
      if (filesystem === 'ext2' && type === 'ext3') await expect(size()).rejects.toThrow(/^mount on/);
      else expect(await size()).toBe(5 * MIB);
    },
  );

  test('payload and metadata share no unit, and a shorter payload lies where a longer one begins', async () => {
    const sizes = fc.integer({ min: 8, max: 700 }).map((units) => units * UNIT);
    await fc.assert(
      fc.asyncProperty(sizes, fc.double({ min: 0, max: 1, noNaN: true }), async (size, share) => {
        const { maker } = await openMaker(filesystem, size);
        const { capacity, ranges } = await maker.announce();
        const payload = Math.max(1, Math.floor(capacity * share));
        const template = await maker.make(payload, IDENTITY);
        await template.checked;
        expectSeparateUnits(template.facts);
        const longest = ranges(capacity);
        const shorter = ranges(payload);
        expect(shorter.slice(0, -1)).toEqual(longest.slice(0, shorter.length - 1));
        const [last, same] = [shorter.at(-1), longest[shorter.length - 1]];
        expect(last).toMatchObject({ offset: same?.offset, payloadOffset: same?.payloadOffset });
        expect(last?.length).toBeLessThanOrEqual(same?.length ?? 0);
      }),
      { numRuns: 25 },
    );
  });

  test('a file of 2 TiB is refused before anything is formatted', async () => {
    const { maker } = await openMaker(filesystem, 8 * TIB);
    await expect(maker.make(2 * TIB, IDENTITY)).rejects.toMatchObject({
      kind: 'space',
      message: `a file of ${filesystem} cannot be that long`,
      hint: '--filesystem ext4 takes it',
    });
  });

  test('three quarters of the units are the limit', async () => {
    const size = 2 * GIB;
    const { maker } = await openMaker(filesystem, size);
    const { capacity } = await maker.announce();
    expect(capacity).toBe((3 / 4) * size);
    await expect(maker.make(capacity + 1, IDENTITY)).rejects.toMatchObject({
      kind: 'space',
      context: {
        found: 'an upload of 1.5 GiB (1610612737 bytes)',
        expected: '1.5 GiB (1610612736 bytes) at most in an image of 2 GiB',
      },
    });
    const template = await maker.make(capacity, IDENTITY);
    await expect(template.checked).resolves.toBeUndefined();
  });
});

test('500 GiB of ext2: the time is that of e2fsck, which reads 500 MiB of block numbers', async () => {
  const payload = 500 * GIB;
  // e2fsck has looked at it when it is made, and would say the same again.
  const made = await makeTemplate('ext2', sizeFor(payload), payload);
  expectGoodTemplate(made, payload);
}, 300_000);
