import { createHash } from 'node:crypto';
import { mkdirSync, openSync, closeSync, readFileSync, readSync, symlinkSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { DEFAULT_SEARCH_PATH, findProgram } from '../../src/tools/find.js';
import { change } from '../oracles/debugfs.js';
import { backupsOf } from '../oracles/dumpe2fs.js';
import { runJudge, verdictAgainst } from '../oracles/run-judge.js';
import { createSparse, writeAt } from '../oracles/sample-image.js';
import { MIB, uploadBytes } from './uploads.js';
import type { Workspace } from './workspace.js';

/** Three groups with 4 KiB blocks, so that even those file systems have backups. */
export const DEVICE_BYTES = 272 * MIB;

/** Covers every image of these tests, and the metadata of one as large as the device. */
const GARBAGE = uploadBytes(32 * MIB, 3);

/** A used disk: not zero wherever the image will be, and at the end. */
export function makeGarbageDisk(work: Workspace): string {
  const file = createSparse(work.output('disk'), DEVICE_BYTES);
  writeAt(file, 0, GARBAGE);
  writeAt(file, DEVICE_BYTES - 4 * MIB, GARBAGE.subarray(0, 4 * MIB));
  return file;
}

/** Copies a disk and leaves what is sparse sparse. */
export function copyDisk(from: string, to: string): void {
  const copied = runJudge('cp', ['--sparse=always', from, to]);
  if (copied.exitCode !== 0) throw verdictAgainst('cp', from, copied);
}

/** Kinds of old file systems: what they are called, and how mke2fs makes them. */
export const OLD_FILESYSTEMS = [
  ['ext4, 1 KiB blocks', ['-t', 'ext4', '-b', '1024']],
  ['ext2, 1 KiB blocks, a backup in every group', ['-t', 'ext2', '-b', '1024', '-O', 'none']],
  ['ext3, 2 KiB blocks', ['-t', 'ext3', '-b', '2048']],
  [
    'ext2, 2 KiB blocks, a backup in every group',
    ['-t', 'ext2', '-b', '2048', '-O', '^sparse_super,^resize_inode'],
  ],
  ['ext4, 4 KiB blocks', ['-t', 'ext4', '-b', '4096']],
  [
    'ext2, 4 KiB blocks, a backup in every group',
    ['-t', 'ext2', '-b', '4096', '-O', '^sparse_super,^resize_inode'],
  ],
  ['ext4, sparse_super2', ['-t', 'ext4', '-O', 'sparse_super2,^resize_inode', '-E', 'num_backup_sb=2']],
  ['ext4, groups of 8000 blocks', ['-t', 'ext4', '-b', '4096', '-g', '8000']],
] as const;

/** An old file system on a disk, and where its superblocks are, as dumpe2fs tells before anything happened to it. */
export interface OldDisk {
  /** The file behind the device. */
  readonly file: string;
  readonly blockBytes: number;
  readonly backups: readonly number[];
  /** The one file that it holds, `old`. */
  readonly content: Buffer;
}

/** A disk full of garbage with a file system on top that mke2fs made, with the file `old` in it. */
export function makeOldDisk(work: Workspace, options: readonly string[]): OldDisk {
  const file = makeGarbageDisk(work);
  const made = runJudge('mke2fs', ['-q', '-F', '-E', 'nodiscard', ...options, file]);
  if (made.exitCode !== 0) throw verdictAgainst('mke2fs', file, made);
  const content = uploadBytes(3 * MIB, 11);
  change(file, `write ${work.input('old', content)} old`);
  const { blockBytes, blocks } = backupsOf(file);
  return { file, blockBytes, backups: blocks, content };
}

/** Without fallocate the whole device is not zeroed: the variable that hides it from the command line. */
export function withoutFallocate(work: Workspace): Readonly<Record<string, string>> {
  const folder = join(work.folder, 'tools');
  mkdirSync(folder, { recursive: true });
  for (const program of ['mke2fs', 'debugfs', 'e2fsck', 'gpgv']) {
    const path = findProgram(program, DEFAULT_SEARCH_PATH);
    if (path === undefined) throw new Error(`${program} is not installed`);
    symlinkSync(path, join(folder, program));
  }
  return { PATCH_VDI_TOOLS_PATH: folder };
}

/** The two ways in which old contents go. */
export const WAYS_TO_CLEAR = ['zeroed as a whole', 'superblock by superblock'] as const;

export function environmentFor(work: Workspace, way: (typeof WAYS_TO_CLEAR)[number]): Record<string, string> {
  return way === 'zeroed as a whole' ? {} : { ...withoutFallocate(work) };
}

export function digest(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}

/** The first bytes of a device, copied into a sparse file for the judges that want one. */
export function copyStart(device: string, length: number, to: string): string {
  createSparse(to, length);
  const from = openSync(device, 'r');
  const into = openSync(to, 'r+');
  const bytes = Buffer.alloc(4 * MIB);
  const zeros = Buffer.alloc(bytes.length);
  try {
    for (let at = 0; at < length;) {
      const piece = bytes.subarray(0, readSync(from, bytes, 0, Math.min(bytes.length, length - at), at));
      if (!piece.equals(zeros.subarray(0, piece.length))) writeSync(into, piece, 0, piece.length, at);
      at += piece.length;
    }
  } finally {
    closeSync(from);
    closeSync(into);
  }
  return to;
}
