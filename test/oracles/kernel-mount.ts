import { mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runJudge, verdictAgainst } from './run-judge.js';

function requireSuccess(program: string, args: readonly string[], subject: string): void {
  const result = runJudge(program, args);
  if (result.exitCode !== 0) throw verdictAgainst(program, subject, result);
}

async function withMounted<T>(
  args: readonly string[],
  subject: string,
  use: (folder: string) => T | Promise<T>,
): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'patch-vdi-mount-'));
  try {
    requireSuccess('mount', [...args, folder], subject);
    try {
      return await use(folder);
    } finally {
      requireSuccess('umount', [folder], subject);
    }
  } finally {
    rmdirSync(folder);
  }
}

export interface MountAs {
  /** What mount is told that it is. */
  readonly type: 'ext2' | 'ext3' | 'ext4';
  /** Where to look for the superblock, in blocks of 4 KiB. */
  readonly superblock?: number;
  /** `noload`: a journal that needs recovery stays as it is. */
  readonly journal?: 'noload';
}

/**
 * Lets the kernel judge: mounts a raw image through a loop device, read-only, for as long as `use` runs.
 * Needs root (requireRoot).
 *
 * @throws Error with mount's words when the kernel does not take it
 */
export function withKernelMount<T>(
  imagePath: string,
  use: (folder: string) => T | Promise<T>,
  { type, superblock, journal }: MountAs = { type: 'ext4' },
): Promise<T> {
  // mount counts in units of 1 KiB there.
  const place = superblock === undefined ? '' : `,sb=${superblock * 4}`;
  const load = journal === undefined ? '' : `,${journal}`;
  const options = `loop,ro,nosuid,nodev,noexec${place}${load}`;
  return withMounted(['-t', type, '-o', options, imagePath], imagePath, use);
}

/** The same, but the kernel writes: it is to make files as it makes them. Needs root (requireRoot). */
export function withWritableMount<T>(imagePath: string, use: (folder: string) => T | Promise<T>): Promise<T> {
  return withMounted(['-t', 'ext4', '-o', 'loop,nosuid,nodev', imagePath], imagePath, use);
}

/** A file system in memory of that size, for a disk that is full or read-only. Needs root (requireRoot). */
export function withSmallDisk<T>(
  sizeBytes: number,
  use: (folder: string) => T | Promise<T>,
  access: 'rw' | 'ro' = 'rw',
): Promise<T> {
  return withMounted(['-t', 'tmpfs', '-o', `size=${sizeBytes},${access}`, 'tmpfs'], 'a small tmpfs', use);
}

/**
 * Mounts a block device as ext4, read-only and without looking at its journal.
 *
 * @param options of mount(8) besides, such as `sb=32768`
 * @throws Error with mount's words when the kernel does not take it
 */
export function withDeviceMount<T>(
  device: string,
  use: (folder: string) => T | Promise<T>,
  ...options: readonly string[]
): Promise<T> {
  const all = ['ro', 'noload', 'nosuid', 'nodev', 'noexec', ...options].join(',');
  return withMounted(['-t', 'ext4', '-o', all, device], device, use);
}
