import { allCommands, type CommandNode, type OptionNode } from './command-tree.js';

/** Text of ours as roff (man(7), groff(7)): nothing in it is a request, an escape or a hyphen that is cut. */
function roff(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll("'", '\\(aq')
    .replaceAll(/^\./gm, '\\&.')
    .replaceAll('…', '...')
    .replaceAll('×', 'x');
}

function optionText({ names, description, value }: OptionNode): string {
  const flags = names.map((name) => `\\fB${roff(name)}\\fR`).join(', ');
  const argument = value === undefined ? '' : ` \\fI${roff(value.name)}\\fR`;
  const choices = value?.kind === 'choice' ? ` (${value.choices.join(', ')})` : '';
  return `.TP\n${flags}${argument}\n${roff(`${description}${choices}`)}`;
}

function commandText(command: CommandNode, name: string): string {
  const title = [name, ...command.path].join(' ');
  const notes = command.notes.trim() === '' ? [] : ['.PP', '.nf', roff(command.notes.trim()), '.fi'];
  return [
    `.SS "${roff(title)} ${roff(command.usage)}"`,
    roff(command.description),
    ...command.options.map(optionText),
    ...notes,
  ].join('\n');
}

function sentence(words: string): string {
  return `${words.charAt(0).toUpperCase()}${words.slice(1)}:`.replace(/\?:$/, '?');
}

/** Lines of ours as they are typed; each block begins with what it is for. */
function exampleTexts({ examples }: CommandNode): string[] {
  return examples.flatMap(([line, why]) => [
    '.PP',
    roff(sentence(why)),
    '.PP',
    '.RS 4',
    '.nf',
    roff(line),
    '.fi',
    '.RE',
  ]);
}

export interface ManualFacts {
  readonly name: string;
  readonly version: string;
  /** Seconds since 1970; the page says the month. */
  readonly dateSeconds: number | undefined;
  /** Code and meaning. */
  readonly exitCodes: readonly (readonly [number, string])[];
  readonly environment: readonly (readonly [string, string])[];
}

/** The manual page, section 1, from the same source as the help. */
export function manualPage(root: CommandNode, facts: ManualFacts): string {
  const { name, version, dateSeconds, exitCodes, environment } = facts;
  const date = dateSeconds === undefined ? '' : new Date(dateSeconds * 1000).toISOString().slice(0, 10);
  const table = (rows: readonly (readonly [string | number, string])[]): string[] =>
    rows.map(([term, text]) => `.TP\n.B ${roff(String(term))}\n${roff(text)}`);
  return [
    `.TH ${name.toUpperCase().replaceAll('-', '\\-')} 1 "${date}" "${name} ${version}"`,
    '.SH NAME',
    `${roff(name)} \\- builds, inspects, serves and applies XenServer / XCP\\-ng patch disks`,
    '.SH SYNOPSIS',
    `.B ${roff(name)}`,
    '.I command',
    '[\\fIoptions\\fR] ...',
    '.SH DESCRIPTION',
    roff(root.description),
    '.SH COMMANDS',
    ...allCommands(root)
      .filter(({ path, commands }) => path.length > 0 && commands.length === 0)
      .map((command) => commandText(command, name)),
    '.SH EXAMPLES',
    ...allCommands(root).flatMap(exampleTexts),
    '.SH EXIT STATUS',
    ...table(exitCodes),
    '.SH ENVIRONMENT',
    ...table(environment),
    '',
  ].join('\n');
}
