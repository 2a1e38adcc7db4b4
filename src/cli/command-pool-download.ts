import { Command } from 'commander';
import { PatchVdiError } from '../errors.js';
import type { Sink } from '../io/sink.js';
import { describeBytes } from '../units.js';
import type { ServerDownload } from '../xenapi/get-stream.js';
import type { PatchRecord, VdiRecord } from '../xenapi/records.js';
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
Of a VDI that "upload" has stored (pool patches lists them, too) the patch is
read out of the disk, and held against the SHA-256 in the VDI's other_config.

Exit codes: 0 all of it was written; 2 usage, 5 space, 6 the VDI holds no patch,
or not the one that was uploaded, 8 the server refused, the connection broke, or
the output failed. After a failure no file has the output's name.`;

interface Downloaded {
  /** Of the record, or of the VDI. */
  readonly uuid: string;
  readonly nameLabel: string;
  readonly sizeBytes: number;
  /** Of what came out of a VDI; lower-case hex. */
  readonly sha256?: string;
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

/** What moves the bytes into an output that is open. */
type Fetch = (sink: Sink, onBytes: (bytes: number, totalBytes: number) => void) => Promise<Downloaded>;

function fromRecord({ connection }: PoolScene, { uuid, size, name_label: nameLabel }: PatchRecord): Fetch {
  return async (sink, onBytes) => {
    const { downloadPatch } = await import('../xenapi/transfer.js');
    const { writeChunks } = await import('../inspect/extract.js');
    const sizeBytes = await downloadPatch(connection, uuid, async (download) => {
      requireSize(download.contentLength, size, connection.name);
      return await writeChunks(fileChunks(download), sink, (bytes) => onBytes(bytes, size));
    });
    return { uuid, nameLabel, sizeBytes };
  };
}

function fromVdi({ connection, warn }: PoolScene, ref: string, record: VdiRecord): Fetch {
  return async (sink, onBytes) => {
    const { downloadVdi } = await import('../upload/download-vdi.js');
    const { isAsUploaded, ...found } = await downloadVdi(connection, ref, record, sink, onBytes);
    if (!isAsUploaded) warn('the VDI does not say which bytes were put into it: verify what came out of it');
    return { uuid: record.uuid, nameLabel: record.name_label, ...found };
  };
}

/** A record of a patch that is called so; where there is none, a VDI. */
async function findSource(scene: PoolScene, wanted: string): Promise<Fetch> {
  const { connection } = scene;
  const { findObject, isCalled } = await import('../xenapi/find-object.js');
  const { listVdis, isOfPatch, patchRecords } = await import('../xenapi/inventory.js');
  const patches = await patchRecords(connection);
  const list = 'patch-vdi pool patches';
  if (isCalled(patches, wanted)) return fromRecord(scene, findObject('patch', patches, wanted, list)[1]);
  const entries = await listVdis(connection, true);
  const vdis = Object.fromEntries(entries.map(({ ref, record }) => [ref, record]));
  if (isCalled(vdis, wanted)) return fromVdi(scene, ...findObject('VDI', vdis, wanted, list));
  // Nothing is called so: the error lists patches, and not the disks of VMs.
  const stored = entries.filter((entry) => isOfPatch(entry) && entry.patch === undefined);
  if (stored.length === 0) return fromRecord(scene, findObject('patch', patches, wanted, list)[1]);
  const named = Object.fromEntries(stored.map(({ ref, record }) => [ref, record]));
  return fromVdi(scene, ...findObject('patch', named, wanted, list));
}

async function fetchPatch(
  scene: PoolScene,
  wanted: string,
  raw: RawDownloadOptions,
  signal: AbortSignal,
): Promise<Downloaded> {
  const fetch = await findSource(scene, wanted);
  const sink = await openOutput(raw, signal);
  const showBar = process.stderr.isTTY && raw.progress && raw.quiet !== true && raw.json !== true;
  const bar = showBar ? await startProgressBar() : undefined;
  try {
    const downloaded = await fetch(sink, (bytes, totalBytes) =>
      bar?.report({ phase: 'write', bytes, totalBytes }),
    );
    await sink.commit(downloaded.sizeBytes);
    return downloaded;
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
      ['SHA-256', result.sha256],
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
    .argument('<patch>', 'of a patch, or of the VDI that holds one: uuid, the start of one, or name')
    .requiredOption('-o, --output <file>', 'a new file; - for standard output')
    .option('--force', 'replace an existing file');
  return addPoolOptions(command)
    .option('--quiet', 'print nothing but errors')
    .option('--no-progress', 'no progress bar')
    .addHelpText('after', NOTES)
    .action((wanted: string, raw: RawDownloadOptions) => download(wanted, raw, context));
}
