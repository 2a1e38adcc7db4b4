import { Command } from 'commander';
import { PatchVdiError } from '../errors.js';
import { findingError, type Finding } from '../findings.js';
import { mapDisk, type DiskMap } from '../inspect/disk-map.js';
import { drawSvg } from '../inspect/draw-svg.js';
import { drawText, shortBytes } from '../inspect/draw-text.js';
import type { Image } from '../inspect/image.js';
import { inspectImage, type InspectReport } from '../inspect/report.js';
import { FileSink, requireFreeName } from '../io/file-sink.js';
import { painter } from './colours.js';
import { findingLines, inspectPage } from './inspect-page.js';
import { listLine, listedEntry } from './list-line.js';
import { addOpenOptions, withImage, type RawOpenOptions } from './opened-image.js';
import type { CommandContext } from './program.js';
import { columnsOf, visible } from './text.js';

interface RawInspectOptions extends RawOpenOptions {
  readonly path?: string;
  readonly map?: boolean;
  readonly svg?: string;
  readonly force?: boolean;
  readonly list?: boolean;
  readonly json?: boolean;
}

const NOTES = `
Exit codes: 0 no error found; 2 usage, 6 the image is damaged or cannot be read.`;

/** Cells of the picture: sixteen rows of 64. */
const MAP_CELLS = 1024;

/** The error that a damaged image ends with, when everything was printed already. */
export function damage(findings: readonly Finding[]): PatchVdiError | undefined {
  const first = findings.find(({ severity }) => severity === 'error');
  return first === undefined ? undefined : findingError(first);
}

async function mapOf(image: Image, report: InspectReport): Promise<DiskMap> {
  const filesystem = await image.filesystem();
  const file = report.patch === undefined ? undefined : await filesystem.file(report.patch.path);
  return await mapDisk(image, filesystem, file, MAP_CELLS);
}

function refuseStream(image: Image, option: string): void {
  if (!image.forwardOnly) return;
  throw new PatchVdiError('usage', `${option} needs an image that can be read at any place`, {
    context: {
      path: image.name,
      found: 'a stream',
      expected: 'a file, a device, or a server that offers ranges',
    },
    hint: 'save it to a file first',
  });
}

async function writeSvg(image: Image, report: InspectReport, path: string, force: boolean): Promise<void> {
  const sink = new FileSink(path, force);
  try {
    const map = await mapOf(image, report);
    const { filesystem, patch } = report;
    const facts = [
      `${report.image.format}, ${shortBytes(map.diskBytes)} disk`,
      ...(filesystem === undefined ? [] : [filesystem.type]),
      ...(patch === undefined ? [] : [`patch of ${shortBytes(patch.size)}`]),
    ];
    const title = visible(image.name.split('/').at(-1) ?? image.name, 80);
    const bytes = Buffer.from(drawSvg(map, { title, subtitle: facts.join(', ') }));
    sink.write(bytes, 0);
    await sink.commit(bytes.length);
  } finally {
    await sink.discard();
  }
}

/** The list alone goes to standard output; what is missing from it, and why, to standard error. */
async function printList(image: Image): Promise<void> {
  const filesystem = await image.filesystem();
  for await (const entry of filesystem.list()) process.stdout.write(`${listLine(entry)}\n`);
  const columns = columnsOf(process.stderr);
  for (const finding of image.findings) {
    process.stderr.write(`${findingLines(finding, columns).join('\n')}\n`);
  }
}

async function listed(image: Image): Promise<object[]> {
  const files: object[] = [];
  for await (const entry of (await image.filesystem()).list()) files.push(listedEntry(entry));
  return files;
}

function exitWithDamage(image: Image, context: CommandContext): void {
  const error = damage(image.findings);
  if (error !== undefined) context.exitWith(error);
}

/** The list is a page of its own. */
function refuseBoth(raw: RawInspectOptions): void {
  const other = raw.map === true ? '--map' : raw.svg === undefined ? undefined : '--svg';
  if (raw.list !== true || raw.json === true || other === undefined) return;
  throw new PatchVdiError('usage', '--list prints the list and nothing else', {
    context: { found: `--list and ${other}`, expected: 'one of them, or --json' },
  });
}

async function inspect(name: string, raw: RawInspectOptions, context: CommandContext): Promise<void> {
  context.useJson(raw.json === true ? 'stdout' : undefined);
  const { signal } = context.interrupts;
  refuseBoth(raw);
  if (raw.svg !== undefined) requireFreeName(raw.svg, raw.force ?? false);
  await withImage(name, raw, context, async (image) => {
    if (raw.map === true || raw.svg !== undefined) refuseStream(image, raw.map === true ? '--map' : '--svg');
    if (raw.list === true && raw.json !== true) {
      await printList(image);
      exitWithDamage(image, context);
      return;
    }
    const report = await inspectImage(image, {
      path: raw.path === undefined ? undefined : `/${raw.path.replace(/^\/+/, '')}`,
      signal,
      thorough: raw.map === true,
    });
    const columns = columnsOf(process.stdout);
    const map = raw.map === true && report.filesystem !== undefined ? await mapOf(image, report) : undefined;
    if (raw.json === true) {
      const files = raw.list === true ? await listed(image) : undefined;
      // Listing and drawing read more, and find more.
      const healthy = damage(image.findings) === undefined;
      context.printJson({ ok: true, ...report, healthy, map, files });
    } else {
      const lines = inspectPage(report, columns);
      if (map !== undefined) lines.push('', ...drawText(map, columns, painter(process.stdout)));
      process.stdout.write(`${lines.join('\n')}\n`);
    }
    if (raw.svg !== undefined && report.filesystem !== undefined) {
      await writeSvg(image, report, raw.svg, raw.force ?? false);
    }
    exitWithDamage(image, context);
  });
}

export function inspectCommand(context: CommandContext): Command {
  const command = new Command('inspect')
    .summary('tell what is in a patch VDI')
    .description(
      'Looks into a disk image, raw or VHD, without mounting it: its format, its file system, the file "patch", what is wrong with any of them. Reads only what it needs.',
    )
    .argument('<image>', 'the image, by name or URL; a block device; - for a raw image on standard input')
    .option('--path <path>', 'another file than /patch')
    .option('--list', 'list all files instead')
    .option('--map', 'draw the disk: superblock, metadata, payload, free space')
    .option('--svg <file>', 'the same picture, as SVG')
    .option('--force', 'replace an existing SVG');
  return addOpenOptions(command)
    .option('--json', 'print one object')
    .addHelpText('after', NOTES)
    .action((image: string, raw: RawInspectOptions) => inspect(image, raw, context));
}
