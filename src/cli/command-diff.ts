import { Command } from 'commander';
import { compareImages, type Comparison } from '../inspect/compare.js';
import type { Difference } from '../inspect/differences.js';
import { PatchVdiError } from '../errors.js';
import { findingError } from '../findings.js';
import { findingLines } from './inspect-page.js';
import { addOpenOptions, withImage, type RawOpenOptions } from './opened-image.js';
import type { CommandContext } from './program.js';
import { columnsOf, fieldLines } from './text.js';

interface RawDiffOptions extends RawOpenOptions {
  readonly content?: boolean;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

const NOTES = `
Exit codes, as diff(1) has them: 0 nothing that counts differs, 1 something
does, 2 usage, 6 an image cannot be read, or not all of it.`;

const HEADINGS: Readonly<Record<Difference['class'], string>> = {
  content: 'content',
  layout: 'layout of the file system',
  identity: 'identity: UUIDs, times, label',
  container: 'container around the disk (never counts)',
};

function verdictOf({ same, complete }: Comparison): string {
  if (same) return 'the same';
  return complete ? 'DIFFERENT' : 'NOT ALL COULD BE COMPARED';
}

function page(
  comparison: Comparison,
  names: readonly [string, string],
  contentOnly: boolean,
  columns: number,
): string[] {
  const { samePayload, differences, omitted, damage } = comparison;
  const payload =
    samePayload === undefined ? 'no /patch in both' : samePayload ? 'the same bytes' : 'DIFFERENT';
  const ignored = contentOnly ? ' (content only)' : '';
  const lines = [
    ...fieldLines(
      [
        ['a', names[0]],
        ['b', names[1]],
        ['payload', payload],
        ['verdict', `${verdictOf(comparison)}${ignored}`],
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
  for (const name of ['a', 'b'] as const) {
    const found = damage[name];
    if (found.length > 0)
      lines.push('', `  damage of ${name}`, ...found.flatMap((one) => findingLines(one, columns)));
  }
  if (omitted > 0) lines.push('', `  and ${omitted} more`);
  return lines;
}

/** There is only one standard input. */
function refuseTwice(a: string, b: string): void {
  if (a !== '-' || b !== '-') return;
  throw new PatchVdiError('usage', 'standard input is only one image', {
    context: { found: '- twice', expected: '- once, and the name of the other image' },
  });
}

async function diff(a: string, b: string, raw: RawDiffOptions, context: CommandContext): Promise<void> {
  context.useJson(raw.json === true ? 'stdout' : undefined);
  refuseTwice(a, b);
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
      if (comparison.complete && !comparison.same) context.exitDifferent();
      const [first] = [...comparison.damage.a, ...comparison.damage.b];
      if (first !== undefined) context.exitWith(findingError(first));
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
    .addHelpText('after', NOTES)
    .action((a: string, b: string, raw: RawDiffOptions) => diff(a, b, raw, context));
}
