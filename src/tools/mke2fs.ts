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

export interface FormatRequest {
  /** An existing sparse file of the image's size. */
  readonly imagePath: string;
  /** A folder for the private configuration. */
  readonly folder: string;
  /** Bytes to allocate for the file `patch`; mke2fs rounds up to 2 MiB. */
  readonly patchBytes: number;
  /** Free blocks to leave in front of the file. */
  readonly slackBlocks: number;
  /** At most 16 bytes of UTF-8 (checked by the caller: mke2fs truncates). */
  readonly label: string;
  readonly uuid: string;
  readonly hashSeed: string;
}

function configuration(request: FormatRequest): string {
  const template = readFileSync(packageFile('native-tools/mke2fs.conf'), 'utf8');
  return template
    .replaceAll('@HUGEFILES_SIZE_KIB@', String(roundUp(request.patchBytes, BLOCK_BYTES) / KIB))
    .replaceAll('@HUGEFILES_SLACK_BLOCKS@', String(request.slackBlocks));
}

/**
 * Formats an image as ext4 with the file `patch` already allocated, none of its blocks written.
 * The result must be read back: mke2fs exits 0 when there was no room for the file.
 *
 * @throws PatchVdiError `tool` when mke2fs says anything at all
 */
export async function formatTemplate(request: FormatRequest, call: E2fsprogsCall): Promise<void> {
  invariant(request.patchBytes > 0, 'the file patch has at least one byte');
  const configPath = join(request.folder, 'mke2fs.conf');
  writePrivateFile(configPath, configuration(request));
  const extended = [
    // All metadata in front, so that the payload is one run.
    'packed_meta_blocks=1',
    // No backup superblock: without the primary one nothing opens the image, which is what makes it a seal.
    'num_backup_sb=0',
    'lazy_itable_init=0',
    'nodiscard',
    `hash_seed=${request.hashSeed}`,
    'root_owner=0:0',
  ];
  const label = request.label === '' ? [] : ['-L', request.label];
  const args = ['-F', '-t', 'ext4', '-T', 'patch', '-E', extended.join(','), '-U', request.uuid, ...label];
  const variables = { MKE2FS_CONFIG: configPath, ...fakeTime(call.epochSeconds) };
  const result = await runTool('mke2fs', [...args, request.imagePath], { ...call, variables });
  requireSilence('mke2fs', 'format the template', result);
}
