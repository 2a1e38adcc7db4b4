import { join } from 'node:path';
import { fakeTime, requireSilence, type E2fsprogsCall } from './e2fsprogs.js';
import { BLOCK_BYTES } from './mke2fs.js';
import { writePrivateFile } from './private-folder.js';
import { runTool } from './run.js';

/** `rwxr-xr-x`: the host executes what the payload holds. */
export const PATCH_MODE = 0o100755;

export interface TrimRequest {
  readonly imagePath: string;
  /** A folder for the private command file. */
  readonly folder: string;
  /** The exact size that the file `patch` gets, in bytes. */
  readonly sizeBytes: number;
  /** Blocks that mke2fs allocated for it. */
  readonly allocatedBlocks: number;
}

/**
 * Gives `patch` its exact size and mode, and frees the blocks past its end: initialised blocks there would be an
 * error to e2fsck. The result must be read back: debugfs exits 0 whatever happened.
 *
 * @throws PatchVdiError `tool` when debugfs says anything at all
 */
export async function trimPatchFile(request: TrimRequest, call: E2fsprogsCall): Promise<void> {
  const neededBlocks = Math.ceil(request.sizeBytes / BLOCK_BYTES);
  const commands = [
    ...(neededBlocks < request.allocatedBlocks ? [`punch /patch ${neededBlocks}`] : []),
    `set_inode_field /patch size ${request.sizeBytes}`,
    `set_inode_field /patch mode 0${PATCH_MODE.toString(8)}`,
  ];
  await changeImage(
    request.imagePath,
    commands,
    request.folder,
    call,
    'give the file patch its size and mode',
  );
}

/**
 * Has debugfs change an image by commands, one a line. The result must be read back: it exits 0 whatever happened.
 *
 * @param folder private, for the command file; where files that the commands name are looked for
 * @throws PatchVdiError `tool` when debugfs says anything on stderr
 */
export async function changeImage(
  imagePath: string,
  commands: readonly string[],
  folder: string,
  call: E2fsprogsCall,
  operation = 'change the image',
): Promise<void> {
  const commandPath = join(folder, 'debugfs.commands');
  writePrivateFile(commandPath, `${commands.join('\n')}\n`);
  const result = await runTool('debugfs', ['-w', '-f', commandPath, imagePath], {
    ...call,
    folder,
    variables: fakeTime(call.epochSeconds),
  });
  requireSilence('debugfs', operation, result, call);
}
