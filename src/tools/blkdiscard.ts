import { findProgram, type ToolEnvironment } from './find.js';
import { runTool, toolFailure } from './run.js';

const PROGRAM = 'blkdiscard';

/** Whether the kernel can be asked at all: blkdiscard (util-linux) is not needed, only faster. */
export function canZeroDevices(environment: ToolEnvironment): boolean {
  return findProgram(PROGRAM, environment.searchPath) !== undefined;
}

/**
 * Asks the kernel to make a range of a block device read as zeros (BLKZEROOUT).
 *
 * `fd` has claimed the device (O_EXCL). The program inherits it, so that the claim lasts as long as the program, even
 * if we are killed: nobody else's data is zeroed. `--force` only means that it makes no claim of its own.
 *
 * @throws PatchVdiError `tool` with its words; `interrupted`
 */
export async function zeroDevice(
  fd: number,
  offset: number,
  length: number,
  call: { readonly environment: ToolEnvironment; readonly abortSignal: AbortSignal | undefined },
): Promise<void> {
  const range = ['--offset', String(offset), '--length', String(length)];
  const args = ['--force', '--zeroout', ...range, '/proc/self/fd/0'];
  const result = await runTool(PROGRAM, args, { ...call, inputFd: fd });
  if (result.exitCode !== 0) throw toolFailure(PROGRAM, 'zero a range of the device', result);
}
