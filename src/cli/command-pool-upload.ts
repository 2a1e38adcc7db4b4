import { Command } from 'commander';
import { PatchVdiError } from '../errors.js';
import type { UploadSource } from '../io/chunk.js';
import type { PatchEntry } from '../xenapi/inventory.js';
import { addPoolOptions, withPool, type PoolScene, type RawPoolOptions } from './pool-options.js';
import { patchFields, patchObject } from './pool-patch-words.js';
import type { CommandContext } from './program.js';
import { startProgressBar } from './progress.js';
import {
  addSourceOptions,
  readSourceOptions,
  sourceOption,
  type RawSourceOptions,
} from './source-options.js';
import { columnsOf, fieldLines } from './text.js';

interface RawUploadOptions extends RawPoolOptions, RawSourceOptions {
  readonly sr?: string;
  readonly contentLength?: string;
  readonly quiet?: boolean;
  readonly progress: boolean;
}

const NOTES = `
Exit codes: 0 stored; 2 usage, 3 signature, 4 upload, 5 space, 8 the server
refused or could not be reached. After a failure the pool has no such patch.`;

/** @throws PatchVdiError `usage` */
function announced(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const bytes = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(bytes) && bytes > 0) return bytes;
  throw new PatchVdiError('usage', '--content-length is not a length', {
    context: { found: JSON.stringify(text), expected: 'bytes, such as 734003200' },
  });
}

async function openUpload(name: string, raw: RawUploadOptions, signal: AbortSignal): Promise<UploadSource> {
  if (name === '-' && process.stdin.isTTY) {
    throw new PatchVdiError('usage', 'standard input is a terminal', {
      context: { found: 'a terminal', expected: 'an upload through a pipe or a redirected file' },
      hint: 'name the file instead of -',
    });
  }
  const options = { ...readSourceOptions(raw), contentLength: announced(raw.contentLength) };
  const { openSource } = await import('../build/places.js');
  return await openSource(sourceOption(name, raw.header), options, signal);
}

async function send(
  { connection }: PoolScene,
  source: UploadSource,
  raw: RawUploadOptions,
): Promise<PatchEntry> {
  const { getPatch } = await import('../xenapi/inventory.js');
  const { afterwards } = await import('../xenapi/server-failure.js');
  const { uploadPatch } = await import('../xenapi/transfer.js');
  let srUuid: string | undefined;
  if (raw.sr !== undefined) {
    const { findObject } = await import('../xenapi/find-object.js');
    const { SRS } = await import('../xenapi/records.js');
    const srs = await connection.callAs(SRS, 'SR.get_all_records');
    srUuid = findObject('storage repository', srs, raw.sr, 'patch-vdi pool srs')[1].uuid;
  }
  const showBar = process.stderr.isTTY && raw.progress && raw.quiet !== true && raw.json !== true;
  const bar = showBar ? await startProgressBar() : undefined;
  const onProgress =
    bar && ((bytes: number) => bar.report({ phase: 'send', bytes, totalBytes: source.contentLength }));
  const ref = await uploadPatch(connection, source, { srUuid, onProgress }).finally(() => bar?.stop());
  return await afterwards(connection.address, 'the patch, stored in the pool', () =>
    getPatch(connection, ref),
  );
}

async function upload(name: string, raw: RawUploadOptions, context: CommandContext): Promise<void> {
  context.useJson(raw.json === true ? 'stdout' : undefined);
  const source = await openUpload(name, raw, context.interrupts.signal);
  try {
    await withPool(
      raw,
      context,
      async (scene) => {
        const entry = await send(scene, source, raw);
        const { connection, warnings } = scene;
        if (raw.json === true) {
          context.printJson({ ok: true, server: connection.name, patch: patchObject(entry), warnings });
        } else if (raw.quiet !== true) {
          const lines = fieldLines(patchFields(entry), columnsOf(process.stdout));
          process.stdout.write(`uploaded to ${connection.name}\n${lines.join('\n')}\n`);
        }
      },
      name === '-',
    );
  } finally {
    source.close();
  }
}

export function poolUploadCommand(context: CommandContext): Command {
  const command = new Command('upload')
    .summary('store a patch in a pool')
    .description(
      'Sends a signed patch to a pool, which stores it in a VDI, verifies it and keeps a record of it.',
    )
    .argument('<upload>', 'the patch, by name or URL; - for standard input')
    .option('--sr <name>', 'the storage repository, by name or uuid; default: the pool chooses')
    .option('--content-length <bytes>', 'length of an upload from a pipe; without, its VDI has 4 GiB');
  return addPoolOptions(addSourceOptions(command))
    .option('--quiet', 'print nothing but errors')
    .option('--no-progress', 'no progress bar')
    .addHelpText('after', NOTES)
    .action((name: string, raw: RawUploadOptions) => upload(name, raw, context));
}
