import type { Finding } from '../findings.js';
import type { FilesystemReport } from '../inspect/filesystem-report.js';
import type { PatchReport } from '../inspect/patch-report.js';
import type { InspectReport } from '../inspect/report.js';
import type { VhdReport } from '../inspect/vhd-report.js';
import { describeBytes } from '../units.js';
import { fieldLines, visible, wrapWords } from './text.js';

type Field = readonly [string, string | undefined];

const FORMAT_NAMES: Readonly<Record<InspectReport['image']['format'], string>> = {
  raw: 'raw',
  vhd: 'VHD, dynamic',
  'vhd-fixed': 'VHD, fixed',
  'vhd-differencing': 'VHD, differencing',
};

/** `2026-11-21 22:10:11 UTC` */
function timeText(iso: string | undefined): string | undefined {
  return iso?.replace('T', ' ').replace(/(\.\d+)?Z$/, ' UTC');
}

/** When the only error is that the file is not there: the disk is good, and not what it was taken for. */
export function missingFileText(findings: readonly Finding[]): string | undefined {
  const [error, ...others] = findings.filter(({ severity }) => severity === 'error');
  if (error?.code !== 'patch-missing' || others.length > 0) return undefined;
  return `NO FILE ${visible(error.structure)}, and no damage found`;
}

function verdict({ findings, filesystem }: InspectReport): string {
  const errors = findings.filter(({ severity }) => severity === 'error').length;
  const warnings = findings.length - errors;
  const count = (number: number, word: string): string => `${number} ${word}${number === 1 ? '' : 's'}`;
  if (filesystem === undefined) return `NO FILE SYSTEM that can be read: ${count(errors, 'error')}`;
  const missing = missingFileText(findings);
  if (missing !== undefined) return missing;
  if (errors > 0)
    return `DAMAGED: ${count(errors, 'error')}${warnings > 0 ? `, ${count(warnings, 'warning')}` : ''}`;
  return warnings > 0 ? `no damage found, ${count(warnings, 'warning')}` : 'no damage found';
}

function imageFields({ image, vhd }: InspectReport): Field[] {
  const file = image.fileBytes === undefined ? '' : `, ${describeBytes(image.fileBytes)}`;
  const allocated =
    vhd?.allocatedBlockCount === undefined
      ? ''
      : `, ${vhd.allocatedBlockCount} of ${vhd.blockCount} blocks of ${describeBytes(vhd.blockBytes ?? 0)} allocated`;
  const disk =
    image.virtualSize === undefined ? 'of unknown size (a stream)' : describeBytes(image.virtualSize);
  return [
    ['image', `${FORMAT_NAMES[image.format]}${file}`],
    ['disk', `${disk}${allocated}`],
    ['offset', image.offsetBytes === 0 ? undefined : `the file system starts at ${image.offsetBytes}`],
  ];
}

function vhdFields(vhd: VhdReport): Field[] {
  const creator = `${visible(vhd.creatorApplication)} ${vhd.creatorVersion}`;
  const parent = vhd.parent && `${vhd.parent.name ?? 'missing'}\nUUID ${vhd.parent.uniqueId}`;
  return [
    ['VHD', `UUID ${vhd.uniqueId}\nmade ${timeText(vhd.created)} by ${creator}`],
    ['parent', parent],
  ];
}

function filesystemFields(filesystem: FilesystemReport): Field[] {
  const label = filesystem.label === '' ? '' : `, label ${filesystem.label}`;
  const written = timeText(filesystem.lastWritten);
  const mounted = timeText(filesystem.lastMounted);
  const times = [
    ...(filesystem.made === undefined ? [] : [`made ${timeText(filesystem.made)}`]),
    ...(written === undefined || filesystem.lastWritten === filesystem.made ? [] : [`written ${written}`]),
    mounted === undefined ? 'never mounted' : `mounted ${mounted}`,
  ];
  return [
    ['file system', `${filesystem.type}, UUID ${filesystem.uuid}${label}`],
    [
      'blocks',
      `${filesystem.blockCount} of ${describeBytes(filesystem.blockBytes)}, ${filesystem.groupCount} ${filesystem.groupCount === 1 ? 'group' : 'groups'}; inodes of ${filesystem.inodeBytes} bytes`,
    ],
    ['features', filesystem.features.join(' ')],
    ['state', `${filesystem.state}; ${times.join(', ')}`],
  ];
}

function patchFields(patch: PatchReport): Field[] {
  const { layout } = patch;
  const place = layout.firstByteOffset === undefined ? '' : ` from ${describeBytes(layout.firstByteOffset)}`;
  const pieces =
    patch.storage === 'inline'
      ? 'stored in its inode'
      : layout.extentCount === 1
        ? `in one piece${place}`
        : `in ${layout.extentCount} pieces${place}`;
  return [
    [patch.path === '/patch' ? 'patch' : patch.path, `${describeBytes(patch.size)}, ${pieces}`],
    ['', `mode ${patch.mode}, owner ${patch.uid}:${patch.gid}, modified ${timeText(patch.mtime)}`],
  ];
}

/** A finding with its place and its two sides. */
export function findingLines(finding: Finding, columns: number): string[] {
  const place = finding.offset === undefined ? '' : `, ${finding.space} offset ${finding.offset}`;
  const title = `${finding.severity}: ${visible(finding.structure)}${place} (${finding.code})`;
  return [
    ...wrapWords(title, columns - 4).map((line, index) => `${index === 0 ? '  ' : '    '}${line}`),
    ...fieldLines(
      [
        ['  found', finding.found],
        ['  expected', finding.expected],
        ['  to do', finding.hint],
      ],
      columns,
    ),
  ];
}

/**
 * What a person reads.
 *
 * @param whoVerifies what looks further than an inspection: a command
 */
export function inspectPage(
  report: InspectReport,
  columns: number,
  whoVerifies = 'patch-vdi verify',
): string[] {
  const { vhd, filesystem, patch, upload, scratch, findings } = report;
  const bitmaps = report.bitmapsChecked ? '' : '; block bitmaps not read';
  const fields: Field[] = [
    ...imageFields(report),
    ...(vhd === undefined ? [] : vhdFields(vhd)),
    ...(filesystem === undefined ? [] : filesystemFields(filesystem)),
    ...(patch === undefined ? [] : patchFields(patch)),
    [
      'signature',
      upload &&
        `${upload.description}${upload.kind === 'signed message' ? `\nnot checked here: ${whoVerifies} does` : ''}`,
    ],
    [
      'scratch',
      scratch && `${describeBytes(scratch.freeBytes)} free beside it, ${scratch.freeInodes} inodes`,
    ],
    ['health', `${verdict(report)}${filesystem === undefined ? '' : bitmaps}`],
  ];
  return [
    ...wrapWords(visible(report.image.name), columns),
    ...fieldLines(fields, columns),
    ...(findings.length === 0 ? [] : ['', ...findings.flatMap((finding) => findingLines(finding, columns))]),
  ];
}
