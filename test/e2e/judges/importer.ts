import { copyFileSync, rmSync, statSync, truncateSync } from 'node:fs';
import { withKernelMount } from '../../oracles/kernel-mount.js';
import { convertToRaw } from '../../oracles/qemu-img.js';
import { runJudge } from '../../oracles/run-judge.js';

/** Where copies of the superblock would lie in a file system with 4 KiB blocks and the default layout. */
const BACKUP_SUPERBLOCKS = [32768, 98304];

export type ImageFormat = 'raw' | 'vhd';

/** What somebody could still make of a file that claims to be a disk image. */
export interface Uses {
  /** It is a VHD, complete enough for qemu-img; a raw image needs no conversion. */
  readonly converts: boolean;
  /** e2fsck finds a file system, by the superblock or by a copy of it, in whatever state. */
  readonly opens: boolean;
  /** The kernel mounts it. */
  readonly mounts: boolean;
}

export const USELESS: Pick<Uses, 'opens' | 'mounts'> = { opens: false, mounts: false };
export const USEFUL: Uses = { converts: true, opens: true, mounts: true };

const fsckOpens = (raw: string, ...args: string[]): boolean =>
  runJudge('e2fsck', ['-fn', ...args, raw]).stdout.includes('Pass 1');

async function usesOfRaw(raw: string): Promise<Uses> {
  const opens =
    fsckOpens(raw) || BACKUP_SUPERBLOCKS.some((block) => fsckOpens(raw, '-b', String(block), '-B', '4096'));
  const mounts = await withKernelMount(raw, () => true).catch((error: Error) => {
    // That is what mount(8) says of something without a file system; anything else is no refusal by the kernel.
    if (
      /wrong fs type|failed to setup loop device|can't read superblock|probably corrupted filesystem/.test(
        error.message,
      )
    )
      return false;
    throw error;
  });
  return { converts: true, opens, mounts };
}

/** More than any of our outputs is short of when its seal is missing: a block, its bitmap, a footer. */
const PADDING_BYTES = 16 * 1024 * 1024;

function converts(vhd: string, raw: string): boolean {
  try {
    convertToRaw(vhd, raw);
    return true;
  } catch {
    return false;
  }
}

/** Importers that take blocks as they come leave zeros where a stream broke off. */
function convertsWhenPadded(vhd: string, raw: string): boolean {
  const padded = `${vhd}.padded`;
  try {
    copyFileSync(vhd, padded);
    truncateSync(padded, statSync(padded).size + PADDING_BYTES);
    return converts(padded, raw);
  } finally {
    rmSync(padded, { force: true });
  }
}

/**
 * Tries a file as an importer would: a VHD is converted first, and one that ends too early once more with zeros
 * behind it. Needs root, e2fsck and qemu-img.
 */
export async function usesOf(path: string, format: ImageFormat): Promise<Uses> {
  if (format === 'raw') return await usesOfRaw(path);
  const raw = `${path}.imported`;
  try {
    const complete = converts(path, raw);
    if (!complete && !convertsWhenPadded(path, raw)) return { converts: false, ...USELESS };
    return { ...(await usesOfRaw(raw)), converts: complete };
  } finally {
    rmSync(raw, { force: true });
  }
}
