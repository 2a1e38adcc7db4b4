import { closeSync, fsyncSync, ftruncateSync, openSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { PatchVdiError } from '../errors.js';
import type { Image } from '../inspect/image.js';
import { runsOf } from '../io/data-runs.js';
import { writeFailure } from '../io/system-errors.js';
import { writeAt } from '../io/write-at.js';
import { describeBytes, MIB } from '../units.js';

/** One read. */
const READ_BYTES = MIB;
/** Beside the copy: a token, keyrings, metadata of the file system that it lies in. */
const MARGIN_BYTES = MIB;

export interface CopyOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((bytes: number, totalBytes: number) => void) | undefined;
}

/** Bytes of the disk in the image. @throws PatchVdiError `usage` for a stream */
function sizeOf(image: Image): number {
  if (image.virtualSize !== undefined && !image.forwardOnly) return image.virtualSize;
  throw new PatchVdiError('usage', 'a stream cannot be applied', {
    context: { path: image.name, found: 'a stream', expected: 'a file, a device, or a server with ranges' },
    hint: 'save it to a file first',
  });
}

/**
 * The whole disk must fit, not only what is in it now: the patch unpacks itself there, and must not find the disk full
 * half way.
 *
 * @throws PatchVdiError `space`
 */
async function requireSpace(folder: string, diskBytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  const freeBytes = bavail * bsize;
  if (freeBytes >= diskBytes + MARGIN_BYTES) return;
  throw new PatchVdiError('space', 'there is no room for a private copy of the disk', {
    context: {
      operation: 'copy the disk',
      path: folder,
      found: `${describeBytes(freeBytes)} free`,
      expected: `${describeBytes(diskBytes + MARGIN_BYTES)}: the disk, and what the patch unpacks in it`,
    },
    hint: 'name a folder with more room: --scratch-folder',
    leftBehind: 'nothing was touched',
  });
}

/**
 * Copies the disk of an image, whatever its format, to a new raw file with holes where it is zero.
 *
 * @param path a name that is not in use, in a private folder
 * @throws PatchVdiError `image` when the image cannot be read, `space`, `sink`, `usage` for a stream; the reason of the
 *   signal
 */
export async function copyDisk(image: Image, path: string, options: CopyOptions = {}): Promise<void> {
  const { signal, onProgress } = options;
  const diskBytes = sizeOf(image);
  await requireSpace(dirname(path), diskBytes);
  const runs = image.vhd?.allocatedRuns() ?? [{ offset: 0, length: diskBytes }];
  const buffer = new Uint8Array(READ_BYTES);
  let fd: number | undefined;
  try {
    fd = openSync(path, 'wx', 0o600);
    ftruncateSync(fd, diskBytes);
    for (const { offset, length } of runs) {
      for (let done = 0; done < length; done += READ_BYTES) {
        signal?.throwIfAborted();
        const bytes = buffer.subarray(0, Math.min(READ_BYTES, length - done));
        await image.readInto(bytes, offset + done);
        for (const run of runsOf(bytes, offset + done)) writeAt(fd, path, run.bytes, run.offset);
        onProgress?.(offset + done + bytes.length, diskBytes);
      }
    }
    // What cannot be stored must show now, not when the kernel writes back behind a running patch.
    fsyncSync(fd);
  } catch (error) {
    if (error instanceof PatchVdiError) throw error;
    signal?.throwIfAborted();
    throw writeFailure(path, 0, error);
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}
