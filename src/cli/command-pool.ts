import { Command } from 'commander';
import { poolDownloadCommand } from './command-pool-download.js';
import { poolPatchesCommand } from './command-pool-patches.js';
import { poolUploadCommand } from './command-pool-upload.js';
import type { CommandContext } from './program.js';

/** What talks to a pool: one of ours (`patch-vdi serve`), by the XenAPI over TLS. */
export function poolCommand(context: CommandContext): Command {
  return new Command('pool')
    .summary('store, list and fetch the patches of a pool')
    .description('Talks to a pool that keeps patches in VDIs: a server of "patch-vdi serve".')
    .addCommand(poolPatchesCommand(context))
    .addCommand(poolUploadCommand(context))
    .addCommand(poolDownloadCommand(context));
}
