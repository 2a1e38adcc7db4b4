import { Command } from 'commander';
import { planPatchImage } from '../build/plan-image.js';
import { describePlan, planRows, planTotals } from '../plan/describe.js';
import { addImageOptions, readImageOptions, type RawImageOptions } from './image-options.js';
import type { CommandContext } from './program.js';
import {
  addSourceOptions,
  readSourceOptions,
  sourceOption,
  type RawSourceOptions,
} from './source-options.js';

interface RawPlanOptions extends RawImageOptions, RawSourceOptions {
  readonly json?: boolean;
}

async function plan(upload: string, raw: RawPlanOptions, context: CommandContext): Promise<void> {
  context.useJson(raw.json === true ? 'stdout' : undefined);
  const source = sourceOption(upload, raw.header);
  const made = await planPatchImage({
    ...readImageOptions(raw, undefined),
    ...readSourceOptions(raw),
    source,
    signal: context.interrupts.signal,
  });
  if (raw.json === true) {
    const { format, virtualSize, payloadLength, outputLength } = made;
    context.printJson({
      ok: true,
      format,
      virtualSize,
      payloadLength,
      outputLength,
      totals: planTotals(made),
      segments: planRows(made),
    });
  } else process.stdout.write(`${describePlan(made)}\n`);
}

export function planCommand(context: CommandContext): Command {
  const command = new Command('plan')
    .summary('show the segments of an image, write nothing')
    .description('Prints the ordered list of segments that build would write for an upload of that length.')
    .argument('<upload>', 'only its length is looked at; - for a redirected file, or with --content-length');
  return addSourceOptions(addImageOptions(command))
    .option('--json', 'print one object')
    .action((upload: string, raw: RawPlanOptions) => plan(upload, raw, context));
}
