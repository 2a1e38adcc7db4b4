import { Command } from 'commander';
import { compareImages, type Comparison, type Difference } from '../inspect/compare.js';
import { addOpenOptions, withImage, type RawOpenOptions } from './opened-image.js';
import type { CommandContext } from './program.js';
import { columnsOf, fieldLines } from './text.js';

interface RawDiffOptions extends RawOpenOptions {
  readonly content?: boolean;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

const EXAMPLES = `
Examples:
  patch-vdi diff a.vhd b.raw
  patch-vdi diff a.vhd b.vhd --content

Exit codes, as diff(1) has them: 0 nothing that counts differs, 1 something does,
2 usage, 6 an image cannot be read.`;

const HEADINGS: Readonly<Record<Difference['class'], string>> = {
  content: 'content',
  layout: 'layout of the file system',
  identity: 'identity: UUIDs, times, label',
  container: 'container around the disk (never counts)',
};

function page(
  comparison: Comparison,
  names: readonly [string, string],
  contentOnly: boolean,
  columns: number,
): string[] {
  const { same, samePayload, differences, omitted } = comparison;
  const payload =
    samePayload === undefined ? 'no /patch in both' : samePayload ? 'the same bytes' : 'DIFFERENT';
  const ignored = contentOnly ? ' (content only)' : '';
  const lines = [
    ...fieldLines(
      [
        ['a', names[0]],
        ['b', names[1]],
        ['payload', payload],
        ['verdict', `${same ? 'the same' : 'DIFFERENT'}${ignored}`],
      ],
      columns,
    ),
  ];
  for (const kind of Object.keys(HEADINGS) as Difference['class'][]) {
    const found = differences.filter((difference) => difference.class === kind);
    if (found.length === 0) continue;
    const counts = kind === 'content' || !contentOnly || kind === 'container' ? '' : ' (not counted)';
    const rows = found.map(({ what, a, b }) => [what, `a: ${a}\nb: ${b}`] as const);
    lines.push('', `  ${HEADINGS[kind]}${counts}`, ...fieldLines(rows, columns));
  }
  if (omitted > 0) lines.push('', `  and ${omitted} more`);
  return lines;
}

async function diff(a: string, b: string, raw: RawDiffOptions, context: CommandContext): Promise<void> {
  context.useJson(raw.json === true ? 'stdout' : undefined);
  const contentOnly = raw.content === true;
  await withImage(a, raw, context, (one) =>
    withImage(b, raw, context, async (other) => {
      const comparison = await compareImages(one, other, { contentOnly, signal: context.interrupts.signal });
      if (raw.json === true) context.printJson({ ok: true, ...comparison });
      else if (raw.quiet !== true) {
        const columns = columnsOf(process.stdout);
        process.stdout.write(
          `${page(comparison, [one.name, other.name], contentOnly, columns).join('\n')}\n`,
        );
      }
      if (!comparison.same) context.exitDifferent();
    }),
  );
}

export function diffCommand(context: CommandContext): Command {
  const command = new Command('diff')
    .summary('tell what two patch VDIs do not have in common')
    .description(
      'Compares the file systems in two disk images, of whatever formats: every file, byte by byte, and what the superblock says.',
    )
    .argument('<a>', 'an image, by name or URL')
    .argument('<b>', 'the other one')
    .option('--content', 'only files count, not UUIDs, times, label and layout');
  return addOpenOptions(command)
    .option('--json', 'print one object')
    .option('--quiet', 'print nothing; the exit code tells')
    .addHelpText('after', EXAMPLES)
    .action((a: string, b: string, raw: RawDiffOptions) => diff(a, b, raw, context));
}
