import { blocksOf, type Page } from './pages.js';

/** A command of a page, as a reader would type it. */
export interface DocCommand {
  readonly page: string;
  readonly line: number;
  readonly text: string;
  /** Where the page shows what it prints. */
  readonly output: string | undefined;
}

const WITHOUT_COMMENT = /\s{2,}# .*$|\s+# \.\.\..*$/;

/** A block that is one script: it keeps what it sets, such as the folder it goes to. */
const IS_SCRIPT = /^(?:cd|while|for|if) /m;

function commandsIn(text: string): { readonly text: string; readonly line: number }[] {
  if (IS_SCRIPT.test(text)) return [{ text: text.trim(), line: 0 }];
  const commands: { text: string; line: number }[] = [];
  let open: { text: string; line: number } | undefined;
  for (const [line, whole] of text.split('\n').entries()) {
    const part = whole.replace(WITHOUT_COMMENT, '').trimEnd();
    if (part === '' || part.startsWith('#')) continue;
    const continues = part.endsWith('\\');
    const piece = continues ? part.slice(0, -1).trim() : part.trim();
    open = open === undefined ? { text: piece, line } : { ...open, text: `${open.text} ${piece}` };
    if (continues) continue;
    commands.push(open);
    open = undefined;
  }
  return commands;
}

/** All commands of a page: those of its `sh` blocks, and those behind a `$` with what they print. */
export function commandsOf({ path, text }: Page): DocCommand[] {
  return blocksOf(text).flatMap((block): DocCommand[] => {
    if (block.language === 'sh') {
      return commandsIn(block.text).map((command) => ({
        page: path,
        line: block.line + command.line,
        text: command.text,
        output: undefined,
      }));
    }
    const shown = /^\$ (.+)\n([\s\S]*)$/.exec(block.text);
    if (shown === null) return [];
    return [{ page: path, line: block.line, text: shown[1] ?? '', output: shown[2] ?? '' }];
  });
}

/** The words of the command lines of patch-vdi in a command, without what belongs to the shell. */
export function ownCommandLines(text: string): string[][] {
  return text
    .split(/\s(?:\||&&|;)\s/)
    .map((part) =>
      [...part.matchAll(/'([^']*)'|"([^"]*)"|([^\s'"]+)/g)].map((match) => match[1] ?? match[2] ?? match[0]),
    )
    .map((words) =>
      words.slice(
        Math.max(
          0,
          words.findIndex((word) => !/^[A-Z_]+=/.test(word)),
        ),
      ),
    )
    .filter(([program]) => program === 'patch-vdi')
    .map((words) => {
      const redirection = words.findIndex((word) => /^\d?[<>]/.test(word));
      return words.slice(1, redirection === -1 ? undefined : redirection);
    });
}

/** What the command writes, by the names that it says. */
export function outputsOf(text: string): string[] {
  const named = text.matchAll(/(?:\s-o|\s--output|\s--svg|[^<>]>)\s+([^\s|&;]+)/g);
  return [...named].map((match) => match[1] ?? '').filter((name) => /^[\w.][\w./-]*$/.test(name));
}
