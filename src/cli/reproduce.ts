import { PatchVdiError } from '../errors.js';
import { reproduceImage, type Reproduction } from '../kit/reproduce.js';
import { describeBytes } from '../units.js';
import { environmentOfProcess, sourceDateEpoch } from './environment.js';
import type { CommandContext } from './program.js';
import { columnsOf, fieldLines } from './text.js';

export interface RawReproduceOptions {
  readonly output: string;
  readonly sourceDateEpoch?: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

function differenceText({ firstDifference }: Reproduction): string | undefined {
  if (firstDifference === undefined) return undefined;
  const { offset, structure, offsetInStructure, found, expected } = firstDifference;
  const bytes = found === '' && expected === '' ? '' : `\nfound ${found || 'the end'}\nexpected ${expected}`;
  return `at ${offset}: ${structure}, ${offsetInStructure} bytes into it${bytes}`;
}

function page(made: Reproduction, columns: number): string[] {
  const { same, differentBytes, fileBytes, rebuiltBytes } = made;
  const sizes = fileBytes === rebuiltBytes ? '' : `; ${fileBytes} bytes, rebuilt ${rebuiltBytes}`;
  return fieldLines(
    [
      ['image', made.image],
      ['verdict', same ? 'reproduced: every byte is the same' : `DIFFERENT: ${differentBytes} bytes${sizes}`],
      ['first', differenceText(made)],
      ['because', made.notes.join('\n')],
      ['built as', `${made.format}, ${made.filesystem}, ${describeBytes(made.size)}`],
      ['payload', describeBytes(made.payloadLength)],
      ['epoch', `${made.sourceDateEpoch} (${new Date(made.sourceDateEpoch * 1000).toISOString()})`],
      ['UUID', made.uuid],
      ['VHD UUID', made.vhdUuid],
      ['label', made.label],
    ],
    columns,
  );
}

/** `build --reproduce IMAGE`: ends as diff(1) does when a byte differs. */
export async function reproduce(
  path: string,
  raw: RawReproduceOptions,
  context: CommandContext,
): Promise<void> {
  context.useJson(raw.json === true ? 'stdout' : undefined);
  if (raw.output !== '-') {
    throw new PatchVdiError('usage', '--reproduce writes no image', {
      context: { found: `-o ${raw.output}`, expected: 'no output: the image is compared, not kept' },
    });
  }
  const made = await reproduceImage(path, {
    sourceDateEpoch: sourceDateEpoch(raw.sourceDateEpoch),
    environment: environmentOfProcess(),
    signal: context.interrupts.signal,
  });
  if (raw.json === true) context.printJson({ ok: true, ...made });
  else if (raw.quiet !== true) process.stdout.write(`${page(made, columnsOf(process.stdout)).join('\n')}\n`);
  if (!made.same) context.exitDifferent();
}
