import { Command } from 'commander';
import { cancelTasks } from './command-pool-tasks.js';
import { addPoolOptions, withPool, type RawPoolOptions } from './pool-options.js';
import type { CommandContext } from './program.js';
import { visible } from './text.js';

async function cancel(
  wanted: readonly string[],
  raw: RawPoolOptions,
  context: CommandContext,
): Promise<void> {
  context.useJson(raw.json === true ? 'stdout' : undefined);
  await withPool(raw, context, async (scene) => {
    const tasks = await cancelTasks(scene, wanted);
    const { connection, warnings } = scene;
    if (raw.json === true) {
      const told = tasks.map(({ uuid, name_label: nameLabel }) => ({ uuid, nameLabel }));
      context.printJson({ ok: true, server: connection.name, told, warnings });
      return;
    }
    for (const { uuid, name_label: name } of tasks) {
      process.stdout.write(`told to end: ${visible(uuid, 60)}  ${visible(name, 200)}\n`);
    }
  });
}

export function poolCancelCommand(context: CommandContext): Command {
  const command = new Command('cancel')
    .summary('cancel what a pool is doing')
    .description(
      'Tells tasks of a pool to end: uploads, copies, prechecks. None is told when one of the names is wrong. A patch that is being applied goes on.',
    )
    .argument('<task...>', 'uuids, starts of them, or names; "pool tasks" lists them');
  return addPoolOptions(command).action((wanted: string[], raw: RawPoolOptions) =>
    cancel(wanted, raw, context),
  );
}
