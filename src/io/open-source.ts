import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { PatchVdiError, systemErrorCode } from '../errors.js';
import type { UploadSource } from './chunk.js';
import { positionOf } from './descriptor-position.js';
import { FileSource } from './file-source.js';
import { PipeSource } from './pipe-source.js';
import { ZIP_SIGNATURE_BYTES, refusingZip, startsZip } from './zip-signature.js';

/** What is known, or wanted, of an upload before it is opened. */
export interface SourceRequest {
  /** Length in bytes that the user gave. */
  readonly announced?: number | undefined;
  /** False: a ZIP archive is the upload itself, and not unpacked. */
  readonly unzip?: boolean | undefined;
  /** Which member of the archive. */
  readonly member?: string | undefined;
}

function cannotRead(path: string, cause: unknown): PatchVdiError {
  const hint = systemErrorCode(cause) === 'ENOENT' ? 'check the name of the upload' : undefined;
  return new PatchVdiError('usage', 'the upload cannot be opened', {
    context: { operation: 'open', path, found: cause instanceof Error ? cause.message : String(cause) },
    ...(hint === undefined ? {} : { hint }),
    cause,
  });
}

function readsAsZip(fd: number): boolean {
  const start = Buffer.alloc(ZIP_SIGNATURE_BYTES);
  return readSync(fd, start, 0, start.length, 0) === start.length && startsZip(start);
}

function requireAnnouncedLength(source: UploadSource, announced: number | undefined): UploadSource {
  if (announced === undefined || announced === source.contentLength) return source;
  throw new PatchVdiError('usage', 'the upload does not have the announced length', {
    context: {
      path: source.name,
      found: `${source.contentLength} bytes`,
      expected: `${announced} bytes (--content-length)`,
    },
    hint: 'leave the length out: that of a file is known',
  });
}

async function fileSource(
  name: string,
  fd: number,
  bytes: number,
  inherited: boolean,
  { announced, unzip = true, member }: SourceRequest,
): Promise<UploadSource> {
  const position = inherited ? positionOf(fd) : 0;
  if (unzip && position === 0 && readsAsZip(fd)) {
    const { openZipSource } = await import('./zip-source.js');
    return requireAnnouncedLength(await openZipSource(name, fd, bytes, member, !inherited), announced);
  }
  requireNoMember(name, member);
  const length = Math.max(0, bytes - position);
  const source = new FileSource(name, fd, length, inherited ? null : 0, !inherited);
  return requireAnnouncedLength(unzip && position > 0 ? refusingZip(source) : source, announced);
}

/** @throws PatchVdiError `usage` when a member is wanted of something that is no archive */
export function requireNoMember(name: string, member: string | undefined): void {
  if (member === undefined) return;
  throw new PatchVdiError('usage', '--member is for ZIP files', {
    context: { path: name, found: 'no ZIP file', expected: 'a file that is a ZIP archive' },
  });
}

async function sourceOf(
  name: string,
  fd: number,
  inherited: boolean,
  request: SourceRequest,
): Promise<UploadSource> {
  const stats = fstatSync(fd);
  if (stats.isDirectory()) throw cannotRead(name, new Error('it is a folder'));
  if (stats.isFile()) return await fileSource(name, fd, stats.size, inherited, request);
  requireNoMember(name, request.member);
  const source =
    stats.isFIFO() || stats.isSocket()
      ? new PipeSource(name, fd, request.announced)
      : new FileSource(name, fd, request.announced, null, !inherited);
  return request.unzip === false ? source : refusingZip(source);
}

/**
 * Opens an upload by path: a regular file, a member of a ZIP file, a named pipe, `/dev/fd/63`.
 *
 * @throws PatchVdiError `usage`; `upload` for an odd archive
 */
export async function openPathSource(path: string, request: SourceRequest): Promise<UploadSource> {
  let fd: number;
  try {
    // Without O_NONBLOCK the open of a named pipe would wait for its writer, and Ctrl-C with it.
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    throw cannotRead(path, error);
  }
  try {
    return await sourceOf(path, fd, false, request);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/**
 * The upload on an open descriptor, usually standard input; it stays open.
 *
 * @throws PatchVdiError `usage` for a folder, or an announced length that a file does not have; `upload`
 */
export function openDescriptorSource(
  name: string,
  fd: number,
  request: SourceRequest,
): Promise<UploadSource> {
  return sourceOf(name, fd, true, request);
}
