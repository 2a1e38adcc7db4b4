import { readFileSync, readdirSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { copyDisk } from '../../src/host/private-copy.js';
import { openImage } from '../../src/inspect/open-image.js';
import { convertToRaw, sameBytes } from '../oracles/qemu-img.js';
import { requireTool } from '../oracles/require-tool.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { withSmallDisk } from '../oracles/kernel-mount.js';
import { attachLoop, requireLoopDevices } from '../oracles/loop-device.js';
import { requireRoot } from '../oracles/require-tool.js';

const KIB = 1024;
const MIB = 1024 * KIB;

async function copy(image: string, to: string, signal?: AbortSignal): Promise<void> {
  const opened = await openImage(image, { signal });
  try {
    await copyDisk(opened, to, { signal });
  } finally {
    await opened.close();
  }
}

/** Islands of data at awkward places, in a disk that is mostly zeros and no multiple of anything. */
function islands(path: string): string {
  const size = 9 * MIB + 512;
  const bytes = Buffer.alloc(size);
  for (const at of [0, 4095, 4096, MIB - 1, MIB, 3 * MIB + 5000, 8 * MIB, size - 1])
    bytes[at] = 1 + (at % 255);
  bytes.fill(7, 5 * MIB - 3, 6 * MIB + 3);
  writeFileSync(path, bytes);
  return path;
}

test('a raw image byte for byte, with holes where it is zero', async () => {
  const folder = temporaryFolder();
  const [image, to] = [islands(join(folder, 'image')), join(folder, 'copy')];
  await copy(image, to);
  expect(readFileSync(to).equals(readFileSync(image))).toBe(true);
  expect(statSync(to).mode % 0o1000).toBe(0o600);
  expect(statSync(to).blocks * 512).toBeLessThan(2 * MIB);
});

test.for(['qemu-dynamic', 'qemu-fixed', 'blktap-batmap', 'old-virtual-pc-fixed'])(
  'the VHD %s as qemu-img converts it',
  async (name, context) => {
    requireTool(context, 'qemu-img');
    const folder = temporaryFolder();
    const [image, to, theirs] = ['image.vhd', 'copy', 'theirs'].map((file) => join(folder, file)) as [
      string,
      string,
      string,
    ];
    const fixture = join(import.meta.dirname, `../../fixtures/vhd/${name}.vhd.gz`);
    writeFileSync(image, gunzipSync(readFileSync(fixture)));
    await copy(image, to);
    convertToRaw(image, theirs);
    // qemu goes by the geometry for this creator, which rounds down (src/vhd/vhd-disk.ts).
    if (name === 'old-virtual-pc-fixed') truncateSync(to, statSync(theirs).size);
    expect(sameBytes(to, theirs)).toBe(true);
    // The judge can say no.
    writeFileSync(to, 'x', { flag: 'r+' });
    expect(sameBytes(to, theirs)).toBe(false);
  },
);

test('a block device', async (context) => {
  requireLoopDevices(context);
  const folder = temporaryFolder();
  const image = islands(join(folder, 'image'));
  await copy(attachLoop(image), join(folder, 'copy'));
  expect(readFileSync(join(folder, 'copy')).equals(readFileSync(image))).toBe(true);
});

test('the whole disk must fit, also what is a hole in it: refused before a byte is written', async (context) => {
  requireRoot(context);
  const image = join(temporaryFolder(), 'image');
  writeFileSync(image, 'x');
  truncateSync(image, 16 * MIB);
  await withSmallDisk(16 * MIB, async (small) => {
    await expect(copy(image, join(small, 'copy'))).rejects.toMatchObject({ kind: 'space' });
    expect(readdirSync(small)).toEqual([]);
  });
  await withSmallDisk(18 * MIB, async (small) => {
    await copy(image, join(small, 'copy'));
    expect(statSync(join(small, 'copy')).size).toBe(16 * MIB);
  });
});

test('an abort ends it, and a name that is in use is not written to', async () => {
  const folder = temporaryFolder();
  const image = islands(join(folder, 'image'));
  const stop = AbortSignal.abort(new Error('enough'));
  await expect(copy(image, join(folder, 'copy'), stop)).rejects.toThrow('enough');
  const used = join(folder, 'used');
  writeFileSync(used, 'mine');
  await expect(copy(image, used)).rejects.toMatchObject({ kind: 'sink' });
  expect(readFileSync(used, 'utf8')).toBe('mine');
});
