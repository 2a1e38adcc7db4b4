/*
 * Bytes of a good image are overwritten at random, with the superblock's checksum put right. Whatever comes of it,
 * reading it ends, with a result or with an error of kind `image`; nothing else ever leaves the reader.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { crc32c } from '../../src/ext/crc32c.js';
import { readDirectory } from '../../src/ext/directory.js';
import { openExt } from '../../src/ext/filesystem.js';
import { readInode } from '../../src/ext/inode.js';
import { readFileMap } from '../../src/ext/file-extents.js';
import { ROOT_INODE_NUMBER, SUPERBLOCK_OFFSET_BYTES, superBlock } from '../../src/ext/layout.js';
import { mapMetadata } from '../../src/ext/metadata-map.js';
import { PatchVdiError } from '../../src/errors.js';
import { GIB, KIB, MIB } from '../../src/units.js';
import { requireTool } from '../oracles/require-tool.js';
import { readAt } from '../oracles/sample-image.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { formatWithPatch } from '../ext/images.js';

/** More reads than a file system of this size can need: beyond it, a reader is caught in a loop. */
const MAX_READS = 1_000_000;

/** Where an image has something to damage: its head, its root folder and its extent tree. */
const DAMAGED_BYTES = 2 * MIB;

test('reading a damaged image ends with a result or with an error of kind image', async (context) => {
  requireTool(context, 'mke2fs');
  const sizeBytes = 4 * GIB;
  const image = await formatWithPatch(temporaryFolder(), sizeBytes, GIB);
  const head = readAt(image, 0, 20 * MIB);
  const used = [...head.subarray(0, DAMAGED_BYTES).entries()].flatMap(([at, byte]) => (byte === 0 ? [] : at));

  const readAll = async (bytes: Buffer): Promise<void> => {
    let reads = 0;
    const filesystem = await openExt((offset, length) => {
      reads += 1;
      if (reads > MAX_READS) throw new Error('the reader does not come to an end');
      if (offset + length > sizeBytes) {
        return Promise.reject(new PatchVdiError('image', 'the image ends too early'));
      }
      const slice = Buffer.alloc(length);
      bytes.copy(slice, 0, Math.min(offset, bytes.length), Math.min(offset + length, bytes.length));
      return Promise.resolve(slice);
    });
    for (const { inodeNumber } of await readDirectory(filesystem, ROOT_INODE_NUMBER)) {
      const { treeBlocks } = await readFileMap(filesystem, await readInode(filesystem, inodeNumber));
      if (inodeNumber > ROOT_INODE_NUMBER) await mapMetadata(filesystem, treeBlocks);
    }
  };
  await readAll(head);

  const place = fc.oneof(fc.constantFrom(...used), fc.nat(16 * KIB));
  const damage = fc.record({ place, byte: fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 0x7f, 0x80, 0xff)) });
  const ends: string[] = [];
  await fc.assert(
    fc.asyncProperty(fc.array(damage, { minLength: 1, maxLength: 4 }), async (damages) => {
      const bytes = Buffer.from(head);
      for (const { place: at, byte } of damages) bytes[at] = byte;
      const raw = bytes.subarray(SUPERBLOCK_OFFSET_BYTES, SUPERBLOCK_OFFSET_BYTES + superBlock.sizeBytes);
      superBlock.set(raw, 's_checksum', crc32c(0xffffffff, raw.subarray(0, superBlock.rows.s_checksum[0])));
      try {
        await readAll(bytes);
        ends.push('result');
      } catch (error) {
        expect(error).toMatchObject({ name: 'PatchVdiError', kind: 'image' });
        ends.push('error');
      }
    }),
    { numRuns: 150 },
  );
  // The premise: both ends are met.
  expect(new Set(ends)).toEqual(new Set(['result', 'error']));
});
