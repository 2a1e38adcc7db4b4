import { Command } from 'commander';
import { inspectImage } from '../inspect/report.js';
import type { Image } from '../inspect/image.js';
import { describeBytes } from '../units.js';
import type { XenConnection } from '../xenapi/connection.js';
import { damage } from './command-inspect.js';
import { inspectPage } from './inspect-page.js';
import { addPoolOptions, withPool, type RawPoolOptions } from './pool-options.js';
import { requireDataOutput } from './data-output.js';
import type { CommandContext } from './program.js';
import { startProgressBar } from './progress.js';
import { columnsOf, fieldLines } from './text.js';

interface RawExtractOptions extends RawPoolOptions {
  readonly output: string;
  readonly force?: boolean;
  readonly quiet?: boolean;
  readonly progress: boolean;
}

/** Opens the disk of the one VDI that is called so, and closes it. */
async function withVdi<Result>(
  connection: XenConnection,
  wanted: string,
  use: (image: Image) => Promise<Result>,
): Promise<Result> {
  const { findObject } = await import('../xenapi/find-object.js');
  const { VDIS } = await import('../xenapi/records.js');
  const { openVdi } = await import('../xenapi/open-vdi.js');
  const vdis = await connection.callAs(VDIS, 'VDI.get_all_records');
  const [ref, record] = findObject('VDI', vdis, wanted, 'patch-vdi pool vdis --all');
  const opened = await openVdi(connection, ref, record);
  try {
    return await use(opened.image);
  } finally {
    await opened.close();
  }
}

async function vdiInspect(wanted: string, raw: RawPoolOptions, context: CommandContext): Promise<void> {
  context.useJson(raw.json === true ? 'stdout' : undefined);
  await withPool(raw, context, async ({ connection, warnings }) => {
    await withVdi(connection, wanted, async (image) => {
      const report = await inspectImage(image, { signal: context.interrupts.signal });
      if (raw.json === true) {
        const healthy = damage(image.findings) === undefined;
        context.printJson({ ok: true, server: connection.name, ...report, healthy, warnings });
      } else
        process.stdout.write(
          `${inspectPage(report, columnsOf(process.stdout), 'vdi-extract, then patch-vdi build').join('\n')}\n`,
        );
      const error = damage(image.findings);
      if (error !== undefined) context.exitWith(error);
    });
  });
}

async function vdiExtract(wanted: string, raw: RawExtractOptions, context: CommandContext): Promise<void> {
  const toStdout = raw.output === '-';
  context.useJson(raw.json === true ? (toStdout ? 'stderr' : 'stdout') : undefined);
  requireDataOutput(raw.output, 'a patch');
  const { signal } = context.interrupts;
  const { extractFile } = await import('../inspect/extract.js');
  await withPool(raw, context, async ({ connection, warnings }) => {
    const showBar = process.stderr.isTTY && raw.progress && raw.quiet !== true && raw.json !== true;
    const bar = showBar ? await startProgressBar() : undefined;
    const output = toStdout
      ? { fd: 1, name: 'standard output' }
      : { path: raw.output, force: raw.force ?? false };
    const onProgress =
      bar &&
      ((progress: { bytes: number; totalBytes: number }) => bar.report({ phase: 'write', ...progress }));
    const result = await withVdi(connection, wanted, (image) =>
      extractFile(image, { output, signal, onProgress }),
    ).finally(() => bar?.stop());
    if (raw.json === true) {
      context.printJson({ ok: true, server: connection.name, ...result, warnings });
      return;
    }
    if (raw.quiet === true) return;
    const stream = toStdout ? process.stderr : process.stdout;
    const fields = [['to', result.output]] as const;
    const lines = [
      `extracted ${describeBytes(result.outputBytes)}`,
      ...fieldLines(fields, columnsOf(stream)),
    ];
    stream.write(`${lines.join('\n')}\n`);
  });
}

export function poolVdiInspectCommand(context: CommandContext): Command {
  const command = new Command('vdi-inspect')
    .summary('tell what is in a VDI of a pool')
    .description(
      'Looks into a VDI of a pool. The disk is read from its start, and no further than it takes: nothing is kept.',
    )
    .argument('<vdi>', 'uuid, the start of one, or name');
  return addPoolOptions(command).action((wanted: string, raw: RawPoolOptions) =>
    vdiInspect(wanted, raw, context),
  );
}

export function poolVdiExtractCommand(context: CommandContext): Command {
  const command = new Command('vdi-extract')
    .summary('take the patch out of a VDI of a pool')
    .description('Copies the file "patch" out of a VDI of a pool. Whether it is signed, "verify" tells.')
    .argument('<vdi>', 'uuid, the start of one, or name')
    .requiredOption('-o, --output <file>', 'a new file; - for standard output')
    .option('--force', 'replace an existing file');
  return addPoolOptions(command)
    .option('--quiet', 'print nothing but errors')
    .option('--no-progress', 'no progress bar')
    .action((wanted: string, raw: RawExtractOptions) => vdiExtract(wanted, raw, context));
}
