/*
 * Bytes of the metadata of good images are overwritten at random. Whatever comes of it, listing all files and walking
 * all of their pieces ends, with findings or with errors of kind `image`; nothing else ever leaves the reader.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isPatchVdiError } from '../../src/errors.js';
import { SUPERBLOCK_OFFSET_BYTES, superBlock } from '../../src/ext/layout.js';
import { fileExtents } from '../../src/ext/file-extents.js';
import { readInode } from '../../src/ext/inode.js';
import { walk } from '../../src/ext/paths.js';
import { Disk, complaintsAbout } from '../ext/damage.js';
import { fixtureBytes } from '../ext/fixture-images.js';

const IMAGES = [
  'ext4-hashed-root',
  'ext4-inline-data-in-attribute',
  'ext4-many-extents-1k',
  'ext4-4k',
  'ext4-64k',
  'ext4-bigalloc',
  'ext4-no-64bit',
  'ext2-many-runs-1k',
  'ext2-1k',
  'genext2fs-holes',
];

/** More than reading a good one of them takes (some thousands), and less than anything endless. */
const MAX_READS = 200_000;

/** Where an image has something to damage: all but the content of its files, and its superblock, which has own tests. */
async function metadataBytes(disk: Disk): Promise<number[]> {
  const filesystem = await disk.open();
  const { blockBytes } = filesystem.superblock;
  const content = new Set<number>();
  for await (const { facts } of walk(filesystem)) {
    const { inodeNumber, type } = facts;
    if (type !== 'regular') continue;
    const raw = await readInode(filesystem, inodeNumber);
    for await (const { fsBlock, blockCount } of fileExtents(filesystem, inodeNumber, raw)) {
      for (let block = 0; block < blockCount; block += 1) content.add(fsBlock + block);
    }
  }
  const places: number[] = [];
  for (const [at, byte] of disk.bytes.entries()) {
    const inSuperblock = at < SUPERBLOCK_OFFSET_BYTES + superBlock.sizeBytes;
    // What is all ones is a bitmap, which no reader of files looks at.
    if (byte !== 0 && byte !== 0xff && !inSuperblock && !content.has(Math.floor(at / blockBytes)))
      places.push(at);
  }
  return places;
}

describe.each(IMAGES)('%s', (name) => {
  test('damaged anywhere is read to an end', async () => {
    const disk = new Disk(fixtureBytes(name));
    const places = await metadataBytes(disk);
    expect(places.length).toBeGreaterThan(100);
    disk.maxReads = MAX_READS;
    const odd = fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 2, 0x7f, 0x80, 0xff));
    const near = fc
      .tuple(fc.nat(places.length - 1), fc.integer({ min: -4, max: 4 }))
      .map(([at, by]) => (places[at] ?? 0) + by);
    const damage = fc.record({ place: near, byte: odd });
    const met = new Set<string>();
    await fc.assert(
      fc.asyncProperty(fc.array(damage, { minLength: 1, maxLength: 5 }), async (damages) => {
        const before = damages.map(({ place }) => [place, disk.bytes[place] ?? 0] as const);
        for (const { place, byte } of damages) disk.bytes[place] = byte;
        disk.reads = 0;
        try {
          for (const complaint of await complaintsAbout(disk)) met.add(complaint);
        } catch (error) {
          if (!isPatchVdiError(error) || error.kind !== 'image') throw error;
          met.add('not opened');
        } finally {
          for (const [place, byte] of before.toReversed()) disk.bytes[place] = byte;
        }
      }),
      { numRuns: 200 },
    );
    // The premise: the damage is met, and is not one and the same.
    expect(met.size).toBeGreaterThan(2);
  });
});
