import { Command } from 'commander';
import type { PatchCall } from '../xenapi/apply.js';
import type { HostRecord, PatchRecord } from '../xenapi/records.js';
import { PatchVdiError } from '../errors.js';
import { EXIT_DIFFERENT } from './exit-codes.js';
import { guidanceLines } from './guidance.js';
import { addPoolOptions, withPool, type PoolScene, type RawPoolOptions } from './pool-options.js';
import type { CommandContext } from './program.js';
import { errorLines, errorObject } from './report-error.js';
import { columnsOf, fieldLines, visibleLines } from './text.js';

interface RawApplyOptions extends RawPoolOptions {
  readonly host?: string;
  readonly again?: boolean;
  readonly quiet?: boolean;
}

interface Subject {
  readonly ref: string;
  readonly record: PatchRecord;
  /** Undefined: all that lack it. */
  readonly host: readonly [ref: string, record: HostRecord] | undefined;
}

const TITLES: Readonly<Record<PatchCall, string>> = {
  precheck: 'the precheck lets it pass; nothing was changed',
  apply: 'applied',
  pool_apply: 'applied to every host of the pool',
};

async function onlyHost({ connection }: PoolScene): Promise<readonly [string, HostRecord]> {
  const { listHosts } = await import('../xenapi/apply.js');
  const hosts = Object.entries(await listHosts(connection));
  const [only] = hosts;
  if (only !== undefined && hosts.length === 1) return only;
  throw new PatchVdiError('usage', 'it is not clear which host is meant', {
    context: {
      found: hosts.map(([, { name_label, uuid }]) => `${name_label} (${uuid})`).join(', '),
      expected: '--host HOST',
    },
    hint: 'patch-vdi pool pool-apply applies a patch to all of them',
  });
}

async function subjectOf(
  scene: PoolScene,
  wanted: string,
  call: PatchCall,
  raw: RawApplyOptions,
): Promise<Subject> {
  const { connection } = scene;
  const { findObject } = await import('../xenapi/find-object.js');
  const { PATCHES } = await import('../xenapi/records.js');
  const { listHosts } = await import('../xenapi/apply.js');
  const patches = await connection.callAs(PATCHES, 'pool_patch.get_all_records');
  const [ref, record] = findObject('patch', patches, wanted, 'patch-vdi pool patches');
  if (call === 'pool_apply') return { ref, record, host: undefined };
  if (raw.host === undefined) return { ref, record, host: await onlyHost(scene) };
  const hosts = await listHosts(connection);
  return { ref, record, host: findObject('host', hosts, raw.host, 'patch-vdi pool pool-apply') };
}

/** What the patch has said of its failure: too long for the line of an error. */
async function showOutput(error: unknown, raw: RawApplyOptions): Promise<void> {
  const { isXenApiError } = await import('../xenapi/xen-api-error.js');
  if (raw.json === true || !isXenApiError(error)) return;
  const output =
    error.code === 'PATCH_APPLY_FAILED'
      ? error.parameters[0]
      : error.code === 'PATCH_PRECHECK_FAILED_UNKNOWN_ERROR'
        ? error.parameters[1]
        : undefined;
  if (output === undefined || output === '') return;
  process.stderr.write(`${visibleLines(output, columnsOf(process.stderr))}\n`);
}

/** A line for every tenth: what is counted are steps, not bytes. */
function percentLines(): (fraction: number) => void {
  let shown = 0;
  return (fraction) => {
    const tenth = Math.floor(fraction * 10);
    if (tenth <= shown) return;
    shown = tenth;
    process.stderr.write(`${tenth * 10} %\n`);
  };
}

async function run(
  { connection }: PoolScene,
  call: PatchCall,
  { ref, host }: Subject,
  raw: RawApplyOptions,
): Promise<string> {
  const { allowAgain, callPatch } = await import('../xenapi/apply.js');
  if (raw.again === true && host !== undefined) {
    const { applyAgainKey } = await import('../pool/apply-rules.js');
    await allowAgain(connection, ref, applyAgainKey(host[1]));
  }
  const show = process.stderr.isTTY && raw.quiet !== true && raw.json !== true;
  try {
    return await callPatch(connection, call, ref, host?.[0], show ? percentLines() : undefined);
  } catch (error) {
    await showOutput(error, raw);
    throw error;
  }
}

async function callOn(
  call: PatchCall,
  wanted: string,
  raw: RawApplyOptions,
  context: CommandContext,
): Promise<void> {
  context.useJson(raw.json === true ? 'stdout' : undefined);
  await withPool(raw, context, async (scene) => {
    const subject = await subjectOf(scene, wanted, call, raw);
    const output = await run(scene, call, subject, raw);
    const { record, host } = subject;
    const { uuid, name_label: nameLabel, after_apply_guidance: guidance } = record;
    const applied = call !== 'precheck';
    if (raw.json === true) {
      context.printJson({
        ok: true,
        server: scene.connection.name,
        patch: { uuid, nameLabel },
        host: host === undefined ? null : { uuid: host[1].uuid, nameLabel: host[1].name_label },
        output,
        afterApplyGuidance: applied ? guidance : [],
        warnings: scene.warnings,
      });
      return;
    }
    if (raw.quiet === true) return;
    const fields = [
      ['patch', uuid],
      ['name', nameLabel],
      ['host', host === undefined ? undefined : host[1].name_label || host[1].uuid],
      ['to do', applied ? guidanceLines(guidance) : undefined],
      ['output', output.trimEnd()],
    ] as const;
    const lines = [TITLES[call], ...fieldLines(fields, columnsOf(process.stdout))];
    process.stdout.write(`${lines.join('\n')}\n`);
  }).catch((error: unknown) => endDifferent(error, raw, context));
}

/** A patch that does not want to be applied is an answer: it ends as with `patch-vdi apply`. @throws any other error */
async function endDifferent(error: unknown, raw: RawApplyOptions, context: CommandContext): Promise<void> {
  const { isPatchAnswer } = await import('./api-errors.js');
  if (context.interrupts.stoppedBy !== undefined || !isPatchAnswer(error)) throw error;
  if (raw.json === true) context.printJson(errorObject(error, EXIT_DIFFERENT));
  else {
    const lines = errorLines(error, EXIT_DIFFERENT, columnsOf(process.stderr));
    process.stderr.write(`${lines.join('\n')}\n`);
  }
  context.exitDifferent();
}

const COMMON = `
The host that applies it works on a private copy of the patch's VDI, which is
gone afterwards. Its server must run as root.`;

const EXIT_CODES = `
Exit codes: 0 done; 1 the patch does not want to be applied there (precheck), or
is applied already; 2 usage, 5 no room for the copy, 7 the apply failed, 8 the
server refuses, or is gone.`;

const STOPPING = `
Ctrl-C cancels the copy and the precheck. Once the patch's own "apply" runs, it
goes on to its end, whoever watches it: patch-vdi pool tasks shows it.`;

interface Row {
  readonly name: string;
  readonly call: PatchCall;
  readonly summary: string;
  readonly description: string;
  readonly help: string;
}

const COMMANDS: readonly Row[] = [
  {
    name: 'precheck',
    call: 'precheck',
    summary: 'ask a patch whether a host may have it',
    description: 'Runs the precheck of a patch on a host. Nothing is changed.',
    help: COMMON,
  },
  {
    name: 'apply',
    call: 'apply',
    summary: 'apply a patch to a host',
    description: 'Applies a patch to a host of the pool: its precheck first, then the patch itself.',
    help: `${COMMON}
${STOPPING}

Should the server be killed meanwhile, the patch may have run in part: the next
apply says so, and runs it once more only with --again.`,
  },
  {
    name: 'pool-apply',
    call: 'pool_apply',
    summary: 'apply a patch to every host that lacks it',
    description:
      'Applies a patch to all hosts of the pool that lack it, at the same time. One that fails does not keep the others from it.',
    help: `${COMMON}
${STOPPING}`,
  },
];

/** `precheck`, `apply` and `pool-apply`. */
export function poolApplyCommands(context: CommandContext): Command[] {
  return COMMANDS.map(({ name, call, summary, description, help }) => {
    const command = new Command(name)
      .summary(summary)
      .description(description)
      .argument('<patch>', 'uuid, the start of one, or name');
    if (call !== 'pool_apply')
      command.option('--host <host>', 'uuid, the start of one, or name; default: the only one');
    if (call === 'apply') command.option('--again', 'also when an earlier apply did not end');
    return addPoolOptions(command)
      .option('--quiet', 'print nothing but errors')
      .addHelpText('after', `${help}\n${EXIT_CODES}`)
      .action((wanted: string, raw: RawApplyOptions) => callOn(call, wanted, raw, context));
  });
}
