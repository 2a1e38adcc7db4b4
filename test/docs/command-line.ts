import { CommanderError, type Command } from 'commander';
import { commandTree, type CommandNode } from '../../src/cli/completion/command-tree.js';
import { makeProgram } from '../../src/cli/make-program.js';
import type { CommandContext } from '../../src/cli/program.js';

const NO_CONTEXT = {} as CommandContext;

/** The real commands, none of which does anything. */
function realProgram(): Command {
  const program = makeProgram(NO_CONTEXT, false);
  const disarm = (command: Command): void => {
    command.exitOverride().configureOutput({ writeOut: () => undefined, writeErr: () => undefined });
    if (command.commands.length === 0) command.action(() => undefined);
    for (const child of command.commands) disarm(child);
  };
  disarm(program);
  return program;
}

export function realTree(): CommandNode {
  return commandTree(realProgram(), () => '');
}

/** Why that command line would be refused, undefined when it would not. */
export async function parseFault(words: readonly string[]): Promise<string | undefined> {
  try {
    await realProgram().parseAsync([...words], { from: 'user' });
    return undefined;
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    // A command that only has commands shows its help.
    return error.exitCode === 0 || error.code === 'commander.help' ? undefined : error.message;
  }
}
