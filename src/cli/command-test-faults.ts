import { Command } from 'commander';
import { FAULTS } from '../kit/faults/catalogue.js';
import type { Fault } from '../kit/faults/fault.js';
import type { CommandContext } from './program.js';
import { columnsOf, wrapWords } from './text.js';

interface RawFaultsOptions {
  readonly json?: boolean;
}

const GAP = '  ';
const MIN_TEXT_COLUMNS = 20;

/** A row of a table whose last two columns are wrapped. */
function rowLines(
  name: string,
  texts: readonly [string, string],
  widths: readonly [number, number],
): string[] {
  const [nameWidth, textWidth] = widths;
  const [what, consumer] = texts.map((text) => wrapWords(text, textWidth)) as [string[], string[]];
  const height = Math.max(what.length, consumer.length);
  return Array.from({ length: height }, (_, line) =>
    [(line === 0 ? name : '').padEnd(nameWidth), (what[line] ?? '').padEnd(textWidth), consumer[line] ?? '']
      .join(GAP)
      .trimEnd(),
  );
}

/** The catalogue as a table, family by family. */
function faultLines(faults: readonly Fault[], columns: number): string[] {
  const nameWidth = Math.max(...faults.map(({ name }) => name.length));
  const textWidth = Math.max(MIN_TEXT_COLUMNS, Math.floor((columns - nameWidth - 2 * GAP.length) / 2));
  const widths = [nameWidth, textWidth] as const;
  const families = [...new Set(faults.map(({ family }) => family))];
  return [
    ...rowLines('name', ['what is wrong', 'what a good consumer does'], widths),
    ...families.flatMap((family) => [
      '',
      `${family}:`,
      ...faults
        .filter((fault) => fault.family === family)
        .flatMap(({ name, what, consumer }) => rowLines(name, [what, consumer], widths)),
    ]),
  ];
}

function testFaults(raw: RawFaultsOptions, context: CommandContext): void {
  context.useJson(raw.json === true ? 'stdout' : undefined);
  if (raw.json !== true) {
    process.stdout.write(`${faultLines(FAULTS, columnsOf(process.stdout)).join('\n')}\n`);
    return;
  }
  const faults = FAULTS.map(({ name, family, what, consumer, formats, filesystems }) => {
    return { name, family, what, consumer, formats, filesystems };
  });
  context.printJson({ ok: true, faults });
}

export function testFaultsCommand(context: CommandContext): Command {
  return new Command('faults')
    .summary('list what can be wrong with a test image')
    .description('Lists all faults of "test vdi --fault" and "test suite".')
    .option('--json', 'print one object')
    .action((raw: RawFaultsOptions) => testFaults(raw, context));
}
