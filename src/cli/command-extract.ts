import { Command } from 'commander';
import { PatchVdiError } from '../errors.js';
import { extractFile, type ExtractResult } from '../inspect/extract.js';
import { describeBytes } from '../units.js';
import { environmentOfProcess } from './environment.js';
import { addOpenOptions, withImage, type RawOpenOptions } from './opened-image.js';
import { requireDataOutput } from './data-output.js';
import type { CommandContext } from './program.js';
import { startProgressBar } from './progress.js';
import { addSignatureOptions, signaturePolicy, type RawSignatureOptions } from './signature-options.js';
import { signedBy } from './summary.js';
import { columnsOf, fieldLines } from './text.js';

interface RawExtractOptions extends RawOpenOptions, RawSignatureOptions {
  readonly output: string;
  readonly force?: boolean;
  readonly path?: string;
  readonly payload?: boolean;
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly progress: boolean;
}

const NOTES = `
Exit codes: 0 all of it was written; 2 usage, 3 signature, 5 space, 6 image,
7 a tool failed, 8 output failed. After a failure no file has the output's name.`;

function payloadPolicy(raw: RawExtractOptions) {
  const policy = signaturePolicy(raw);
  const refuse = (message: string, found: string, expected: string): PatchVdiError =>
    new PatchVdiError('usage', message, { context: { found, expected } });
  if (raw.payload !== true) {
    if (policy === undefined) return undefined;
    throw refuse(
      '--keyring is for --payload',
      '--keyring without --payload',
      '--payload, or patch-vdi verify',
    );
  }
  if (policy === undefined) {
    throw refuse(
      'a payload comes out only if its signature holds',
      '--payload without --keyring',
      '--keyring FILE',
    );
  }
  if (policy.detachedSignature !== undefined) {
    throw refuse('a file with a detached signature has no payload inside', '--signature', 'a signed message');
  }
  return policy;
}

function summary(result: ExtractResult, columns: number): string[] {
  const what =
    result.outputBytes === result.size ? '' : `, out of a signed message of ${describeBytes(result.size)}`;
  return [
    `extracted ${describeBytes(result.outputBytes)}${what}`,
    ...fieldLines(
      [
        ['from', result.path],
        ['to', result.output],
        ['signed by', result.signatures.length === 0 ? undefined : signedBy(result.signatures)],
      ],
      columns,
    ),
  ];
}

async function extract(name: string, raw: RawExtractOptions, context: CommandContext): Promise<void> {
  const toStdout = raw.output === '-';
  context.useJson(raw.json === true ? (toStdout ? 'stderr' : 'stdout') : undefined);
  const payload = payloadPolicy(raw);
  requireDataOutput(raw.output, 'a patch');
  const { signal } = context.interrupts;
  await withImage(name, raw, context, async (image) => {
    const showBar = process.stderr.isTTY && raw.progress && raw.quiet !== true && raw.json !== true;
    const bar = showBar ? await startProgressBar() : undefined;
    const result = await extractFile(image, {
      path: raw.path,
      output: toStdout ? { fd: 1, name: 'standard output' } : { path: raw.output, force: raw.force ?? false },
      payload,
      environment: environmentOfProcess(),
      signal,
      onProgress: bar && ((progress) => bar.report({ phase: 'write', ...progress })),
    }).finally(() => bar?.stop());
    if (raw.json === true) context.printJson({ ok: true, ...result });
    else if (raw.quiet !== true) {
      const stream = toStdout ? process.stderr : process.stdout;
      stream.write(`${summary(result, columnsOf(stream)).join('\n')}\n`);
    }
  });
}

export function extractCommand(context: CommandContext): Command {
  const command = new Command('extract')
    .summary('take the patch out of a patch VDI')
    .description('Copies the file "patch" out of a disk image, raw or VHD, without mounting it.')
    .argument('<image>', 'the image, by name or URL; a block device; - for a raw image on standard input')
    .option('-o, --output <file>', 'a new file; - for standard output', '-')
    .option('--force', 'replace an existing file')
    .option('--path <path>', 'another file than /patch')
    .option('--payload', 'the clear text of the signed message instead, if its signature holds');
  return addOpenOptions(addSignatureOptions(command))
    .option('--json', 'print one object (to stderr if the file goes to stdout)')
    .option('--quiet', 'print nothing but errors')
    .option('--no-progress', 'no progress bar')
    .addHelpText('after', NOTES)
    .action((image: string, raw: RawExtractOptions) => extract(image, raw, context));
}
