import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import type { Stats } from 'node:fs';
import { PatchVdiError, systemErrorCode } from '../errors.js';
import type { UploadSource } from './chunk.js';
import { positionOf } from './descriptor-position.js';
import { FileSource } from './file-source.js';
import { PipeSource } from './pipe-source.js';

function cannotRead(path: string, cause: unknown): PatchVdiError {
  const hint = systemErrorCode(cause) === 'ENOENT' ? 'check the name of the upload' : undefined;
  return new PatchVdiError('usage', 'the upload cannot be opened', {
    context: { operation: 'open', path, found: cause instanceof Error ? cause.message : String(cause) },
    ...(hint === undefined ? {} : { hint }),
    cause,
  });
}

function sourceOf(
  name: string,
  fd: number,
  stats: Stats,
  announced: number | undefined,
  inherited: boolean,
): UploadSource {
  if (stats.isDirectory()) throw cannotRead(name, new Error('it is a folder'));
  if (stats.isFIFO() || stats.isSocket()) return new PipeSource(name, fd, announced);
  if (!stats.isFile()) return new FileSource(name, fd, announced, null, !inherited);
  const position = inherited ? positionOf(fd) : 0;
  const length = Math.max(0, stats.size - position);
  if (announced !== undefined && announced !== length) {
    throw new PatchVdiError('usage', 'the upload does not have the announced length', {
      context: { path: name, found: `${length} bytes`, expected: `${announced} bytes (--content-length)` },
      hint: 'leave the length out: that of a file is known',
    });
  }
  return new FileSource(name, fd, length, inherited ? null : 0, !inherited);
}

/**
 * Opens an upload by path: a regular file, a named pipe, `/dev/fd/63`.
 *
 * @param announced length in bytes that the user gave, if any
 * @throws PatchVdiError `usage`
 */
export function openPathSource(path: string, announced: number | undefined): UploadSource {
  let fd: number;
  try {
    // Without O_NONBLOCK the open of a named pipe would wait for its writer, and Ctrl-C with it.
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    throw cannotRead(path, error);
  }
  try {
    return sourceOf(path, fd, fstatSync(fd), announced, false);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/**
 * The upload on an open descriptor, usually standard input; it stays open.
 *
 * @throws PatchVdiError `usage` for a folder, or an announced length that a file does not have
 */
export function openDescriptorSource(name: string, fd: number, announced: number | undefined): UploadSource {
  return sourceOf(name, fd, fstatSync(fd), announced, true);
}
