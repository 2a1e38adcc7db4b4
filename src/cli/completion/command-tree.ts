import type { Command, Option } from 'commander';

/** What a word of the command line may be, as far as a shell can help. */
export type ValueKind =
  | { readonly kind: 'choice'; readonly choices: readonly string[] }
  | { readonly kind: 'file' | 'folder' | 'other' };

export interface OptionNode {
  /** `-o`, `--output`. */
  readonly names: readonly string[];
  readonly description: string;
  /** Undefined: it takes none. */
  readonly value: ({ readonly name: string } & ValueKind) | undefined;
  readonly mayRepeat: boolean;
}

export interface CommandNode {
  /** Words that lead to it, without the program: empty for the program itself. */
  readonly path: readonly string[];
  readonly summary: string;
  readonly description: string;
  /** As the help shows it, such as `[options] <image>`. */
  readonly usage: string;
  readonly options: readonly OptionNode[];
  readonly argumentNames: readonly string[];
  readonly commands: readonly CommandNode[];
  /** What the help says after the options. */
  readonly notes: string;
}

/** Names of values that are paths, as the options of this program write them. */
const VALUE_KINDS: Readonly<Record<string, ValueKind['kind']>> = {
  file: 'file',
  path: 'file',
  image: 'file',
  upload: 'file',
  a: 'file',
  b: 'file',
  folder: 'folder',
};

function plainName(text: string): string {
  return text.replaceAll(/[<>[\].]/g, '');
}

function valueOf(option: Option): OptionNode['value'] {
  const placeholder = /[<[][^>\]]+[>\]]/.exec(option.flags)?.[0];
  if (placeholder === undefined) return undefined;
  const name = plainName(placeholder);
  const { argChoices: choices } = option;
  if (choices !== undefined) return { name, kind: 'choice', choices };
  const kind = VALUE_KINDS[name] ?? 'other';
  return kind === 'file' || kind === 'folder' ? { name, kind } : { name, kind: 'other' };
}

function optionOf(option: Option): OptionNode {
  return {
    names: [option.short, option.long].filter((name) => name !== undefined && name !== null),
    description: option.description,
    value: valueOf(option),
    mayRepeat: option.variadic || /repeatable/.test(option.description),
  };
}

/** Everything that the help of a program says, as data; completions and manual pages are made from it. */
export function commandTree(program: Command, notesOf: (command: Command) => string): CommandNode {
  const node = (command: Command, path: readonly string[]): CommandNode => {
    const help = command.createHelp();
    return {
      path,
      summary: command.summary() === '' ? command.description() : command.summary(),
      description: command.description(),
      usage: command.usage(),
      options: help.visibleOptions(command).map(optionOf),
      argumentNames: command.registeredArguments.map((argument) => argument.name()),
      commands: help
        .visibleCommands(command)
        .filter((child) => child.name() !== 'help')
        .map((child) => node(child, [...path, child.name()])),
      notes: notesOf(command),
    };
  };
  return node(program, []);
}

/** A tree as a list, parents first. */
export function allCommands(root: CommandNode): readonly CommandNode[] {
  return [root, ...root.commands.flatMap(allCommands)];
}

/** What the first word that is no option may be. */
export function argumentKind({ argumentNames }: CommandNode): ValueKind['kind'] {
  return VALUE_KINDS[argumentNames[0] ?? ''] ?? 'other';
}
