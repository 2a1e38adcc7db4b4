import { EventEmitter } from 'node:events';
import { Argument, Command } from 'commander';
import { invariant } from '../errors.js';
import type { CommandNode, LongChoices } from './completion/command-tree.js';
import { ENVIRONMENT, sourceDateEpoch } from './environment.js';
import { EXIT_MEANINGS } from './exit-codes.js';
import { packageVersion } from './version.js';

/** Loaded when it is asked for: every start would pay for it. */
const SHELLS = {
  bash: async () => (await import('./completion/bash.js')).bashCompletion,
  zsh: async () => (await import('./completion/zsh.js')).zshCompletion,
} as const;

/** What a command's help says after its options: commander writes it to whoever listens. */
function notesOf(command: Command): string {
  let notes = '';
  const emitter: unknown = command;
  invariant(emitter instanceof EventEmitter, 'commander tells listeners when it prints help');
  emitter.emit('afterHelp', { error: false, command, write: (text: string) => (notes += text) });
  return notes;
}

async function treeOf(
  { parent }: Command,
  long?: LongChoices,
): Promise<{ readonly tree: CommandNode; readonly name: string }> {
  const { commandTree } = await import('./completion/command-tree.js');
  const program = parent ?? new Command();
  return { tree: commandTree(program, notesOf, long), name: program.name() };
}

export function completionCommand(): Command {
  const command = new Command('completion');
  return command
    .summary('a completion script for bash or zsh')
    .description(
      'Prints a script that lets a shell complete commands, options and their values. Nothing is run while somebody types.',
    )
    .addArgument(new Argument('<shell>').choices(Object.keys(SHELLS)))
    .action(async (shell: keyof typeof SHELLS) => {
      const { FAULTS } = await import('../kit/faults/catalogue.js');
      const { tree, name } = await treeOf(command, { fault: FAULTS.map((fault) => fault.name) });
      const script = await SHELLS[shell]();
      process.stdout.write(script(tree, name));
    });
}

export function manualCommand(): Command {
  const command = new Command('manual');
  return command
    .summary('the manual page, for man')
    .description('Prints all help as a manual page.')
    .action(async () => {
      const { manualPage } = await import('./completion/manual.js');
      const { tree, name } = await treeOf(command);
      const dateSeconds = sourceDateEpoch(undefined);
      const facts = { name, version: packageVersion(), dateSeconds };
      process.stdout.write(
        manualPage(tree, { ...facts, exitCodes: EXIT_MEANINGS, environment: ENVIRONMENT }),
      );
    });
}
