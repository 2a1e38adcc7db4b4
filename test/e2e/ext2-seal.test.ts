/*
 * ext2 and ext3 have copies of their superblock all over the disk. Without the seal none of them may be there: not
 * the kernel with sb=, not e2fsck -b may find a file system.
 */
import { appendFileSync, copyFileSync, readFileSync, truncateSync } from 'node:fs';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { withKernelMount, type MountAs } from '../oracles/kernel-mount.js';
import { convertToRaw } from '../oracles/qemu-img.js';
import { runJudge } from '../oracles/run-judge.js';
import { writeAt } from '../oracles/sample-image.js';
import { runCli } from './cli.js';
import { expectUselessOutput } from './judges/nothing-usable.js';
import { OLD_FILESYSTEMS, requireOldDiskJudges, type OldFilesystem } from './old-disks.js';
import { MIB, writeUpload } from './uploads.js';
import { buildIn, FIXED } from './ways-to-build.js';
import { workspace, type Workspace } from './workspace.js';

vi.setConfig({ testTimeout: 180_000 });

beforeEach((context) => requireOldDiskJudges(context));

const UPLOAD_BYTES = 200 * MIB;
/** 800 MiB are 7 groups of 128 MiB: copies in groups 1, 3 and 5, each at the group's first block. */
const COPIES = [32_768, 98_304, 163_840];

interface Row {
  readonly offset: number;
  readonly length: number;
  readonly count: number;
  readonly kind: string;
  readonly name: string;
  readonly sealed: boolean;
}

async function planOf(work: Workspace, upload: string, format: string, filesystem: string): Promise<Row[]> {
  const args = ['plan', upload, '--format', format, '--filesystem', filesystem, '--json', ...FIXED.slice(1)];
  return (JSON.parse((await runCli(work, args)).stdout) as { segments: Row[] }).segments;
}

/** Which superblocks lead somewhere: `undefined` stands for the primary one. */
async function waysIn(raw: string, filesystem: OldFilesystem): Promise<string[]> {
  const found: string[] = [];
  for (const superblock of [undefined, ...COPIES]) {
    const options = superblock === undefined ? [] : ['-b', String(superblock), '-B', '4096'];
    if (runJudge('e2fsck', ['-fn', ...options, raw]).stdout.includes('Pass 1'))
      found.push(`e2fsck ${superblock}`);
    for (const type of new Set([filesystem, 'ext2', 'ext4'] as const)) {
      const as: MountAs = superblock === undefined ? { type } : { type, superblock };
      const mounts = await withKernelMount(raw, () => true, as).catch((error: Error) => {
        if (/wrong fs type|can't read superblock/.test(error.message)) return false;
        throw error;
      });
      if (mounts) found.push(`mount -t ${type} ${superblock}`);
    }
  }
  return found;
}

describe.for(OLD_FILESYSTEMS)('%s', (filesystem) => {
  const args = [...FIXED, '--filesystem', filesystem];

  test('a raw image: the seal is every superblock, and without it nobody gets in', async () => {
    const work = workspace();
    const upload = writeUpload(`${work.folder}/upload`, UPLOAD_BYTES);
    const image = await buildIn(work, upload, 'raw', ['pipe', 'file'], args);
    const sealed = (await planOf(work, upload, 'raw', filesystem)).filter((row) => row.sealed);
    expect(sealed.map(({ offset, length }) => [offset, length])).toEqual(
      [0, ...COPIES].map((block) => [block * 4096, 4096]),
    );
    // The judges can see all ways in, as long as they are there.
    expect((await waysIn(image, filesystem)).length).toBeGreaterThanOrEqual(2 * (1 + COPIES.length));
    for (const { offset, length } of sealed) writeAt(image, offset, Buffer.alloc(length));
    expect(await waysIn(image, filesystem)).toEqual([]);
  });

  test('a streamed VHD: cut before the first block with a superblock, and given a footer, it leads nowhere', async () => {
    const work = workspace();
    const upload = writeUpload(`${work.folder}/upload`, UPLOAD_BYTES);
    const image = await buildIn(work, upload, 'vhd', ['pipe', 'pipe'], args);
    const rows = await planOf(work, upload, 'vhd', filesystem);
    const firstSeal = rows.findIndex((row) => row.sealed);
    const sealStart = rows[firstSeal]?.offset ?? 0;
    expect(rows.slice(firstSeal).every((row) => row.sealed)).toBe(true);
    expect(rows.slice(0, firstSeal).filter((row) => row.name.startsWith('superblock'))).toEqual([]);
    expect(rows.filter((row) => row.name === 'superblock backup')).toHaveLength(COPIES.length);

    const complete = work.output('complete.raw');
    convertToRaw(image, complete);
    expect((await waysIn(complete, filesystem)).length).toBeGreaterThanOrEqual(2 * (1 + COPIES.length));

    const cut = work.output('cut.vhd');
    copyFileSync(image, cut);
    truncateSync(cut, sealStart);
    await expectUselessOutput(cut, 'vhd');
    // What is missing reads as zeros then, to a reader that does not mind.
    const footer = readFileSync(image).subarray(-512);
    truncateSync(cut, rows.at(-1)?.offset ?? 0);
    appendFileSync(cut, footer);
    const raw = work.output('cut.raw');
    convertToRaw(cut, raw);
    expect(await waysIn(raw, filesystem)).toEqual([]);
  });

  test('a wrong digest behind a pipe: what came through is of no use', async () => {
    const work = workspace();
    const upload = writeUpload(`${work.folder}/upload`, UPLOAD_BYTES);
    const image = work.output('x.vhd');
    const build = ['build', '-', '--format', 'vhd', '--filesystem', filesystem];
    const wrong = ['--content-length', String(UPLOAD_BYTES), '--allow-sha256', '0'.repeat(64)];
    const { exitCode } = await runCli(work, [...build, ...wrong], {
      stdin: { path: upload, through: 'pipe' },
      stdout: { path: image, through: 'redirection' },
    });
    expect(exitCode).toBe(3);
    await expectUselessOutput(image, 'vhd');
  });
});
