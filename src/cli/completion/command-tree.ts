import type { Argument, Command, Option } from 'commander';
import { EXAMPLES, wordsTo, type Example } from '../examples.js';

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

export type ArgumentNode = { readonly name: string; readonly mayRepeat: boolean } & ValueKind;

export interface CommandNode {
  /** Words that lead to it, without the program: empty for the program itself. */
  readonly path: readonly string[];
  readonly summary: string;
  readonly description: string;
  /** As the help shows it, such as `[options] <image>`. */
  readonly usage: string;
  readonly options: readonly OptionNode[];
  readonly arguments: readonly ArgumentNode[];
  readonly commands: readonly CommandNode[];
  /** What the help says after the options. */
  readonly notes: string;
  readonly examples: readonly Example[];
}

/** Names of values that are paths, as the options of this program write them. */
const VALUE_KINDS: Readonly<Record<string, 'file' | 'folder'>> = {
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

/** By the name of a value, words for it that the help does not list, because they are many. */
export type LongChoices = Readonly<Record<string, readonly string[]>>;

function valueOf(option: Option, long: LongChoices): OptionNode['value'] {
  const placeholder = /[<[][^>\]]+[>\]]/.exec(option.flags)?.[0];
  if (placeholder === undefined) return undefined;
  const name = plainName(placeholder);
  return { name, ...kindOf(name, option.argChoices ?? long[name]) };
}

function kindOf(name: string, choices: readonly string[] | undefined): ValueKind {
  return choices === undefined ? { kind: VALUE_KINDS[name] ?? 'other' } : { kind: 'choice', choices };
}

function argumentOf(argument: Argument): ArgumentNode {
  const name = argument.name();
  return { name, mayRepeat: argument.variadic, ...kindOf(name, argument.argChoices) };
}

function optionOf(option: Option, long: LongChoices): OptionNode {
  return {
    names: [option.short, option.long].filter((name) => name !== undefined && name !== null),
    description: option.description,
    value: valueOf(option, long),
    mayRepeat: option.variadic || /repeatable/.test(option.description),
  };
}

/** Everything that the help of a program says, as data; completions and manual pages are made from it. */
export function commandTree(
  program: Command,
  notesOf: (command: Command) => string,
  long: LongChoices = {},
): CommandNode {
  const node = (command: Command, path: readonly string[]): CommandNode => {
    const help = command.createHelp();
    return {
      path,
      summary: command.summary() === '' ? command.description() : command.summary(),
      description: command.description(),
      usage: command.usage(),
      options: help.visibleOptions(command).map((option) => optionOf(option, long)),
      arguments: command.registeredArguments.map(argumentOf),
      commands: help
        .visibleCommands(command)
        .filter((child) => child.name() !== 'help')
        .map((child) => node(child, [...path, child.name()])),
      notes: notesOf(command),
      examples: EXAMPLES[wordsTo(command)] ?? [],
    };
  };
  return node(program, []);
}

/** A tree as a list, parents first. */
export function allCommands(root: CommandNode): readonly CommandNode[] {
  return [root, ...root.commands.flatMap(allCommands)];
}
