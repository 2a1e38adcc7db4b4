import type { Command } from 'commander';
import { similarName } from '../similar.js';
import { wordsTo } from './examples.js';

/** So many commands are named; of more only the number is told. */
const MAX_NAMED = 3;

function allBelow(command: Command): Command[] {
  return [command, ...command.commands.flatMap(allBelow)];
}

function listed(commands: readonly Command[]): string {
  const shown = commands.slice(0, MAX_NAMED).map((command) => wordsTo(command) || 'patch-vdi itself');
  const more = commands.length - shown.length;
  return more > 0 ? `${shown.join(', ')} and ${more} more` : shown.join(', ');
}

/** Names of the options that a command shows. */
function optionNames(command: Command): string[] {
  const options = command.createHelp().visibleOptions(command);
  return options.flatMap(({ long, short }) => [long, short]).filter((name) => typeof name === 'string');
}

function whoKnowsOption(program: Command, flag: string, isSuggested: boolean): string | undefined {
  const name = flag.replace(/=.*$/s, '');
  const commands = allBelow(program);
  const knowing = commands.filter((command) => optionNames(command).includes(name));
  if (knowing.length > 0) return `${name} is an option of: ${listed(knowing)}`;
  const similar = isSuggested ? undefined : similarName(name, commands.flatMap(optionNames));
  return similar === undefined ? undefined : whoKnowsOption(program, similar, true);
}

function whoHasCommand(program: Command, name: string): string | undefined {
  const there = allBelow(program).filter((command) => command !== program && command.name() === name);
  return there.length === 0 ? undefined : `there is: patch-vdi ${listed(there)}`;
}

/** The commonest second argument is an output. */
function howOutputIsNamed(program: Command, name: string): string | undefined {
  const found = allBelow(program).filter((command) => command.name() === name);
  return found.some((command) => optionNames(command).includes('--output'))
    ? 'an output is named with -o'
    : undefined;
}

function similarChoice(found: string, choices: string): string | undefined {
  const similar = similarName(found, choices.split(', '));
  return similar === undefined ? undefined : `Did you mean ${similar}?`;
}

const inParentheses = (words: string | undefined): string => (words === undefined ? '' : `\n(${words})`);

/**
 * What commander does not say about a slip: which other command knows the option, or has that name, and which of the
 * choices is near. (It suggests options and commands with a slip itself.)
 *
 * @param message of commander
 * @returns a line in parentheses, or nothing
 */
export function advice(program: Command, message: string): string {
  const option = /unknown option '([^']+)'/.exec(message)?.[1];
  const command = /unknown command '([^']+)'/.exec(message)?.[1];
  const choice = /'([^']+)' is invalid[^]*\. Allowed choices are ([^\n]+)\./.exec(message);
  const crowded = /too many arguments for '([^']+)'/.exec(message)?.[1];
  if (crowded !== undefined) return inParentheses(howOutputIsNamed(program, crowded));
  const words =
    option !== undefined
      ? whoKnowsOption(program, option, message.includes('Did you mean'))
      : command !== undefined
        ? whoHasCommand(program, command)
        : similarChoice(choice?.[1] ?? '', choice?.[2] ?? '');
  return inParentheses(words);
}
