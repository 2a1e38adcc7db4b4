import { allCommands, type CommandNode, type ValueKind } from './command-tree.js';

/** A word within single quotes; what is in a tree is ours, and still no shell is to run it. */
const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

const pathText = ({ path }: CommandNode): string => path.map((word) => ` ${word}`).join('');

const FILES = 'compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur")';
const FOLDERS = 'compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$cur")';

function offer(value: ValueKind): string {
  if (value.kind === 'choice') return words(value.choices);
  if (value.kind === 'file') return FILES;
  return value.kind === 'folder' ? FOLDERS : ':';
}

function words(list: readonly string[]): string {
  return `mapfile -t COMPREPLY < <(compgen -W ${quoted(list.join(' '))} -- "$cur")`;
}

function valueCases(command: CommandNode): string[] {
  return command.options.flatMap(({ names, value }) => {
    if (value === undefined) return [];
    const patterns = names.map((name) => quoted(`${pathText(command)}:${name}`)).join('|');
    return [`        ${patterns}) ${offer(value)}; return ;;`];
  });
}

function wordCase(command: CommandNode): string {
  const options = command.options.flatMap(({ names }) => names);
  const commands = command.commands.map(({ path }) => path.at(-1) ?? '');
  // All arguments of a command are of one kind.
  const plain = commands.length > 0 ? words(commands) : offer(command.arguments[0] ?? { kind: 'other' });
  return [
    `        ${quoted(pathText(command))})`,
    `            if [[ $cur == -* ]]; then ${words(options)}`,
    `            else ${plain}; fi ;;`,
  ].join('\n');
}

/**
 * A completion script for bash 4 and later. Everything is in it: nothing of the program runs while somebody types.
 *
 * @param name of the program
 */
export function bashCompletion(root: CommandNode, name: string): string {
  const commands = allCommands(root);
  const paths = commands.filter(({ path }) => path.length > 0).map((command) => quoted(pathText(command)));
  const routine = `_${name.replaceAll('-', '_')}`;
  return `# Completion of ${name} for bash: ${name} completion bash > /etc/bash_completion.d/${name}
${routine}() {
    local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} path='' i
    # --option=value comes as three words.
    if [[ $cur == '=' ]]; then cur=''
    elif [[ $prev == '=' ]]; then prev=\${COMP_WORDS[COMP_CWORD-2]}
    fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        case "$path \${COMP_WORDS[i]}" in
            ${paths.join('|')}) path="$path \${COMP_WORDS[i]}" ;;
        esac
    done
    COMPREPLY=()
    case "$path:$prev" in
${commands.flatMap(valueCases).join('\n')}
    esac
    case "$path" in
${commands.map(wordCase).join('\n')}
    esac
}
complete -F ${routine} ${name}
`;
}
