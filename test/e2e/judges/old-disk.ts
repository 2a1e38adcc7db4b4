import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { withDeviceMount } from '../../oracles/kernel-mount.js';
import { runJudge } from '../../oracles/run-judge.js';
import type { OldDisk } from '../devices.js';

/** e2fsck finds a file system, in whatever state. */
function opens(device: string, ...args: readonly string[]): boolean {
  const { stdout } = runJudge('e2fsck', ['-fn', ...args, device]);
  return stdout.includes('Pass 1');
}

async function mounts(device: string, ...options: readonly string[]): Promise<boolean> {
  return await withDeviceMount(device, () => true, ...options).catch((error: Error) => {
    // That is what mount(8) says of something without a file system; anything else is no refusal by the kernel.
    if (/wrong fs type|can't read superblock|Structure needs cleaning/.test(error.message)) return false;
    throw error;
  });
}

/**
 * Every way in which somebody could still get at a file system on the device: as it is, or by the superblocks of the
 * old one. Needs root.
 */
export async function waysIn(device: string, { blockBytes, backups }: OldDisk): Promise<string[]> {
  const ways: string[] = [];
  if (opens(device)) ways.push('e2fsck');
  if (await mounts(device)) ways.push('mount');
  for (const block of backups) {
    if (opens(device, '-b', String(block), '-B', String(blockBytes))) ways.push(`e2fsck -b ${block}`);
    // The kernel counts in KiB, whatever the block size.
    const kibibytes = (block * blockBytes) / 1024;
    if (await mounts(device, `sb=${kibibytes}`)) ways.push(`mount -o sb=${kibibytes}`);
  }
  return ways;
}

/** The old file system is there, sound, with its file: as if nothing had happened to it. */
export async function isWhole(device: string, { content }: OldDisk): Promise<boolean> {
  if (runJudge('e2fsck', ['-fn', device]).exitCode !== 0) return false;
  return await withDeviceMount(device, (folder) => readFileSync(join(folder, 'old')).equals(content)).catch(
    () => false,
  );
}
