/*
 * Disks that show a host another `patch` than a reader of plain structures sees. What verify calls good must be what
 * runs: each of these has to be an error, and the kernel is asked what it runs.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { verifyImage } from '../../src/inspect/verify-image.js';
import { DEFAULT_SEARCH_PATH } from '../../src/tools/find.js';
import { MIB } from '../../src/units.js';
import { ask, change, statFile } from '../oracles/debugfs.js';
import { clean } from '../oracles/e2fsck.js';
import { withKernelMount, withWritableMount } from '../oracles/kernel-mount.js';
import { requireRoot, requireTool } from '../oracles/require-tool.js';
import { formatSample } from '../oracles/sample-image.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { makeDynamic } from '../vhd/hand-made.js';
import { opened } from './images.js';

beforeEach((context) => requireTool(context, 'mke2fs', 'debugfs'));

const BLOCK_BYTES = 1024;
const HASH_SEED = '11111111-1111-4111-8111-111111111111';
const EVIL = 'the other one';

async function verified(path: string): Promise<{ structure: string; errors: string[] }> {
  const image = await opened(path);
  const environment = { searchPath: DEFAULT_SEARCH_PATH, temporaryFolder: temporaryFolder() };
  const { structure, report } = await verifyImage(image, { environment });
  const errors = report.findings.filter(({ severity }) => severity === 'error').map(({ code }) => code);
  return { structure, errors };
}

/** A small file system without checksums, so that a byte can be changed. */
function plain(...features: readonly string[]): string {
  const path = join(temporaryFolder(), 'disk.raw');
  const set = ['none', 'ext_attr', 'dir_index', 'filetype', 'sparse_super', 'large_file', ...features];
  // Where a hash puts a name depends on the seed.
  const seed = ['-E', `hash_seed=${HASH_SEED}`];
  return formatSample(path, 32 * MIB, '-b', String(BLOCK_BYTES), '-O', set.join(','), ...seed);
}

function writePatch(path: string, content: string): void {
  const from = `${path}.patch`;
  writeFileSync(from, content);
  change(path, `write ${from} patch`, 'sif /patch mode 0100755');
}

describe('a hashed root with the name twice', () => {
  /** The kernel makes the index; then a name in the first leaf becomes another `patch`. */
  async function forged(): Promise<string> {
    const path = plain('extent');
    await withWritableMount(path, (folder) => {
      writeFileSync(join(folder, 'patch'), EVIL, { mode: 0o755 });
      writeFileSync(join(folder, 'good1'), 'the good one', { mode: 0o755 });
      for (let number = 0; number < 300; number += 1) {
        writeFileSync(join(folder, `f${String(number).padStart(4, '0')}`), '');
      }
    });
    const bytes = readFileSync(path);
    const leaf = Number(ask(path, 'bmap / 1')) * BLOCK_BYTES;
    const block = bytes.subarray(leaf, leaf + BLOCK_BYTES);
    const at = block.indexOf(/f\d{4}/.exec(block.toString('latin1'))?.[0] ?? 'none');
    expect(block.includes('patch')).toBe(false);
    block.write('patch', at, 'latin1');
    block.writeUInt32LE(statFile(path, '/good1').inode, at - 8);
    writeFileSync(path, bytes);
    return path;
  }

  test('is an error: the kernel takes the one that its index leads to', async (context) => {
    requireRoot(context);
    const path = await forged();
    const patch = await (await opened(path)).patch();
    expect(patch.size).toBe('the good one'.length);
    await withKernelMount(path, (folder) => {
      expect(readFileSync(join(folder, 'patch'), 'utf8')).toBe(EVIL);
    });
    expect(await verified(path)).toEqual({ structure: 'damaged', errors: ['directory-entry-twice'] });
  });
});

test('a file with a block of the journal is an error: a mount writes there', async (context) => {
  requireRoot(context);
  const path = plain('has_journal');
  writePatch(path, 'x'.repeat(5 * BLOCK_BYTES));
  expect(await verified(path)).toEqual({ structure: 'good', errors: [] });
  change(path, `sif /patch block[2] ${ask(path, 'bmap <8> 0').trim()}`);
  const before = await (
    await opened(path)
  ).read(Number(ask(path, 'bmap /patch 2')) * BLOCK_BYTES, BLOCK_BYTES);
  await withWritableMount(path, (folder) => writeFileSync(join(folder, 'other'), 'something'));
  const after = await (
    await opened(path)
  ).read(Number(ask(path, 'bmap /patch 2')) * BLOCK_BYTES, BLOCK_BYTES);
  expect(Buffer.compare(before, after)).not.toBe(0);
  expect(await verified(path)).toEqual({ structure: 'damaged', errors: ['payload-overlaps-metadata'] });
});

test('a journal that needs recovery is an error to verify, and to nobody else', async () => {
  const path = plain('has_journal');
  writePatch(path, 'x');
  change(path, 'feature needs_recovery');
  expect(await verified(path)).toEqual({ structure: 'damaged', errors: ['journal-needs-recovery'] });
  const image = await opened(path);
  await image.patch();
  expect(image.findings).toMatchObject([{ code: 'journal-needs-recovery', severity: 'warning' }]);
});

test('a file that is larger than its disk is not read: that could take days', async () => {
  const path = plain('extent');
  writePatch(path, 'x');
  change(path, 'sif /patch size 4000000000000');
  expect(await verified(path)).toEqual({ structure: 'damaged', errors: ['patch-data-unreadable'] });
});

test('a folder with blocks behind its end is an error: old kernels follow an index there', async () => {
  for (const features of [['extent'], []]) {
    const path = plain(...features);
    writePatch(path, 'x');
    change(path, 'expand_dir /');
    expect(await verified(path)).toEqual({ structure: 'good', errors: [] });
    change(path, `sif / size ${BLOCK_BYTES}`);
    expect(await verified(path)).toEqual({ structure: 'damaged', errors: ['directory-size'] });
  }
});

test('a VHD that is a raw disk as well is an error, unless it is said which is meant', async () => {
  const folder = temporaryFolder();
  const path = plain('extent');
  writePatch(path, 'x');
  const raw = readFileSync(path);
  const blocks = [{ block: 0, data: raw.subarray(0, 2 * MIB) }];
  // Behind the names, where the raw superblock is looked for; checksums fit.
  const parentName = Buffer.alloc(512);
  parentName.set(raw.subarray(1024, 1024 + 64), 1024 - 512 - 64);
  const make = (name: Buffer): Buffer =>
    makeDynamic({ sizeBytes: 32 * MIB, blocks, header: { 'Parent Unicode Name': name } });
  const [both, one] = [join(folder, 'both.vhd'), join(folder, 'one.vhd')];
  writeFileSync(both, make(parentName));
  writeFileSync(one, make(Buffer.alloc(512)));
  const codes = async (file: string, format?: 'vhd'): Promise<string[]> =>
    (await opened(file, { format })).findings.map(({ code }) => code);
  expect(await codes(both)).toContain('vhd-and-raw');
  expect(await codes(both, 'vhd')).not.toContain('vhd-and-raw');
  expect(await codes(one)).toEqual([]);
});

test('extents in a file system without them are an error: the driver of ext3 takes them for block numbers', async () => {
  const path = plain('extent');
  writePatch(path, 'x');
  expect(await verified(path)).toEqual({ structure: 'good', errors: [] });
  change(path, 'feature -extent');
  expect(() => clean(path)).toThrow(/extents? (support|format)|EXTENTS_FL/i);
  expect((await verified(path)).errors).toContain('inode-flags');
});
