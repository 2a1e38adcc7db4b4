import { Option, type Command } from 'commander';
import type { ImageOptions } from '../build/options.js';
import { PatchVdiError } from '../errors.js';
import { isBlockDevice } from '../io/block-device.js';
import { isHttpUrl } from '../io/http.js';
import { IMAGE_FORMATS, type ImageFormat } from '../plan/plan.js';
import { FILESYSTEMS } from '../tools/mke2fs.js';
import { parseByteSize } from '../units.js';
import { environmentOfProcess, sourceDateEpoch } from './environment.js';

/** Options of every command that shapes an image, as commander hands them over. */
export interface RawImageOptions {
  readonly format?: string;
  readonly filesystem?: string;
  readonly contentLength?: string;
  readonly size?: string;
  readonly label?: string;
  readonly uuid?: string;
  readonly vhdUuid?: string;
  readonly sourceDateEpoch?: string;
}

export function addImageOptions(command: Command): Command {
  return addShapeOptions(
    command.addOption(
      new Option('--format <format>', 'default: by the ending of the output').choices(IMAGE_FORMATS),
    ),
  );
}

/** All but the format. */
export function addShapeOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--filesystem <name>', 'ext2 and ext3 are for old hosts')
        .choices(FILESYSTEMS)
        .default('ext4'),
    )
    .option('--content-length <bytes>', 'length of an upload that comes through a pipe')
    .option('--size <size>', 'size of the disk, e.g. 6G (rounded up to 2 MiB); default: 4 x the upload')
    .option('--label <text>', 'label of the file system, up to 16 bytes')
    .option('--uuid <uuid>', 'UUID of the file system')
    .option('--vhd-uuid <uuid>', 'UUID of the VHD')
    .option(
      '--source-date-epoch <seconds>',
      'same inputs, same bytes: time for all timestamps, seed of all UUIDs',
    );
}

/** @throws PatchVdiError `usage` */
export function byteSize(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const bytes = parseByteSize(text);
  if (bytes !== undefined) return bytes;
  throw new PatchVdiError('usage', `${option} is not a size`, {
    context: { found: JSON.stringify(text), expected: 'bytes, or a number with K, M, G, T (powers of 1024)' },
  });
}

const FORMAT_OF_ENDING: Readonly<Record<string, ImageFormat>> = { vhd: 'vhd', raw: 'raw', img: 'raw' };

/** The part of an output that may end in a format; of a URL only the path, and never its credentials. */
function placeOf(output: string | undefined): string {
  if (output === undefined || output === '-') return 'no output file';
  if (!isHttpUrl(output)) return output;
  return URL.canParse(output) ? new URL(output).pathname : 'no URL';
}

function formatOf(option: string | undefined, output: string | undefined): ImageFormat {
  const chosen = IMAGE_FORMATS.find((format) => format === option);
  if (chosen !== undefined) return chosen;
  const place = placeOf(output);
  if (output !== undefined && isBlockDevice(output)) return 'raw';
  const ending = /\.([^./]+)$/.exec(place)?.[1]?.toLowerCase();
  const format = ending === undefined ? undefined : FORMAT_OF_ENDING[ending];
  if (format !== undefined) return format;
  throw new PatchVdiError('usage', 'the format of the image is not given', {
    context: { found: place, expected: 'an output ending in .vhd, .raw or .img' },
    hint: 'add --format vhd, vhd-fixed or raw',
  });
}

/** @throws PatchVdiError `usage` */
export function readImageOptions(raw: RawImageOptions, output: string | undefined): ImageOptions {
  return { format: formatOf(raw.format, output), ...readShapeOptions(raw) };
}

/** All but the format. @throws PatchVdiError `usage` */
export function readShapeOptions(raw: Omit<RawImageOptions, 'format'>): Omit<ImageOptions, 'format'> {
  return {
    filesystem: FILESYSTEMS.find((name) => name === raw.filesystem),
    contentLength: byteSize('--content-length', raw.contentLength),
    size: byteSize('--size', raw.size),
    label: raw.label,
    uuid: raw.uuid,
    vhdUuid: raw.vhdUuid,
    sourceDateEpoch: sourceDateEpoch(raw.sourceDateEpoch),
    environment: environmentOfProcess(),
  };
}
