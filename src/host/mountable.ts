import { PatchVdiError } from '../errors.js';
import type { Superblock } from '../ext/superblock.js';
import type { Finding } from '../findings.js';
import type { FilesystemReport } from '../inspect/filesystem-report.js';
import { openImage } from '../inspect/open-image.js';
import { verifyImage } from '../inspect/verify-image.js';
import { printable } from '../signature/printable.js';
import { judgeFilesystem } from '../tools/e2fsprogs.js';
import type { ToolEnvironment } from '../tools/find.js';

/**
 * What a file system may have that the kernel of a host is let loose on: what mke2fs gives a plain ext2, ext3 or ext4
 * by default (mke2fs.conf, e2fsprogs 1.42 to 1.47) and what our own images have. By the names of e2fsprogs.
 */
const MOUNTABLE_FEATURES: ReadonlySet<string> = new Set([
  'has_journal',
  'ext_attr',
  'resize_inode',
  'dir_index',
  'sparse_super2',
  'orphan_file',
  'filetype',
  'extent',
  'meta_bg',
  '64bit',
  'flex_bg',
  'metadata_csum_seed',
  'sparse_super',
  'large_file',
  'huge_file',
  'uninit_bg',
  'dir_nlink',
  'extra_isize',
  'metadata_csum',
]);

/** What the image has as we read it, for comparing with what the kernel reads. */
export interface SeenPatch {
  /** Of the file `patch`, hex. */
  readonly sha256: string;
  /** Bytes. */
  readonly size: number;
}

function refused(
  path: string,
  message: string,
  found: string,
  expected: string,
  hint = 'patch-vdi verify tells all that is wrong with it',
): PatchVdiError {
  return new PatchVdiError('image', message, {
    context: { operation: 'check the image before it is mounted', path, found, expected },
    hint,
  });
}

/** @throws PatchVdiError `image` when there is an error among the findings */
export function requireHealthy(path: string, findings: readonly Finding[]): void {
  const errors = findings.filter(({ severity }) => severity === 'error');
  const [first] = errors;
  if (first === undefined) return;
  if (first.code === 'filesystem-unreadable') {
    throw refused(path, first.structure, first.found, first.expected, first.hint);
  }
  const more = errors.length === 1 ? '' : ` (and ${errors.length - 1} more)`;
  const message = `the image is damaged: ${first.code}${more}`;
  throw refused(path, message, `${first.structure}: ${first.found}`, first.expected);
}

function requireKnownFeatures(path: string, { features }: FilesystemReport): void {
  const unknown = features.filter((name) => !MOUNTABLE_FEATURES.has(name));
  if (unknown.length === 0) return;
  throw refused(
    path,
    'the file system has features that no patch disk needs',
    unknown.join(', ').slice(0, 200),
    `some of ${[...MOUNTABLE_FEATURES].join(', ')}`,
  );
}

/** A kernel takes options from the superblock, too; ours come after them, but need not undo them. */
function requireNoMountOptions(path: string, { mountOptions }: Superblock): void {
  if (mountOptions === '') return;
  const found = printable(mountOptions, 64);
  throw refused(path, 'the image says how it is to be mounted', found, 'no mount options in the superblock');
}

/**
 * Whether a raw image may be given to the kernel: every structure on the way to `patch` as it should be, no feature
 * that is not on the list, nothing that a mount would change, and clean to `e2fsck -fn`. It must not change any more.
 *
 * @param name what messages call it
 * @throws PatchVdiError `image` when it may not be, `tool`, `interrupted`
 */
export async function requireMountable(
  path: string,
  name: string,
  environment: ToolEnvironment,
  signal: AbortSignal | undefined,
): Promise<SeenPatch> {
  const image = await openImage(path, { format: 'raw', signal });
  try {
    const { sha256, report } = await verifyImage(image, { environment, signal });
    requireHealthy(name, report.findings);
    const { patch, filesystem } = report;
    if (patch === undefined || filesystem === undefined || sha256 === undefined) {
      throw refused(name, 'there is no patch in the image', 'no file that can be read', 'the file /patch');
    }
    requireKnownFeatures(name, filesystem);
    requireNoMountOptions(name, (await image.filesystem()).superblock);
    const remarks = await judgeFilesystem(path, {
      environment,
      epochSeconds: undefined,
      abortSignal: signal,
    });
    if (remarks !== undefined) {
      throw refused(name, 'e2fsck has something to say about the image', remarks, 'a clean file system');
    }
    return { sha256, size: patch.size };
  } finally {
    await image.close();
  }
}
