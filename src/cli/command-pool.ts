import { Command } from 'commander';
import { poolApplyCommands } from './command-pool-apply.js';
import { poolCancelCommand } from './command-pool-cancel.js';
import { poolDownloadCommand } from './command-pool-download.js';
import { poolHostsCommand } from './command-pool-hosts.js';
import { poolPatchesCommand } from './command-pool-patches.js';
import { poolRemovalCommands } from './command-pool-remove.js';
import { poolSrsCommand } from './command-pool-srs.js';
import { poolTasksCommand } from './command-pool-tasks.js';
import { poolUploadCommand } from './command-pool-upload.js';
import { poolVdiCopyCommand } from './command-pool-vdi-copy.js';
import { poolVdiDestroyCommand } from './command-pool-vdi-destroy.js';
import { poolVdiExtractCommand, poolVdiInspectCommand } from './command-pool-vdi-look.js';
import { poolVdisCommand } from './command-pool-vdis.js';
import type { CommandContext } from './program.js';

/** What talks to a pool: one of ours (`patch-vdi serve`), by the XenAPI over TLS. */
export function poolCommand(context: CommandContext): Command {
  const pool = new Command('pool')
    .summary('store, list, fetch and apply the patches of a pool')
    .description(
      'Talks to a pool: a server of "patch-vdi serve", or a XenServer or XCP-ng with VDIs of "patch-vdi upload".',
    );
  const commands = [
    poolPatchesCommand(context),
    poolUploadCommand(context),
    poolDownloadCommand(context),
    ...poolApplyCommands(context),
    ...poolRemovalCommands(context),
    poolHostsCommand(context),
    poolSrsCommand(context),
    poolVdisCommand(context),
    poolVdiInspectCommand(context),
    poolVdiExtractCommand(context),
    poolVdiCopyCommand(context),
    poolVdiDestroyCommand(context),
    poolTasksCommand(context),
    poolCancelCommand(context),
  ];
  for (const command of commands) pool.addCommand(command);
  return pool;
}
