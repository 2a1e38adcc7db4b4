import { Option, type Command } from 'commander';
import { PatchVdiError } from '../errors.js';
import type { Image } from '../inspect/image.js';
import { openImage } from '../inspect/open-image.js';
import { isHttpUrl } from '../io/http.js';
import { parseByteSize } from '../units.js';
import type { CommandContext } from './program.js';
import { collect, headersOf, onlyForUrls, seconds } from './source-options.js';

/** Options of every command that looks into an image, as commander hands them over. */
export interface RawOpenOptions {
  readonly offset?: string;
  readonly imageFormat?: string;
  readonly header?: readonly string[];
  readonly idleTimeout?: string;
}

export function addOpenOptions(command: Command): Command {
  return command
    .option('--offset <bytes>', 'where the file system starts, for a disk with partitions (1048576, 1M)')
    .addOption(
      new Option('--image-format <format>', 'what the image is, whatever it looks like').choices([
        'raw',
        'vhd',
      ]),
    )
    .option('--header <header>', '"Name: value" for the server of the image (repeatable)', collect)
    .option(
      '--idle-timeout <seconds>',
      'how long a server or pipe may stall, 0: for ever; default: 300 for http(s), else 0',
    );
}

function offsetBytes(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const bytes = parseByteSize(text);
  if (bytes !== undefined) return bytes;
  throw new PatchVdiError('usage', '--offset is not a number of bytes', {
    context: { found: JSON.stringify(text), expected: 'bytes, or a number with K, M, G, T (powers of 1024)' },
  });
}

function placeOf(image: string, header: readonly string[] | undefined) {
  if (isHttpUrl(image)) return { url: image, headers: headersOf('--header', header ?? []) };
  onlyForUrls('--header', header);
  if (image !== '-') return image;
  if (process.stdin.isTTY) {
    throw new PatchVdiError('usage', 'standard input is a terminal', {
      context: { found: 'a terminal', expected: 'an image through a pipe or a redirected file' },
      hint: 'name the image instead of -',
    });
  }
  return { fd: 0, name: 'standard input' };
}

/**
 * Opens the image that a command is about, lets the command work on it, and closes it, whatever happens.
 *
 * @throws PatchVdiError `usage` | `image`; whatever `use` throws
 */
export async function withImage<T>(
  image: string,
  raw: RawOpenOptions,
  context: CommandContext,
  use: (opened: Image) => Promise<T>,
): Promise<T> {
  const opened = await openImage(placeOf(image, raw.header), {
    offsetBytes: offsetBytes(raw.offset),
    format: raw.imageFormat === 'raw' || raw.imageFormat === 'vhd' ? raw.imageFormat : undefined,
    signal: context.interrupts.signal,
    idleTimeoutSeconds: seconds(raw.idleTimeout),
  });
  try {
    return await use(opened);
  } finally {
    await opened.close();
  }
}
