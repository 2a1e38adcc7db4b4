import { Command } from 'commander';
import { checkEpoch } from '../build/identity.js';
import { PatchVdiError } from '../errors.js';
import { parseSeed, randomSeed } from '../kit/seed.js';
import { makeSuite } from '../kit/suite/make-suite.js';
import type { Manifest } from '../kit/suite/manifest.js';
import { DEFAULT_CREATED_AT } from '../kit/test-key.js';
import { IMAGE_FORMATS } from '../plan/plan.js';
import { examineTools } from '../tools/doctor.js';
import { FILESYSTEMS } from '../tools/mke2fs.js';
import type { ToolEnvironment } from '../tools/find.js';
import { describeBytes } from '../units.js';
import { environmentOfProcess, sourceDateEpoch } from './environment.js';
import { byteSize } from './image-options.js';
import type { CommandContext } from './program.js';
import { columnsOf, fieldLines } from './text.js';
import { packageVersion } from './version.js';

interface RawSuiteOptions {
  readonly output: string;
  readonly formats?: string;
  readonly filesystems?: string;
  readonly seed?: string;
  readonly size: string;
  readonly sourceDateEpoch?: string;
  readonly json?: boolean;
}

const NOTES = `
The folder gets images, manifest.json (what each image is, and what is to come
of it), keys, and a README.md that says how to test with it. Without
--source-date-epoch all is of 2020-01-01.`;

/** A list of names, each once. */
function choices<T extends string>(
  option: string,
  list: string | undefined,
  all: readonly T[],
): readonly T[] {
  if (list === undefined) return all;
  const words = list.split(',').map((word) => word.trim());
  const known = all.filter((name) => words.includes(name));
  if (known.length === words.length && known.length > 0) return known;
  throw new PatchVdiError('usage', `${option} cannot be used`, {
    context: { found: JSON.stringify(list), expected: `some of ${all.join(',')}, each once` },
  });
}

/** The programs that the bytes of a suite depend on. */
async function toolVersions(environment: ToolEnvironment): Promise<Record<string, string>> {
  const reports = await examineTools(environment);
  return Object.fromEntries(
    reports
      .filter(({ program }) => program === 'mke2fs' || program === 'debugfs')
      .map(({ program, version }) => [program, version ?? 'unknown']),
  );
}

function suiteLines(folder: string, { images, seed }: Manifest, columns: number): string[] {
  const good = images.filter(({ fault }) => fault === null).length;
  const bytes = images.reduce((sum, image) => sum + image.bytes, 0);
  return [
    `made a suite of ${images.length} images`,
    ...fieldLines(
      [
        ['folder', folder],
        ['good', String(good)],
        ['with a fault', String(images.length - good)],
        ['sizes', `${describeBytes(bytes)}, most of it holes`],
        ['seed', seed],
      ],
      columns,
    ),
  ];
}

async function testSuite(raw: RawSuiteOptions, context: CommandContext): Promise<void> {
  context.useJson(raw.json === true ? 'stdout' : undefined);
  const formats = choices('--formats', raw.formats, IMAGE_FORMATS);
  const filesystems = choices('--filesystems', raw.filesystems, FILESYSTEMS);
  const seed = raw.seed === undefined ? randomSeed() : parseSeed(raw.seed);
  const environment = environmentOfProcess();
  const options = {
    path: raw.output,
    formats,
    filesystems,
    seed,
    sizeBytes: byteSize('--size', raw.size) ?? 0,
    epochSeconds: checkEpoch(sourceDateEpoch(raw.sourceDateEpoch)) ?? DEFAULT_CREATED_AT,
    madeBy: `patch-vdi ${packageVersion()}`,
    environment,
    abortSignal: context.interrupts.signal,
  };
  const manifest = await makeSuite({ ...options, tools: await toolVersions(environment) });
  if (raw.json === true) context.printJson({ ok: true, folder: raw.output, ...manifest });
  else {
    process.stdout.write(`${suiteLines(raw.output, manifest, columnsOf(process.stdout)).join('\n')}\n`);
  }
}

export function testSuiteCommand(context: CommandContext): Command {
  return new Command('suite')
    .summary('make a folder of good and bad images, with a manifest')
    .description('Makes a conformance kit for whoever imports, checks or applies patch VDIs.')
    .requiredOption('-o, --output <folder>', 'the folder; must not exist')
    .option('--formats <list>', `some of ${IMAGE_FORMATS.join(',')}; default: all`)
    .option('--filesystems <list>', `some of ${FILESYSTEMS.join(',')}; default: all`)
    .option('--seed <number>', 'same seed and tools, same bytes; default: random')
    .option('--size <size>', 'size of an upload; the disk is four times as large, 16 MiB at least', '1M')
    .option('--source-date-epoch <seconds>', 'time of all timestamps')
    .option('--json', 'print the manifest')
    .addHelpText('after', NOTES)
    .action((raw: RawSuiteOptions) => testSuite(raw, context));
}
