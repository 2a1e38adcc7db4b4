import { findProgram, type ToolEnvironment } from './find.js';
import { runTool, toolFailure } from './run.js';

const PROGRAM = 'fallocate';

/** Whether the kernel can be asked at all: fallocate (util-linux) is not needed, only faster. */
export function canZeroDevices(environment: ToolEnvironment): boolean {
  return findProgram(PROGRAM, environment.searchPath) !== undefined;
}

/**
 * Asks the kernel to make a range of a block device read as zeros, by fallocate(2) with FALLOC_FL_PUNCH_HOLE: a device
 * that stores only what is written gives the space back, and one that would have to be written is refused. (`blkdiscard
 * --zeroout` does neither: measured on a loop device, it allocates all of the file behind it.)
 *
 * `fd` has claimed the device (O_EXCL). The program inherits it, so that the claim lasts as long as the program, even
 * if we are killed: nobody else's data is zeroed.
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
  const args = ['--punch-hole', ...range, '/proc/self/fd/0'];
  const result = await runTool(PROGRAM, args, { ...call, inputFd: fd });
  if (result.exitCode !== 0) throw toolFailure(PROGRAM, 'zero a range of the device', result);
}
