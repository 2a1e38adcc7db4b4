import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command, CommanderError } from 'commander';
import { commandTree, type CommandNode } from '../../src/cli/completion/command-tree.js';
import type { CommandContext } from '../../src/cli/program.js';
import { REPOSITORY } from './pages.js';

const NO_CONTEXT = {} as CommandContext;

type MakeCommand = (context: CommandContext) => Command;

function isMaker(value: unknown): value is MakeCommand {
  return typeof value === 'function';
}

/**
 * The real commands, none of which does anything: src/cli/program.ts names them, and the functions that it imports make
 * them.
 */
async function realProgram(): Promise<Command> {
  const program = new Command('patch-vdi').version('0').enablePositionalOptions();
  const source = readFileSync(join(REPOSITORY, 'src/cli/program.ts'), 'utf8');
  const imports = [...source.matchAll(/^import \{([^}]+)\} from '\.\/(command-[\w-]+)\.js';$/gm)];
  for (const [, names = '', file = ''] of imports) {
    const module = (await import(`../../src/cli/${file}.ts`)) as Record<string, unknown>;
    for (const name of names.split(',').map((text) => text.trim())) {
      const make = module[name];
      if (isMaker(make) && name.endsWith('Command')) program.addCommand(make(NO_CONTEXT));
    }
  }
  const disarm = (command: Command): void => {
    command.exitOverride().configureOutput({ writeOut: () => undefined, writeErr: () => undefined });
    if (command.commands.length === 0) command.action(() => undefined);
    for (const child of command.commands) disarm(child);
  };
  disarm(program);
  return program;
}

export async function realTree(): Promise<CommandNode> {
  return commandTree(await realProgram(), () => '');
}

/** Why that command line would be refused, undefined when it would not. */
export async function parseFault(words: readonly string[]): Promise<string | undefined> {
  try {
    await (await realProgram()).parseAsync([...words], { from: 'user' });
    return undefined;
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    // A command that only has commands shows its help.
    return error.exitCode === 0 || error.code === 'commander.help' ? undefined : error.message;
  }
}
