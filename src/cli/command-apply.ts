import { Command } from 'commander';
import { PatchVdiError } from '../errors.js';
import type { ApplyOutcome, PrecheckOutcome } from '../host/outcome.js';
import type { HostPhase, HostProgress } from '../host/mounted-patch.js';
import type { PrecheckFailure } from '../host/precheck-document.js';
import type { PatchInfo } from '../pool/info-document.js';
import type { SignaturePolicy } from '../signature/policy.js';
import { environmentOfProcess } from './environment.js';
import { guidanceLines } from './guidance.js';
import type { CommandContext } from './program.js';
import { addKeyringOptions, addLeniencyOptions, signaturePolicy } from './signature-options.js';
import type { RawSignatureOptions } from './signature-options.js';
import { seconds } from './source-options.js';
import { signedBy } from './summary.js';
import { columnsOf, fieldLines, visible } from './text.js';

interface RawApplyOptions extends RawSignatureOptions {
  readonly precheck?: boolean;
  readonly scratchFolder?: string;
  readonly appliedFolder: string;
  readonly again?: boolean;
  readonly timeout?: string;
  readonly printRecipe?: boolean;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

const RECIPE_TIMEOUT_SECONDS = 7200;

type Outcome = ApplyOutcome<PatchInfo> | PrecheckOutcome<PatchInfo>;

const NOTES = `
The patch sees the host as it is, as root; the disk that it runs from is
mounted where only it can see it. All that it starts itself is ended with it:
a service that is to stay must be started by the host's service manager.

The first Ctrl-C stops the patch; when it was being applied it may have run in
part, as after the time limit, and the next apply needs --again.

Exit codes: 0 done; 1 the patch does not want to be applied here (precheck),
is applied already, is being applied, or was left half applied; 2 usage,
3 the signature does not hold, 5 no room for the copy, 6 the image is damaged,
7 the apply failed, or a tool.`;

const PHASES: Readonly<Record<HostPhase, string>> = {
  copy: 'copying the disk',
  check: 'checking the copy',
  mount: 'mounting it',
  verify: 'verifying the signature',
  info: 'asking the patch what it is',
  precheck: 'running precheck',
  apply: 'running apply',
  'clean up': 'cleaning up',
};

/** One line on stderr for each phase. */
function phaseLines(): (progress: HostProgress) => void {
  let shown: HostPhase | undefined;
  return ({ phase }) => {
    if (phase !== shown) process.stderr.write(`${PHASES[phase]}\n`);
    shown = phase;
  };
}

function failureText(failure: PrecheckFailure): string {
  switch (failure.code) {
    case 'UNKNOWN_ERROR':
      return failure.info;
    case 'ISO_MOUNTED':
      return `an ISO is mounted\n${failure.info}`;
    case 'PREREQUISITE_MISSING':
      return `other patches must be applied first:\n${failure.uuids.join('\n')}`;
    case 'WRONG_SERVER_VERSION':
    case 'WRONG_SERVER_BUILD': {
      const what = failure.code === 'WRONG_SERVER_BUILD' ? 'build' : 'version';
      return `it is for another ${what} of the server\nfound ${failure.found}, required ${failure.required}`;
    }
    case 'VM_RUNNING':
      return 'virtual machines are running';
    case 'OUT_OF_SPACE':
      return `the host has too little room\nfound ${failure.found}, required ${failure.required}`;
    default: {
      const never: never = failure;
      return never;
    }
  }
}

const SEE_OUTPUT = 'find out what it has done so far: see its output';
const UNFINISHED = `${SEE_OUTPUT}\nthe next apply needs --again`;
const AFTER_FAILURE = { exit: SEE_OUTPUT, signal: UNFINISHED, timeout: UNFINISHED } as const;

/** What came of it, in a few words; and what is to be done. */
function verdict(outcome: Outcome): { readonly title: string; readonly details: string | undefined } {
  switch (outcome.kind) {
    case 'applied': {
      const { afterApplyGuidance } = outcome.info;
      return { title: 'applied', details: guidanceLines(afterApplyGuidance) };
    }
    case 'precheckPassed':
      return { title: 'the precheck lets it pass; nothing was changed', details: undefined };
    case 'precheckFailed':
      return { title: `not applied: ${outcome.failure.code}`, details: failureText(outcome.failure) };
    case 'applyFailed': {
      const { ending } = outcome;
      const how =
        ending.kind === 'exit'
          ? `exit code ${ending.exitCode}`
          : ending.kind === 'signal'
            ? `ended by ${ending.signal}`
            : 'it did not end in time';
      return { title: `apply FAILED: ${how}`, details: AFTER_FAILURE[ending.kind] };
    }
    case 'alreadyApplied':
      return { title: 'not applied: it is applied already', details: '--again applies it once more' };
    case 'beingApplied':
      return { title: 'not applied: another process is applying it', details: 'wait for that one' };
    case 'halfApplied':
      return {
        title: 'not applied: an earlier apply did not come to its end, and may have run in part',
        details: `it began at ${visible(outcome.beganAt, 64)}; --again applies it once more`,
      };
    default: {
      const never: never = outcome;
      return never;
    }
  }
}

function page(outcome: Outcome, columns: number): string[] {
  const { info, signatures } = outcome;
  const { title, details } = verdict(outcome);
  const output = 'output' in outcome ? outcome.output.trimEnd() : '';
  return [
    title,
    ...fieldLines(
      [
        ['patch', `${info.nameLabel} ${info.version}`.trim()],
        ['UUID', info.uuid],
        ['signed by', signedBy(signatures)],
        [outcome.kind === 'precheckFailed' ? 'because' : 'to do', details],
        ['output', output],
      ],
      columns,
    ),
  ];
}

function report(outcome: Outcome, raw: RawApplyOptions, warnings: string[], context: CommandContext): void {
  const ok = outcome.kind === 'applied' || outcome.kind === 'precheckPassed';
  if (raw.json === true) context.printJson({ ok, ...outcome, warnings });
  else {
    const stream = ok ? process.stdout : process.stderr;
    if (!ok || raw.quiet !== true) stream.write(`${page(outcome, columnsOf(stream)).join('\n')}\n`);
    for (const warning of warnings) process.stderr.write(`warning: ${visible(warning)}\n`);
  }
  if (ok) return;
  if (outcome.kind === 'applyFailed') context.exitWith(new PatchVdiError('tool', 'the apply failed'));
  else context.exitDifferent();
}

async function printRecipeFor(image: string, policy: SignaturePolicy, raw: RawApplyOptions): Promise<void> {
  const { printRecipe } = await import('../host/recipe.js');
  const timeoutSeconds = seconds(raw.timeout, '--timeout') ?? RECIPE_TIMEOUT_SECONDS;
  const scratchFolder = raw.scratchFolder ?? '/tmp';
  process.stdout.write(printRecipe({ image, policy, scratchFolder, timeoutSeconds }));
  const warning = await recipeWarning(image);
  if (warning !== undefined) process.stderr.write(`warning: ${visible(warning)}\n`);
}

/** The recipe may be for another machine; of an image that is here, it is told now what it would refuse there. */
async function recipeWarning(path: string): Promise<string | undefined> {
  const { openImage } = await import('../inspect/open-image.js');
  try {
    const image = await openImage(path);
    await image.close();
    const isTaken = image.format === 'raw' || image.format === 'vhd-fixed';
    return isTaken
      ? undefined
      : `the recipe takes raw images, fixed VHDs and block devices; ${path} is a ${image.format} image: patch-vdi build --format raw, or qemu-img convert, makes one that it takes`;
  } catch {
    // It need not be on this machine; where it is, the recipe says what is wrong with it.
    return undefined;
  }
}

async function apply(image: string, raw: RawApplyOptions, context: CommandContext): Promise<void> {
  context.useJson(raw.json === true ? 'stdout' : undefined);
  const policy = signaturePolicy(raw);
  if (policy === undefined) {
    throw new PatchVdiError('usage', 'nothing unsigned is applied', {
      context: { found: 'no keyring', expected: '--keyring FILE' },
    });
  }
  if (raw.printRecipe === true) return await printRecipeFor(image, policy, raw);
  const [{ applyPatch, precheckPatch, sweepHost }, { parseInfoDocument }] = await Promise.all([
    import('../host/apply-patch.js'),
    import('../pool/info-document.js'),
  ]);
  const environment = environmentOfProcess();
  const scratchFolder = raw.scratchFolder ?? environment.temporaryFolder;
  const warnings: string[] = [];
  const limit = seconds(raw.timeout, '--timeout');
  const options = {
    image,
    policy,
    environment,
    scratchFolder,
    parseInfo: parseInfoDocument,
    limits:
      limit === undefined ? {} : { applyMilliseconds: limit * 1000, precheckMilliseconds: limit * 1000 },
    signal: context.interrupts.signal,
    onProgress: raw.json === true || raw.quiet === true ? undefined : phaseLines(),
    onWarning: (text: string) => void warnings.push(text),
  };
  const { unfinished } = await sweepHost({ scratchFolder, appliedFolder: raw.appliedFolder });
  for (const { uuid, beganAt } of unfinished)
    warnings.push(
      `an apply of patch ${uuid}, begun at ${beganAt}, did not come to its end: it may have run in part`,
    );
  const outcome =
    raw.precheck === true
      ? await precheckPatch(options)
      : await applyPatch({ ...options, appliedFolder: raw.appliedFolder, again: raw.again === true });
  report(outcome, raw, warnings, context);
}

export function applyCommand(context: CommandContext): Command {
  const command = new Command('apply')
    .summary('apply the patch of a patch VDI on this machine')
    .description(
      'Makes a private copy of the disk, checks it, mounts it where nobody else sees it, verifies the patch, and runs what was signed with precheck and apply. Needs root.',
    )
    .argument('<image>', 'the image, by name or URL; a block device');
  return addLeniencyOptions(addKeyringOptions(command))
    .option('--precheck', 'ask the patch whether it may be applied, and change nothing')
    .option('--scratch-folder <folder>', 'where the private copy goes; default: where temporary files go')
    .option('--applied-folder <folder>', 'where it is kept what was applied', '/var/patch/applied')
    .option('--again', 'also when it was applied before, or an earlier apply did not end')
    .option('--timeout <seconds>', 'for precheck and for apply each; default: 10 minutes and 2 hours')
    .option('--print-recipe', 'print a shell script that does it where Node does not run')
    .option('--json', 'print one object')
    .option('--quiet', 'print nothing but errors')
    .addHelpText('after', NOTES)
    .action((image: string, raw: RawApplyOptions) => apply(image, raw, context));
}
