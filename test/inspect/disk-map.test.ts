import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { mapDisk } from '../../src/inspect/disk-map.js';
import { checkPayloadBlocks } from '../../src/inspect/payload-check.js';
import { KIB, MIB } from '../../src/units.js';
import { ask, change } from '../oracles/debugfs.js';
import { superblockFields } from '../oracles/dumpe2fs.js';
import { requireTool } from '../oracles/require-tool.js';
import { runJudge } from '../oracles/run-judge.js';
import { createSparse } from '../oracles/sample-image.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { opened } from './images.js';

beforeEach((context) => requireTool(context, 'mke2fs', 'debugfs', 'dumpe2fs'));

const PATCH_BYTES = 1_500_000;

function formatted(...options: string[]): string {
  const folder = temporaryFolder();
  const path = createSparse(join(folder, 'disk.raw'), 32 * MIB);
  const made = runJudge('mke2fs', ['-q', '-F', ...options, path]);
  expect(made.exitCode, made.stderr).toBe(0);
  writeFileSync(join(folder, 'payload'), Buffer.alloc(PATCH_BYTES, 7));
  change(path, `write ${join(folder, 'payload')} patch`);
  return path;
}

const KINDS: readonly (readonly [string, readonly string[]])[] = [
  ['ext4', ['-t', 'ext4']],
  ['ext4 with 1 KiB blocks', ['-t', 'ext4', '-b', '1024']],
  ['ext3', ['-t', 'ext3']],
  ['ext2 with 1 KiB blocks', ['-t', 'ext2', '-b', '1024']],
  ['ext4 with meta_bg', ['-t', 'ext4', '-b', '1024', '-O', 'meta_bg,^resize_inode']],
  ['ext4 with bigalloc', ['-t', 'ext4', '-O', 'bigalloc', '-C', '16384']],
];

describe('the sums are those of dumpe2fs', () => {
  test.for(KINDS)('%s', async ([, options]) => {
    const path = formatted(...options);
    const image = await opened(path);
    const filesystem = await image.filesystem();
    const { blockBytes } = filesystem.superblock;
    const map = await mapDisk(image, filesystem, await image.patch(), 4096);
    const fields = superblockFields(path);
    expect(map.totals.free).toBe(Number(fields.get('Free blocks')) * blockBytes);
    expect(map.totals.payload).toBe(Math.ceil(PATCH_BYTES / blockBytes) * blockBytes);
    const sum = Object.values(map.totals).reduce((total, bytes) => total + bytes, 0);
    expect(sum).toBe(32 * MIB);
    expect(map.allocatedBytes).toBe(32 * MIB);
    expect(image.findings).toEqual([]);
  });
});

describe('each cell shows what debugfs says of its blocks', () => {
  test.for(KINDS.slice(0, 4))('%s', async ([, options]) => {
    const path = formatted(...options);
    const image = await opened(path);
    const filesystem = await image.filesystem();
    const { blockBytes, blockCount, firstDataBlock } = filesystem.superblock;
    const map = await mapDisk(image, filesystem, await image.patch(), 1_000_000);
    expect(map.cellBytes).toBe(blockBytes);
    const inode = /^Inode: (\d+)/m.exec(ask(path, 'stat /patch'))?.[1];
    const blocks = Array.from({ length: blockCount - firstDataBlock }, (_, index) => index + firstDataBlock);
    const owners = new Map<number, string>();
    // A command of debugfs has room for some 8000 characters.
    const commands = Array.from({ length: Math.ceil(blocks.length / 500) }, (_, index) => {
      return `icheck ${blocks.slice(index * 500, index * 500 + 500).join(' ')}`;
    });
    for (const line of ask(path, ...commands).split('\n')) {
      const [, block, owner = ''] = /^(\d+)\t(.*)$/.exec(line) ?? [];
      if (block !== undefined) owners.set(Number(block), owner.trim());
    }
    expect(owners.size).toBe(blocks.length);
    for (const block of blocks) {
      const cell = map.cells[block];
      if (owners.get(block) === inode && cell?.kind !== 'payload') {
        // The blocks of the map of patch belong to its inode as well.
        expect(cell?.kind, `block ${block}`).toBe('other');
      }
      if (cell?.kind === 'payload') expect(owners.get(block), `block ${block}`).toBe(inode);
    }
    expect(map.cells.filter(({ kind }) => kind === 'payload')).toHaveLength(
      Math.ceil(PATCH_BYTES / blockBytes),
    );
  });
});

describe('payload blocks that are not its own', () => {
  test('marked as free', async () => {
    const path = formatted('-t', 'ext4', '-b', '1024', '-O', '^metadata_csum,^uninit_bg');
    const block = /^(\d+)$/m.exec(ask(path, 'blocks /patch').replaceAll(' ', '\n'))?.[1];
    change(path, `freeb ${block}`);
    const image = await opened(path);
    await checkPayloadBlocks(image, await image.filesystem(), await image.patch());
    expect(image.findings.map(({ code }) => code)).toEqual(['payload-marked-free']);
    expect(image.findings[0]?.offset).toBe(Number(block) * KIB);
  });

  test('none, in a good image', async () => {
    for (const [, options] of KINDS) {
      const image = await opened(formatted(...options));
      await checkPayloadBlocks(image, await image.filesystem(), await image.patch());
      expect(image.findings).toEqual([]);
    }
  });
});
