import { Command } from 'commander';
import { PatchVdiError } from '../errors.js';
import type { Sink } from '../io/sink.js';
import { describeBytes } from '../units.js';
import type { ServerDownload } from '../xenapi/get-stream.js';
import { addPoolOptions, withPool, type PoolScene, type RawPoolOptions } from './pool-options.js';
import { requireDataOutput } from './data-output.js';
import type { CommandContext } from './program.js';
import { startProgressBar } from './progress.js';
import { columnsOf, fieldLines } from './text.js';

interface RawDownloadOptions extends RawPoolOptions {
  readonly output: string;
  readonly force?: boolean;
  readonly quiet?: boolean;
  readonly progress: boolean;
}

const NOTES = `
Exit codes: 0 all of it was written; 2 usage, 5 space, 8 the server refused,
the connection broke, or the output failed. After a failure no file has the
output's name.`;

interface Downloaded {
  readonly uuid: string;
  readonly nameLabel: string;
  readonly sizeBytes: number;
}

async function openOutput(raw: RawDownloadOptions, signal: AbortSignal): Promise<Sink> {
  if (raw.output === '-') {
    const { openDescriptorSink } = await import('../io/stream-sink.js');
    return openDescriptorSink('standard output', 1, signal);
  }
  const { FileSink } = await import('../io/file-sink.js');
  return new FileSink(raw.output, raw.force ?? false);
}

async function* fileChunks(download: ServerDownload) {
  let fileOffset = 0;
  for await (const bytes of download.chunks) {
    yield { fileOffset, bytes, zeros: false };
    fileOffset += bytes.length;
  }
}

/** @throws PatchVdiError `sink` when the record and the answer do not agree */
function requireSize(found: number | undefined, expected: number, server: string): void {
  if (found === expected) return;
  throw new PatchVdiError('sink', 'the server has other bytes of that patch than its record says', {
    context: {
      path: server,
      found: found === undefined ? 'an answer without a length' : `${found} bytes`,
      expected: `${expected} bytes`,
    },
    hint: 'the patch may have been replaced just now: run it again',
  });
}

async function fetchPatch(
  { connection }: PoolScene,
  wanted: string,
  raw: RawDownloadOptions,
  signal: AbortSignal,
): Promise<Downloaded> {
  const { findObject } = await import('../xenapi/find-object.js');
  const { PATCHES } = await import('../xenapi/records.js');
  const { downloadPatch } = await import('../xenapi/transfer.js');
  const { writeChunks } = await import('../inspect/extract.js');
  const patches = await connection.callAs(PATCHES, 'pool_patch.get_all_records');
  const [, record] = findObject('patch', patches, wanted, 'patch-vdi pool patches');
  const sink = await openOutput(raw, signal);
  const showBar = process.stderr.isTTY && raw.progress && raw.quiet !== true && raw.json !== true;
  const bar = showBar ? await startProgressBar() : undefined;
  try {
    const totalBytes = record.size;
    const written = await downloadPatch(connection, record.uuid, async (download) => {
      requireSize(download.contentLength, totalBytes, connection.name);
      return await writeChunks(
        fileChunks(download),
        sink,
        bar && ((bytes) => bar.report({ phase: 'write', bytes, totalBytes })),
      );
    });
    await sink.commit(written);
    return { uuid: record.uuid, nameLabel: record.name_label, sizeBytes: written };
  } finally {
    bar?.stop();
    await sink.discard();
  }
}

async function download(wanted: string, raw: RawDownloadOptions, context: CommandContext): Promise<void> {
  const toStdout = raw.output === '-';
  context.useJson(raw.json === true ? (toStdout ? 'stderr' : 'stdout') : undefined);
  requireDataOutput(raw.output, 'a patch');
  if (!toStdout) {
    const { requireFreeName } = await import('../io/file-sink.js');
    requireFreeName(raw.output, raw.force ?? false);
  }
  await withPool(raw, context, async (scene) => {
    const result = await fetchPatch(scene, wanted, raw, context.interrupts.signal);
    const output = toStdout ? 'standard output' : raw.output;
    if (raw.json === true) {
      const { warnings, connection } = scene;
      context.printJson({ ok: true, server: connection.name, ...result, output, warnings });
      return;
    }
    if (raw.quiet === true) return;
    const stream = toStdout ? process.stderr : process.stdout;
    const fields = [
      ['patch', result.uuid],
      ['name', result.nameLabel],
      ['to', output],
    ] as const;
    const lines = [`downloaded ${describeBytes(result.sizeBytes)}`, ...fieldLines(fields, columnsOf(stream))];
    stream.write(`${lines.join('\n')}\n`);
  });
}

export function poolDownloadCommand(context: CommandContext): Command {
  const command = new Command('download')
    .summary('fetch a patch from a pool')
    .description('Fetches the bytes of a patch from a pool, as they were uploaded.')
    .argument('<patch>', 'uuid, the start of one, or name')
    .requiredOption('-o, --output <file>', 'a new file; - for standard output')
    .option('--force', 'replace an existing file');
  return addPoolOptions(command)
    .option('--quiet', 'print nothing but errors')
    .option('--no-progress', 'no progress bar')
    .addHelpText('after', NOTES)
    .action((wanted: string, raw: RawDownloadOptions) => download(wanted, raw, context));
}
