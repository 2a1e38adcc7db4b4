import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { invariant } from '../errors.js';
import { KIB, roundUp } from '../units.js';
import { fakeTime, requireSilence, type E2fsprogsCall } from './e2fsprogs.js';
import { packageFile } from './package-files.js';
import { writePrivateFile } from './private-folder.js';
import { runTool } from './run.js';

/** Bytes of a file system block in every template. */
export const BLOCK_BYTES = 4 * KIB;

/** The file systems that an image can have. */
export const FILESYSTEMS = ['ext4', 'ext3', 'ext2'] as const;
/** The file systems that can be made; the kernel's ext4 driver mounts all three. */
export type FilesystemName = (typeof FILESYSTEMS)[number];

/** What every format needs. */
interface CommonRequest {
  /** An existing sparse file of the image's size. */
  readonly imagePath: string;
  /** A folder for the private configuration. */
  readonly folder: string;
  /** At most 16 bytes of UTF-8 (checked by the caller: mke2fs truncates). */
  readonly label: string;
  readonly uuid: string;
  readonly hashSeed: string;
}

export interface FormatRequest extends CommonRequest {
  /** Bytes to allocate for the file `patch`; mke2fs rounds up to 2 MiB. */
  readonly patchBytes: number;
  /** Free blocks to leave in front of the file. */
  readonly slackBlocks: number;
}

export interface EmptyFormatRequest extends CommonRequest {
  readonly filesystem: 'ext2' | 'ext3';
  /** Of the image. */
  readonly virtualSize: number;
}

/** The configuration with the sizes of the file `patch`; they do not matter where no file is made. */
function configuration(patchBytes: number, slackBlocks: number): string {
  const template = readFileSync(packageFile('native-tools/mke2fs.conf'), 'utf8');
  return template
    .replaceAll('@HUGEFILES_SIZE_KIB@', String(roundUp(patchBytes, BLOCK_BYTES) / KIB))
    .replaceAll('@HUGEFILES_SLACK_BLOCKS@', String(slackBlocks));
}

async function runMke2fs(
  request: CommonRequest,
  config: string,
  kind: readonly string[],
  extended: readonly string[],
  call: E2fsprogsCall,
): Promise<void> {
  const configPath = join(request.folder, 'mke2fs.conf');
  writePrivateFile(configPath, config);
  const options = [...extended, `hash_seed=${request.hashSeed}`, 'root_owner=0:0'].join(',');
  const label = request.label === '' ? [] : ['-L', request.label];
  const args = ['-F', ...kind, '-E', options, '-U', request.uuid, ...label];
  const variables = { MKE2FS_CONFIG: configPath, ...fakeTime(call.epochSeconds) };
  const result = await runTool('mke2fs', [...args, request.imagePath], { ...call, variables });
  requireSilence('mke2fs', 'format the template', result, call);
}

/**
 * Formats an image as ext4 with the file `patch` already allocated, none of its blocks written.
 * The result must be read back: mke2fs exits 0 when there was no room for the file.
 *
 * @throws PatchVdiError `tool` when mke2fs says anything at all
 */
export async function formatTemplate(request: FormatRequest, call: E2fsprogsCall): Promise<void> {
  invariant(request.patchBytes > 0, 'the file patch has at least one byte');
  const extended = [
    // All metadata in front, so that the payload is one run.
    'packed_meta_blocks=1',
    // No backup superblock: without the primary one nothing opens the image, which is what makes it a seal.
    'num_backup_sb=0',
    'lazy_itable_init=0',
    'nodiscard',
  ];
  const config = configuration(request.patchBytes, request.slackBlocks);
  await runMke2fs(request, config, ['-t', 'ext4', '-T', 'patch'], extended, call);
}

/** More inodes than this cost e2fsck more time than anybody has use for them: without checksums it reads them all. */
const MAX_INODES = 2 ** 20;
/** As in the configuration. */
const INODE_RATIO_BYTES = 64 * KIB;

/**
 * The smallest that the kernel takes (1024 blocks), and enough for scratch space. The default grows to 1 GiB, and
 * mke2fs writes all of it, twice for each image.
 */
const JOURNAL_MEBIBYTES = 4;

/**
 * Formats an image as ext2 or ext3 without any file.
 *
 * @throws PatchVdiError `tool` when mke2fs says anything at all
 */
export async function formatEmpty(request: EmptyFormatRequest, call: E2fsprogsCall): Promise<void> {
  const { filesystem, virtualSize } = request;
  const ratio = Math.max(INODE_RATIO_BYTES, virtualSize / MAX_INODES);
  const journal = filesystem === 'ext3' ? ['-J', `size=${JOURNAL_MEBIBYTES}`] : [];
  const kind = ['-t', filesystem, '-T', 'empty', '-i', String(Math.ceil(ratio)), ...journal];
  // What is discarded reads as zeros in a sparse file: mke2fs then does not write the inode tables, which would
  // take real space.
  const extended = ['lazy_itable_init=0', 'lazy_journal_init=1', 'discard'];
  await runMke2fs(request, configuration(BLOCK_BYTES, 0), kind, extended, call);
}
