import { Command } from 'commander';
import { buildPatchImage } from '../build/build-image.js';
import type { BuildOptions } from '../build/options.js';
import { PatchVdiError } from '../errors.js';
import { requireDataOutput } from './data-output.js';
import { addImageOptions, readImageOptions, type RawImageOptions } from './image-options.js';
import type { CommandContext } from './program.js';
import { startProgressBar } from './progress.js';
import { addVerifyOptions, verifyOption, type RawVerifyOptions } from './signature-options.js';
import { reproduce } from './reproduce.js';
import { summaryLines } from './summary.js';
import {
  addSourceOptions,
  collect,
  readSourceOptions,
  sinkOption,
  sourceOption,
  type RawSourceOptions,
} from './source-options.js';
import { columnsOf } from './text.js';

interface RawBuildOptions extends RawImageOptions, RawSourceOptions, RawVerifyOptions {
  readonly output: string;
  readonly force?: boolean;
  readonly outputHeader?: readonly string[];
  readonly targetIsZeroed?: boolean;
  readonly spoolDir?: string;
  readonly digest?: boolean;
  readonly reproduce?: boolean;
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly progress: boolean;
}

const NOTES = `
Exit codes: 0 built; 1 not reproduced; 2 usage, 3 signature, 4 upload, 5 space,
7 a tool failed, 8 output failed, 130/143 stopped. After any failure nothing has
the output's name and nothing that was written can be mounted or imported.`;

function refuseTerminal(upload: string): void {
  if (upload === '-' && process.stdin.isTTY) {
    throw new PatchVdiError('usage', 'standard input is a terminal', {
      context: { found: 'a terminal', expected: 'an upload through a pipe or a redirected file' },
      hint: 'cat UPLOAD | patch-vdi build - ..., or name the file instead of -',
    });
  }
}

async function build(upload: string, raw: RawBuildOptions, context: CommandContext): Promise<void> {
  if (raw.reproduce === true) return await reproduce(upload, raw, context);
  const toStdout = raw.output === '-';
  context.useJson(raw.json === true ? (toStdout ? 'stderr' : 'stdout') : undefined);
  const image = readImageOptions(raw, raw.output);
  const verify = verifyOption(raw);
  requireDataOutput(raw.output, 'a disk image');
  refuseTerminal(upload);
  const sink = sinkOption(raw.output, raw, raw.outputHeader);
  const source = sourceOption(upload, raw.header);

  const showBar = process.stderr.isTTY && raw.progress && raw.quiet !== true && raw.json !== true;
  const bar = showBar ? await startProgressBar() : undefined;
  const options: BuildOptions = {
    ...image,
    ...readSourceOptions(raw),
    source,
    sink,
    verify,
    spoolFolder: raw.spoolDir,
    digest: raw.digest,
    signal: context.interrupts.signal,
    onProgress: bar && ((progress) => bar.report(progress)),
  };
  const result = await buildPatchImage(options).finally(() => bar?.stop());
  if (raw.json === true) context.printJson({ ok: true, ...result });
  else if (raw.quiet !== true) {
    const stream = toStdout ? process.stderr : process.stdout;
    stream.write(`${summaryLines(result, columnsOf(stream)).join('\n')}\n`);
  }
}

export function buildCommand(context: CommandContext): Command {
  const command = new Command('build')
    .summary('turn an upload into a sealed disk image')
    .description(
      'Writes an upload as the file "patch" into a new disk image, in one pass, and seals the image only if the signature holds.',
    )
    .argument('<upload>', 'the file to put into the image, by name or URL; - for standard input')
    .option(
      '-o, --output <file>',
      'the image: a new file, a block device, a URL for a PUT; - for standard output',
      '-',
    )
    .option('--force', 'replace an existing file, or a disk with partitions')
    .option('--target-is-zeroed', 'the block device holds zeros only: write none')
    .option('--output-header <header>', '"Name: value" for the server of the output (repeatable)', collect);
  addVerifyOptions(command);
  return addSourceOptions(addImageOptions(command))
    .option('--spool-dir <folder>', 'where an upload is kept that must be spooled; default: TMPDIR')
    .option('--digest', 'report the SHA-256 of the upload')
    .option(
      '--reproduce',
      'the upload is an image: build it again from what is in it, and say whether all bytes agree',
    )
    .option('--json', 'print one result object (to stderr if the image goes to stdout)')
    .option('--quiet', 'print nothing but errors')
    .option('--no-progress', 'no progress bar')
    .addHelpText('after', NOTES)
    .action((upload: string, raw: RawBuildOptions) => build(upload, raw, context));
}
