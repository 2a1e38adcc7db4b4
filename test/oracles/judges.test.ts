/*
 * Each judge is shown a good image and a damaged one. A judge that accepts both proves nothing.
 * The images are made by mke2fs, debugfs and qemu-img alone.
 */
import { randomBytes } from 'node:crypto';
import { copyFileSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { dynamicDiskHeader, hardDiskFooter } from '../../src/vhd/layout.js';
import { MIB, TIB } from '../../src/units.js';
import { change, dumpFile, listBlocks, listExtents, statFile } from './debugfs.js';
import { superblockField } from './dumpe2fs.js';
import { clean, cleanByCopy } from './e2fsck.js';
import { withKernelMount, withSmallDisk, type MountAs } from './kernel-mount.js';
import { convertToRaw, info, sameBytes } from './qemu-img.js';
import { requireRoot, requireTool } from './require-tool.js';
import { runJudge } from './run-judge.js';
import { createSparse, flipByte, formatSample, readAt, sampleImage, writeAt } from './sample-image.js';
import { temporaryFolder } from './temporary-folder.js';

const BLOCK_BYTES = 4096;
const payload = randomBytes(100_001);

interface Bench {
  readonly folder: string;
  readonly image: string;
}

function setUp(): Bench {
  const folder = temporaryFolder();
  return { folder, image: sampleImage(folder, payload) };
}

function zeroFirstBlock(image: string): void {
  writeAt(image, 0, Buffer.alloc(BLOCK_BYTES));
}

/** Offset in the image of the first byte of `patch`. */
function payloadOffset(image: string): number {
  return (listExtents(image, '/patch').extents[0]?.fsBlock ?? 0) * BLOCK_BYTES;
}

describe('ext file systems', () => {
  beforeEach((context) => requireTool(context, 'mke2fs', 'debugfs', 'e2fsck', 'dumpe2fs'));

  test('e2fsck: a fresh file system is clean, one byte of its directory makes it dirty', () => {
    const { image } = setUp();
    expect(() => clean(image)).not.toThrow();
    const rootBlock = Number(/\d+/.exec(runJudge('debugfs', ['-R', 'blocks /', image]).stdout)?.[0]);
    flipByte(image, rootBlock * BLOCK_BYTES + 2);
    expect(() => clean(image)).toThrow(/^e2fsck on .* \(exit [1-9]/);
  });

  test('e2fsck: no superblock, no file system', () => {
    const { image } = setUp();
    writeAt(image, 0, Buffer.alloc(16 * MIB));
    expect(() => clean(image)).toThrow(/superblock/);
  });

  test('debugfs: the dump is the payload, and one byte of the image changes it', () => {
    const { folder, image } = setUp();
    const out = join(folder, 'dumped');
    dumpFile(image, '/patch', out);
    expect(readFileSync(out).equals(payload)).toBe(true);
    flipByte(image, payloadOffset(image) + 70_000);
    dumpFile(image, '/patch', out);
    expect(readFileSync(out).equals(payload)).toBe(false);
  });

  test('debugfs: the status has the size that was written, and a missing file is an error', () => {
    const { image } = setUp();
    expect(statFile(image, '/patch')).toMatchObject({ type: 'regular', size: payload.length, links: 1 });
    expect(() => statFile(image, '/other')).toThrow(/File not found/);
    expect(() => dumpFile(image, '/other', '/dev/null')).toThrow(/File not found/);
  });

  test('debugfs: the extents lead to the payload, and without a superblock there are none', () => {
    const { image } = setUp();
    const { depth, extents } = listExtents(image, '/patch');
    expect(depth).toBe(0);
    expect(extents.reduce((sum, extent) => sum + extent.blockCount, 0)).toBe(25);
    expect(readAt(image, payloadOffset(image), 100).equals(payload.subarray(0, 100))).toBe(true);
    zeroFirstBlock(image);
    expect(() => listExtents(image, '/patch')).toThrow(/magic number/);
  });

  test('debugfs: the blocks of a file without extents, and one pointer that was changed', () => {
    const { folder } = setUp();
    const image = formatSample(join(folder, 'ext2.raw'), 16 * MIB, '-O', 'none,filetype,sparse_super');
    const payloadPath = join(folder, 'payload');
    writeFileSync(payloadPath, payload);
    change(image, `write ${payloadPath} patch`);
    const { extents, indirect } = listBlocks(image, '/patch');
    const [first] = extents;
    expect(extents.reduce((sum, extent) => sum + extent.blockCount, 0)).toBe(25);
    expect(indirect).toHaveLength(1);
    const start = (first?.fsBlock ?? 0) * BLOCK_BYTES;
    expect(readAt(image, start, 100).equals(payload.subarray(0, 100))).toBe(true);
    change(image, 'set_inode_field /patch block[0] 3000');
    expect(listBlocks(image, '/patch').extents[0]).toMatchObject({ fsBlock: 3000, blockCount: 1 });
    expect(() => clean(image)).toThrow(/^e2fsck/);
  });

  test('e2fsck by a copy of the superblock: clean, and not without the copy', () => {
    const { folder } = setUp();
    const image = formatSample(join(folder, 'two.raw'), 160 * MIB, '-O', 'none,filetype,sparse_super');
    expect(() => cleanByCopy(image, 32_768)).not.toThrow();
    writeAt(image, 32_768 * BLOCK_BYTES, Buffer.alloc(BLOCK_BYTES));
    expect(() => cleanByCopy(image, 32_768)).toThrow(/superblock/);
  });

  test('dumpe2fs: tells what mke2fs was told, and nothing of zeros', () => {
    const { image } = setUp();
    expect(superblockField(image, 'Filesystem volume name')).toBe('sample');
    expect(() => superblockField(image, 'Colour')).toThrow('has no field "Colour"');
    zeroFirstBlock(image);
    expect(() => superblockField(image, 'Filesystem volume name')).toThrow(/magic number/);
  });
});

describe('the kernel', () => {
  beforeEach((context) => {
    requireTool(context, 'mke2fs', 'debugfs', 'mount', 'umount');
    requireRoot(context);
  });

  test('mounts a good image, shows a changed byte, and refuses one without a superblock', async () => {
    const { image } = setUp();
    const readPatch = () => withKernelMount(image, (folder) => readFileSync(join(folder, 'patch')));
    expect((await readPatch()).equals(payload)).toBe(true);
    flipByte(image, payloadOffset(image));
    expect((await readPatch()).equals(payload)).toBe(false);
    zeroFirstBlock(image);
    await expect(readPatch()).rejects.toThrow(/^mount on/);
  });

  test('as ext2 it takes nothing with extents, and a copy of the superblock where there is one', async () => {
    const { folder, image } = setUp();
    const open = (path: string, as: MountAs) => withKernelMount(path, () => true, as);
    await expect(open(image, { type: 'ext2' })).rejects.toThrow(/^mount on/);
    const old = formatSample(join(folder, 'ext2.raw'), 160 * MIB, '-O', 'none,filetype,sparse_super');
    expect(await open(old, { type: 'ext2' })).toBe(true);
    zeroFirstBlock(old);
    await expect(open(old, { type: 'ext2' })).rejects.toThrow(/^mount on/);
    expect(await open(old, { type: 'ext2', superblock: 32_768 })).toBe(true);
  });

  test('unmounts also after a failure', async () => {
    const { image } = setUp();
    let mountedAt = '';
    const failing = withKernelMount(image, (folder) => {
      mountedAt = folder;
      throw new Error('in the middle');
    });
    await expect(failing).rejects.toThrow('in the middle');
    expect(mountedAt).not.toBe('');
    expect(readFileSync('/proc/self/mounts', 'utf8')).not.toContain(mountedAt);
  });

  test('gives a small disk that really is small', async () => {
    const { image } = setUp();
    const overfill = withSmallDisk(MIB, (folder) => copyFileSync(image, join(folder, 'copy')));
    await expect(overfill).rejects.toThrow('ENOSPC');
    const write = withSmallDisk(MIB, (folder) => copyFileSync('/dev/null', join(folder, 'copy')), 'ro');
    await expect(write).rejects.toThrow('EROFS');
  });
});

describe('qemu-img', () => {
  beforeEach((context) => requireTool(context, 'mke2fs', 'debugfs', 'qemu-img'));

  /** A dynamic VHD of the sample image that qemu itself wrote. */
  function setUpVhd(): Bench & { readonly vhd: string } {
    const bench = setUp();
    const vhd = join(bench.folder, 'sample.vhd');
    const options = ['-O', 'vpc', '-o', 'subformat=dynamic,force_size=on'];
    const made = runJudge('qemu-img', ['convert', '-f', 'raw', ...options, bench.image, vhd]);
    expect(made).toMatchObject({ exitCode: 0, stderr: '' });
    return { ...bench, vhd };
  }

  const rawAgain = ({ folder, vhd }: { folder: string; vhd: string }): string => {
    const raw = join(folder, 'again.raw');
    convertToRaw(vhd, raw);
    return raw;
  };

  test('reads a VHD back, byte for byte', () => {
    const bench = setUpVhd();
    expect(info(bench.vhd)).toEqual({ format: 'vpc', virtualSize: 16 * MIB, clusterSize: 2 * MIB });
    expect(sameBytes(rawAgain(bench), bench.image)).toBe(true);
  });

  test('sees a BAT entry that was lost', () => {
    const bench = setUpVhd();
    const header = dynamicDiskHeader.decode(readAt(bench.vhd, hardDiskFooter.sizeBytes, 1024));
    writeAt(bench.vhd, Number(header.table_offset), Buffer.alloc(4, 0xff));
    expect(sameBytes(rawAgain(bench), bench.image)).toBe(false);
  });

  test('warns about a checksum, and that is an error', () => {
    const { vhd } = setUpVhd();
    const [at] = hardDiskFooter.rows.unique_id;
    flipByte(vhd, at);
    expect(() => info(vhd)).toThrow(/checksum/);
  });

  test('compares sparse files of terabytes, and sees one byte at their end', () => {
    const { folder } = setUp();
    const sizeBytes = 2 * TIB;
    const [one, other] = [join(folder, 'one'), join(folder, 'other')] as const;
    for (const path of [one, other]) createSparse(path, sizeBytes);
    writeAt(one, 5 * MIB, payload);
    writeAt(other, 5 * MIB, payload);
    expect(sameBytes(one, other)).toBe(true);
    flipByte(other, sizeBytes - 1);
    expect(sameBytes(one, other)).toBe(false);
    truncateSync(one, sizeBytes - 512);
    expect(sameBytes(one, other)).toBe(false);
  });

  test('refuses what is not a VHD', () => {
    const { vhd } = setUpVhd();
    flipByte(vhd, 0);
    truncateSync(vhd, MIB);
    expect(() => info(vhd)).toThrow(/qemu-img info on/);
  });
});
