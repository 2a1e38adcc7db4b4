import { basename } from 'node:path';
import { Command, Option } from 'commander';
import type { BuildInput } from '../build/build-image.js';
import type { Progress } from '../build/options.js';
import { PatchVdiError } from '../errors.js';
import type { Plan } from '../plan/plan.js';
import type { FormatChoice, UploadPlace } from '../upload/choose-place.js';
import type { ImportWatch } from '../xenapi/import-sink.js';
import type { UploadedImage } from '../upload/upload-image.js';
import { describeBytes } from '../units.js';
import { addShapeOptions, readShapeOptions, type RawImageOptions } from './image-options.js';
import { addPoolOptions, withPool, type PoolScene, type RawPoolOptions } from './pool-options.js';
import type { CommandContext } from './program.js';
import { startProgressBar } from './progress.js';
import { addVerifyOptions, verifyOption, type RawVerifyOptions } from './signature-options.js';
import {
  addSourceOptions,
  readSourceOptions,
  sourceOption,
  type RawSourceOptions,
} from './source-options.js';
import { summaryLines } from './summary.js';
import { columnsOf, fieldLines } from './text.js';
import { packageVersion } from './version.js';

interface RawUploadOptions
  extends RawPoolOptions, Omit<RawImageOptions, 'format'>, RawSourceOptions, RawVerifyOptions {
  readonly format: FormatChoice;
  readonly sr?: string;
  readonly name?: string;
  readonly spoolDir?: string;
  readonly dryRun?: boolean;
  readonly quiet?: boolean;
  readonly progress: boolean;
}

const NOTES = `
The pool needs to know nothing of patches: it stores a VDI. It does not apply
the patch itself (docs/upload.md).

Exit codes: 0 stored; 2 usage, 3 signature, 4 upload, 5 space, 7 a tool failed,
8 the pool refused or could not be reached, 130/143 stopped. After a failure the
VDI is destroyed, and the error says so, or which one could not be.`;

/** Nothing of a patch is run to find out what it calls itself: that is for a host, not for this machine. */
function nameOf(upload: string, raw: RawUploadOptions): string {
  if (raw.name !== undefined) return raw.name;
  if (upload === '-') return 'Patch';
  const path = URL.canParse(upload) ? new URL(upload).pathname : upload;
  return `Patch ${basename(path)}`;
}

function placeFields({ sr, chosen, noVhd, format, freeBytes }: UploadPlace) {
  const why = { named: '', default: ', the default', fallback: ', which can clone VDIs' }[chosen];
  const free = freeBytes === undefined ? 'free space unknown' : `${describeBytes(freeBytes)} free`;
  return [
    ['SR', `${sr.name_label === '' ? sr.uuid : sr.name_label} (${sr.type}${why}), ${free}`],
    ['sent as', noVhd === undefined ? format : `${format}: ${noVhd}`],
  ] as const;
}

function placeObject({ sr, chosen, format, freeBytes }: UploadPlace): object {
  const { uuid, name_label: nameLabel, type } = sr;
  return { sr: { uuid, nameLabel, type, chosen, freeBytes: freeBytes ?? null }, format };
}

function printUploaded(
  { build, vdi, labels }: UploadedImage,
  place: UploadPlace,
  { connection, warnings }: PoolScene,
  raw: RawUploadOptions,
  context: CommandContext,
): void {
  if (raw.json === true) {
    const { warnings: ofBuild, ...built } = build;
    context.printJson({
      ok: true,
      server: connection.name,
      vdi: { uuid: vdi.uuid, nameLabel: vdi.nameLabel, virtualSizeBytes: vdi.virtualSize },
      ...placeObject(place),
      labels,
      ...built,
      warnings: [...warnings, ...ofBuild],
    });
    return;
  }
  if (raw.quiet === true) return;
  const columns = columnsOf(process.stdout);
  const fields = [['VDI', vdi.uuid], ['name', vdi.nameLabel], ...placeFields(place)] as const;
  const lines = [
    `uploaded to ${connection.name}`,
    ...fieldLines(fields, columns),
    ...summaryLines(build, columns),
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
}

function printDryRun(
  plan: Plan,
  place: UploadPlace,
  { connection, warnings }: PoolScene,
  raw: RawUploadOptions,
  context: CommandContext,
): void {
  const { virtualSize, outputLength, payloadLength } = plan;
  if (raw.json === true) {
    const sizes = { virtualSize, outputLength, payloadLength };
    context.printJson({
      ok: true,
      dryRun: true,
      server: connection.name,
      ...placeObject(place),
      ...sizes,
      warnings,
    });
    return;
  }
  const fields = [
    ...placeFields(place),
    ['disk', `${describeBytes(virtualSize)}, before the SR rounds it up`],
    ['to send', describeBytes(outputLength)],
    ['upload', describeBytes(payloadLength)],
  ] as const;
  const lines = [
    `nothing was uploaded to ${connection.name}`,
    ...fieldLines(fields, columnsOf(process.stdout)),
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
}

async function dryRun(
  scene: PoolScene,
  place: UploadPlace,
  build: BuildInput,
  raw: RawUploadOptions,
  context: CommandContext,
): Promise<void> {
  const { planPatchImage } = await import('../build/plan-image.js');
  const { requireSpace } = await import('../upload/choose-place.js');
  const plan = await planPatchImage(build);
  requireSpace(place, plan.virtualSize, scene.connection.name);
  printDryRun(plan, place, scene, raw, context);
}

async function run(
  scene: PoolScene,
  upload: string,
  build: Omit<BuildInput, 'format'>,
  raw: RawUploadOptions,
  context: CommandContext,
): Promise<void> {
  const { connection } = scene;
  const { choosePlace } = await import('../upload/choose-place.js');
  const place = await choosePlace(connection, { sr: raw.sr, format: raw.format });
  if (place.freeBytes === undefined) scene.warn('the pool does not say how much space is free in that SR');
  if (raw.dryRun === true) {
    const input = { ...build, format: place.format, signal: context.interrupts.signal };
    return await dryRun(scene, place, input, raw, context);
  }
  const { uploadImage } = await import('../upload/upload-image.js');
  const showBar = process.stderr.isTTY && raw.progress && raw.quiet !== true && raw.json !== true;
  const bar = showBar ? await startProgressBar() : undefined;
  // A raw image is much longer than its upload: what counts is what goes out.
  const onProgress = (progress: Progress): void => {
    if (progress.phase !== 'write') bar?.report(progress);
  };
  const watch: ImportWatch = {
    sent: (bytes, totalBytes) => bar?.report({ phase: 'send', bytes, totalBytes }),
    waiting: (fraction) => bar?.report({ phase: 'wait', bytes: fraction, totalBytes: 1 }),
  };
  const uploaded = await uploadImage({
    connection,
    place,
    nameLabel: nameOf(upload, raw),
    version: packageVersion(),
    build: { ...build, ...(bar === undefined ? {} : { onProgress }) },
    watch: bar === undefined ? undefined : watch,
    onSlowUndo: () => {
      bar?.stop();
      scene.warn('the upload has failed; the pool is asked to destroy its VDI, which takes a while');
    },
  }).finally(() => bar?.stop());
  printUploaded(uploaded, place, scene, raw, context);
}

async function upload(name: string, raw: RawUploadOptions, context: CommandContext): Promise<void> {
  context.useJson(raw.json === true ? 'stdout' : undefined);
  const verify = verifyOption(raw);
  if (name === '-' && process.stdin.isTTY) {
    throw new PatchVdiError('usage', 'standard input is a terminal', {
      context: { found: 'a terminal', expected: 'an upload through a pipe or a redirected file' },
      hint: 'name the file instead of -',
    });
  }
  const build = {
    ...readShapeOptions(raw),
    ...readSourceOptions(raw),
    source: sourceOption(name, raw.header),
    verify,
    spoolFolder: raw.spoolDir,
  };
  const { checkVerify } = await import('../build/options.js');
  checkVerify(verify);
  await withPool(raw, context, (scene) => run(scene, name, build, raw, context), name === '-');
}

export function uploadCommand(context: CommandContext): Command {
  const command = new Command('upload')
    .summary('store an upload as a VDI of a XenServer or XCP-ng pool')
    .description(
      'Builds the disk image of an upload straight into a new VDI of a pool, in one pass, and seals it only if the signature holds.',
    )
    .argument('<upload>', 'the file to put into the image, by name or URL; - for standard input')
    .option('--sr <name>', 'the storage repository, by uuid or name; default: that of the pool')
    .addOption(
      new Option('--format <format>', 'auto: VHD, or raw where the SR cannot take VHD')
        .choices(['auto', 'vhd', 'raw'])
        .default('auto'),
    )
    .option('--name <text>', 'name of the VDI; default: that of the file')
    .option('--dry-run', 'choose the SR, check the space, plan the image, and change nothing');
  addVerifyOptions(addPoolOptions(command));
  return addSourceOptions(addShapeOptions(command))
    .option('--spool-dir <folder>', 'where an upload is kept that must be spooled; default: TMPDIR')
    .option('--quiet', 'print nothing but errors')
    .option('--no-progress', 'no progress bar')
    .addHelpText('after', NOTES)
    .action((name: string, raw: RawUploadOptions) => upload(name, raw, context));
}
