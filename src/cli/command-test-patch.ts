import { Command, Option } from 'commander';
import { checkEpoch } from '../build/identity.js';
import { PatchVdiError } from '../errors.js';
import { GUIDANCE, PRECHECKS, type Guidance } from '../kit/documents.js';
import { designPatch, makePatchFile, type PatchFile } from '../kit/make-patch.js';
import { openSigner } from '../kit/open-signer.js';
import type { ApplyBehaviour } from '../kit/patch-script.js';
import { parseSeed } from '../kit/seed.js';
import type { PatchDesign } from '../kit/patch-stream.js';
import { describeBytes } from '../units.js';
import { environmentOfProcess, sourceDateEpoch } from './environment.js';
import { byteSize } from './image-options.js';
import type { CommandContext } from './program.js';
import { columnsOf, fieldLines } from './text.js';

/** Options of every command that makes a test patch, as commander hands them over. */
export interface RawPatchOptions {
  readonly seed?: string;
  readonly uuid?: string;
  readonly nameLabel?: string;
  readonly nameDescription?: string;
  readonly version?: string;
  readonly guidance?: string;
  readonly precheck: string;
  readonly apply: string;
  readonly scratch?: string;
}

interface RawPatchFileOptions extends RawPatchOptions {
  readonly output: string;
  readonly force?: boolean;
  readonly size: string;
  readonly sign?: string;
  readonly detached?: boolean;
  readonly unsigned?: boolean;
  readonly sourceDateEpoch?: string;
  readonly json?: boolean;
}

const NOTES = `
A patch is a shell script and its payload. Run with "info" or "precheck" it
prints what a host expects; "apply" unpacks the payload beside the patch,
checks it, removes it. Same seed, key and options: same bytes.`;

export function addPatchOptions(command: Command): Command {
  return command
    .option('--uuid <uuid>', 'default: from the seed')
    .option('--name-label <text>', 'default: test-patch')
    .option('--name-description <text>', 'default: one that says what it is')
    .option('--version <text>', 'default: 1.0')
    .option('--guidance <list>', `what to restart after it: ${GUIDANCE.join(',')}`)
    .addOption(new Option('--precheck <answer>', 'what its precheck says').choices(PRECHECKS).default('ok'))
    .addOption(new Option('--apply <how>', 'ok, fail, or sleep=SECONDS').default('ok'))
    .option('--scratch <size>', 'what apply writes beside the unpacked payload; default: nothing')
    .option('--seed <number>', 'same seed, same payload and UUID; default: random');
}

function guidanceOf(list: string | undefined): readonly Guidance[] {
  const words = (list ?? '').split(',').filter((word) => word !== '');
  const known = words.flatMap((word) => GUIDANCE.find((guidance) => guidance === word) ?? []);
  if (known.length === words.length && new Set(words).size === words.length) return known;
  throw new PatchVdiError('usage', '--guidance cannot be used', {
    context: { found: JSON.stringify(list), expected: `some of ${GUIDANCE.join(',')}, each once` },
  });
}

function applyOf(text: string): ApplyBehaviour {
  if (text === 'ok' || text === 'fail') return { kind: text };
  const seconds = /^sleep=(\d{1,9})$/.exec(text)?.[1];
  if (seconds !== undefined) return { kind: 'sleep', seconds: Number(seconds) };
  throw new PatchVdiError('usage', '--apply cannot be used', {
    context: { found: JSON.stringify(text), expected: 'ok, fail, or sleep=SECONDS' },
  });
}

/** @throws PatchVdiError `usage` */
export function readPatchOptions(raw: RawPatchOptions): PatchDesign {
  return designPatch({
    seed: raw.seed === undefined ? undefined : parseSeed(raw.seed),
    uuid: raw.uuid,
    nameLabel: raw.nameLabel,
    nameDescription: raw.nameDescription,
    version: raw.version,
    guidance: guidanceOf(raw.guidance),
    precheck: PRECHECKS.find((precheck) => precheck === raw.precheck),
    apply: applyOf(raw.apply),
    scratchBytes: byteSize('--scratch', raw.scratch),
  });
}

/** The folder of the key, or undefined when no signature is wanted. */
function keyFolderOf({ sign, detached, unsigned }: RawPatchFileOptions): string | undefined {
  const problem =
    unsigned === true
      ? sign === undefined
        ? detached === true && '--detached beside --unsigned'
        : '--unsigned beside --sign'
      : sign === undefined && 'neither --sign nor --unsigned';
  if (problem === false) return sign;
  throw new PatchVdiError('usage', 'it is not clear whether to sign the patch', {
    context: { found: problem, expected: '--sign FOLDER, with or without --detached; or --unsigned' },
    hint: 'patch-vdi test key -o FOLDER makes a key',
  });
}

/** @throws PatchVdiError `usage` */
export function refuseStandardOutput(output: string): void {
  if (output !== '-') return;
  throw new PatchVdiError('usage', 'what is made is written to a file', {
    context: { found: '-o -', expected: 'the name of a new file' },
  });
}

function patchLines(made: PatchFile, sizeBytes: number, design: PatchDesign, fingerprint?: string): string[] {
  const { info, seed } = design;
  return [
    `made a test patch of ${describeBytes(sizeBytes)}`,
    ...fieldLines(
      [
        ['patch', made.path],
        ['signature', made.signaturePath],
        ['signed by', fingerprint ?? 'nobody (--unsigned)'],
        ['UUID', info.uuid],
        ['name', info.nameLabel],
        ['guidance', info.guidance.join(' ')],
        ['precheck', design.precheck],
        ['apply', design.apply.kind],
        ['payload', `${describeBytes(made.payloadBytes)}, SHA-256 ${made.payloadSha256}`],
        ['scratch', design.scratchBytes === 0 ? undefined : describeBytes(design.scratchBytes)],
        ['seed', seed],
      ],
      columnsOf(process.stdout),
    ),
  ];
}

async function testPatch(raw: RawPatchFileOptions, context: CommandContext): Promise<void> {
  context.useJson(raw.json === true ? 'stdout' : undefined);
  refuseStandardOutput(raw.output);
  const keyFolder = keyFolderOf(raw);
  const design = readPatchOptions(raw);
  const sizeBytes = byteSize('--size', raw.size) ?? 0;
  const signedAt = checkEpoch(sourceDateEpoch(raw.sourceDateEpoch));
  const abortSignal = context.interrupts.signal;
  const environment = environmentOfProcess();
  const signer =
    keyFolder === undefined ? undefined : await openSigner(keyFolder, { environment, signedAt, abortSignal });
  try {
    const made = await makePatchFile({
      design,
      path: raw.output,
      force: raw.force === true,
      sizeBytes,
      signing: signer && { signer, detached: raw.detached === true },
      abortSignal,
    });
    if (raw.json === true) {
      const { info, seed, precheck, apply, scratchBytes } = design;
      const fingerprint = signer?.fingerprint ?? null;
      const { path, signaturePath = null, ...sizes } = made;
      const what = { ...info, precheck, apply, scratchBytes, seed };
      context.printJson({ ok: true, output: path, sizeBytes, signaturePath, fingerprint, ...what, ...sizes });
    } else {
      process.stdout.write(`${patchLines(made, sizeBytes, design, signer?.fingerprint).join('\n')}\n`);
    }
  } finally {
    await signer?.dispose();
  }
}

export function testPatchCommand(context: CommandContext): Command {
  const command = new Command('patch')
    .summary('make a signed patch that really runs')
    .description('Makes a patch of an exact size that tells about itself and changes nothing.')
    .requiredOption('-o, --output <file>', 'the patch: a new file')
    .requiredOption('--size <size>', 'exact size of that file, e.g. 200M')
    .option('--sign <folder>', 'the key: a folder of test key, or any gpg home')
    .option('--detached', 'the patch as it is, its signature in FILE.sig')
    .option('--unsigned', 'no signature at all')
    .option('--force', 'replace existing files');
  return addPatchOptions(command)
    .option('--source-date-epoch <seconds>', 'time of the signature; default: when the test key was made')
    .option('--json', 'print one object')
    .addHelpText('after', NOTES)
    .action((raw: RawPatchFileOptions) => testPatch(raw, context));
}
