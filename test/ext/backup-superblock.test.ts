import { join } from 'node:path';
import { expect, test } from 'vitest';
import { findBackupSuperblock } from '../../src/ext/backup-superblock.js';
import { SUPERBLOCK_OFFSET_BYTES } from '../../src/ext/layout.js';
import { KIB, MIB } from '../../src/units.js';
import { backupsOf } from '../oracles/dumpe2fs.js';
import { requireTool } from '../oracles/require-tool.js';
import { formatSample, readAt, writeAt } from '../oracles/sample-image.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { fixtureBytes, memoryReader } from './fixture-images.js';

test.for([
  [1 * KIB, 100 * MIB],
  [2 * KIB, 300 * MIB],
  [4 * KIB, 1300 * MIB],
] as const)(
  'with blocks of %d bytes, all copies that dumpe2fs lists are found',
  async ([blockBytes, sizeBytes], context) => {
    requireTool(context, 'mke2fs', 'dumpe2fs');
    const image = formatSample(join(temporaryFolder(), 'a.raw'), sizeBytes, '-b', String(blockBytes));
    const { blocks } = backupsOf(image);
    expect(blocks.length).toBeGreaterThan(3);
    writeAt(image, SUPERBLOCK_OFFSET_BYTES, Buffer.alloc(KIB));
    let reads = 0;
    const read = (offset: number, length: number) => {
      reads += 1;
      return Promise.resolve(readAt(image, offset, length));
    };
    const found = await findBackupSuperblock(read, sizeBytes);
    expect(found.map(({ block }) => block)).toEqual(blocks);
    expect(new Set(found.map((copy) => copy.blockBytes))).toEqual(new Set([blockBytes]));
    expect(reads).toBeLessThanOrEqual(16);
  },
);

test('the fixture without a superblock has copies, and the empty disk has none', async () => {
  const lost = fixtureBytes('refused-no-superblock');
  expect(await findBackupSuperblock(memoryReader(lost), lost.length)).toEqual([
    { block: 8193, blockBytes: KIB, offset: 8193 * KIB },
  ]);
  const empty = fixtureBytes('refused-empty-disk');
  expect(await findBackupSuperblock(memoryReader(empty), empty.length)).toEqual([]);
});

test('what lies elsewhere than it says is no copy', async () => {
  const lost = fixtureBytes('refused-no-superblock');
  const other = Buffer.alloc(64 * MIB);
  lost.copy(other, 16_385 * KIB, 8193 * KIB, 8194 * KIB);
  lost.copy(other, 24_577 * KIB, 8193 * KIB, 8194 * KIB);
  expect(await findBackupSuperblock(memoryReader(other), other.length)).toEqual([]);
});
