import { Command } from 'commander';
import { PatchVdiError } from '../errors.js';
import { verifyImage, type VerifyReport } from '../inspect/verify-image.js';
import { describeBytes } from '../units.js';
import { damage } from './command-inspect.js';
import { environmentOfProcess } from './environment.js';
import { exitCodeFor } from './exit-codes.js';
import { findingLines, missingFileText } from './inspect-page.js';
import { addOpenOptions, withImage, type RawOpenOptions } from './opened-image.js';
import type { CommandContext } from './program.js';
import { startProgressBar } from './progress.js';
import { errorLines, errorObject } from './report-error.js';
import { addSignatureOptions, signaturePolicy, type RawSignatureOptions } from './signature-options.js';
import { signedBy } from './summary.js';
import { columnsOf, fieldLines, visible, wrapWords } from './text.js';

interface RawVerifyOptions extends RawOpenOptions, RawSignatureOptions {
  readonly path?: string;
  readonly structureOnly?: boolean;
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly progress: boolean;
}

const NOTES = `
Exit codes: 0 all good; 3 the signature does not hold (whatever the structure),
6 the structure is damaged or cannot be read, 2 usage, 7 a tool failed.`;

function policyOf(raw: RawVerifyOptions) {
  const policy = signaturePolicy(raw);
  if ((policy === undefined) === (raw.structureOnly === true)) return policy;
  throw new PatchVdiError('usage', 'it is not clear what is to be verified', {
    context: {
      found: policy === undefined ? 'no keyring' : '--keyring and --structure-only',
      expected: '--keyring FILE, or --structure-only',
    },
  });
}

function signatureText(verified: VerifyReport): string {
  if (verified.signature === 'good') return `good\n${signedBy(verified.signatures)}`;
  if (verified.signature === 'bad')
    return `BAD: ${verified.signatureError?.message.replace(/^BAD signature: /, '') ?? 'no reason was given'}`;
  return verified.report.patch === undefined
    ? 'not checked: there is no file that can be read'
    : 'not checked';
}

function structureText({ structure, report: { findings } }: VerifyReport): string {
  if (structure === 'good') return 'good';
  const missing = missingFileText(findings);
  if (missing !== undefined) return missing;
  const errors = findings.filter(({ severity }) => severity === 'error').length;
  return `DAMAGED: ${errors} error${errors === 1 ? '' : 's'}`;
}

function page(verified: VerifyReport, columns: number): string[] {
  const { report, sha256 } = verified;
  const { patch, findings } = report;
  return [
    ...wrapWords(visible(report.image.name), columns),
    ...fieldLines(
      [
        [patch?.path.slice(1) ?? 'patch', patch === undefined ? 'cannot be read' : describeBytes(patch.size)],
        ['signature', signatureText(verified)],
        ['SHA-256', sha256],
        ['structure', structureText(verified)],
      ],
      columns,
    ),
    ...(findings.length === 0 ? [] : ['', ...findings.flatMap((finding) => findingLines(finding, columns))]),
  ];
}

/** Which of the two failed decides the exit code; a bad signature weighs more. */
function failureOf(
  { signature, signatureError, report }: VerifyReport,
  wanted: boolean,
): PatchVdiError | undefined {
  if (signature === 'bad') return signatureError;
  const damaged = damage(report.findings);
  if (damaged !== undefined || !wanted || signature === 'good') return damaged;
  return new PatchVdiError('signature', 'the signature could not be checked');
}

async function verify(name: string, raw: RawVerifyOptions, context: CommandContext): Promise<void> {
  context.useJson(raw.json === true ? 'stdout' : undefined);
  const policy = policyOf(raw);
  await withImage(name, raw, context, async (image) => {
    const showBar = process.stderr.isTTY && raw.progress && raw.quiet !== true && raw.json !== true;
    const bar = showBar ? await startProgressBar() : undefined;
    const verified = await verifyImage(image, {
      path: raw.path === undefined ? undefined : `/${raw.path.replace(/^\/+/, '')}`,
      policy,
      environment: environmentOfProcess(),
      signal: context.interrupts.signal,
      onProgress: bar && ((progress) => bar.report({ phase: 'verify', ...progress })),
    }).finally(() => bar?.stop());
    const failure = failureOf(verified, policy !== undefined);
    if (raw.json === true) {
      const { signatureError, ...rest } = verified;
      const error = signatureError && errorObject(signatureError, exitCodeFor('signature', undefined));
      context.printJson({ ok: failure === undefined, ...rest, ...error });
    } else if (raw.quiet !== true) {
      const columns = columnsOf(process.stdout);
      process.stdout.write(`${page(verified, columns).join('\n')}\n`);
      if (verified.signatureError !== undefined) {
        const lines = errorLines(
          verified.signatureError,
          exitCodeFor('signature', undefined),
          columnsOf(process.stderr),
        );
        process.stderr.write(`${lines.join('\n')}\n`);
      }
    }
    if (failure !== undefined) context.exitWith(failure);
  });
}

export function verifyCommand(context: CommandContext): Command {
  const command = new Command('verify')
    .summary('check the signature and the structure of a patch VDI')
    .description(
      'Reads the file "patch" out of a disk image through gpgv, and checks every structure on the way to it: VHD, superblock, group descriptors, bitmaps, inode, extents, folders.',
    )
    .argument('<image>', 'the image, by name or URL; a block device; - for a raw image on standard input')
    .option('--path <path>', 'another file than /patch')
    .option('--structure-only', 'check no signature');
  return addOpenOptions(addSignatureOptions(command))
    .option('--json', 'print one object')
    .option('--quiet', 'print nothing but errors; the exit code tells')
    .option('--no-progress', 'no progress bar')
    .addHelpText('after', NOTES)
    .action((image: string, raw: RawVerifyOptions) => verify(image, raw, context));
}
