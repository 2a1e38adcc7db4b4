import {
  allCommands,
  type ArgumentNode,
  type CommandNode,
  type OptionNode,
  type ValueKind,
} from './command-tree.js';

const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

/** What has a meaning within a specification of _arguments. */
const plain = (text: string): string => text.replaceAll(/[\\[\]:]/g, (sign) => `\\${sign}`);

function action(value: ValueKind): string {
  if (value.kind === 'choice') return `(${value.choices.join(' ')})`;
  if (value.kind === 'file') return '_files';
  return value.kind === 'folder' ? '_files -/' : ' ';
}

function optionSpecs({ names, description, value, mayRepeat }: OptionNode): string[] {
  const others = mayRepeat ? '*' : names.length > 1 ? `(${names.join(' ')})` : '';
  return names.map((name) => {
    // zsh takes --option=value, too, when the name ends with an equals sign.
    const taking = value === undefined ? '' : name.startsWith('--') ? '=' : '+';
    const argument = value === undefined ? '' : `:${plain(value.name)}:${action(value)}`;
    return quoted(`${others}${name}${taking}[${plain(description)}]${argument}`);
  });
}

function argumentSpec(argument: ArgumentNode, index: number): string {
  const place = argument.mayRepeat ? '*' : String(index + 1);
  return quoted(`${place}:${plain(argument.name)}:${action(argument)}`);
}

function routineName(name: string, { path }: CommandNode): string {
  return `_${[name, ...path].join('_').replaceAll('-', '_')}`;
}

function routine(name: string, command: CommandNode): string {
  const specs = command.options.flatMap(optionSpecs);
  const own = routineName(name, command);
  if (command.commands.length === 0) {
    const words = command.arguments.map(argumentSpec);
    return `${own}() {\n    _arguments -s -S ${[...specs, ...words].join(' \\\n        ')}\n}`;
  }
  const list = command.commands.map(({ path, summary }) =>
    quoted(`${path.at(-1)}:${summary.replaceAll(':', '\\:')}`),
  );
  const cases = command.commands.map((child) => `        ${path(child)}) ${routineName(name, child)} ;;`);
  return `${own}() {
    local curcontext="$curcontext" state line
    typeset -A opt_args
    _arguments -C ${[...specs, "'1: :->command'", "'*:: :->rest'"].join(' \\\n        ')}
    case $state in
    command)
        local -a commands=(
            ${list.join('\n            ')}
        )
        _describe command commands ;;
    rest)
        case $line[1] in
${cases.join('\n')}
        esac ;;
    esac
}`;
}

function path(child: CommandNode): string {
  return child.path.at(-1) ?? '';
}

/** A completion script for zsh, with descriptions. @param name of the program */
export function zshCompletion(root: CommandNode, name: string): string {
  const routines = allCommands(root).map((command) => routine(name, command));
  const main = routineName(name, root);
  return `#compdef ${name}
# Completion of ${name} for zsh: ${name} completion zsh > "\${fpath[1]}/_${name}"
${routines.join('\n\n')}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then ${main} "$@"
else compdef ${main} ${name}
fi
`;
}
