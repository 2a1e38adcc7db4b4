import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { buildPatchImage } from '../build/build-image.js';
import { uuidBytes } from '../build/identity.js';
import type { ImageFormat } from '../plan/plan.js';
import type { ToolEnvironment } from '../tools/find.js';
import { makePrivateFolder } from '../tools/private-folder.js';
import { DiskFile, withDiskFile } from './disk-file.js';
import type { DiskFault, Fault, Shape } from './faults/fault.js';
import { packRaw, packVhd } from './pack-vhd.js';
import { seededUuid, type Seed } from './seed.js';
import type { Upload, UploadBench } from './uploads.js';

export interface ImageRequest {
  /** A name that does not exist yet; left complete, or with nothing under it. */
  readonly path: string;
  /** Makes the identity of this image another one than that of the next. */
  readonly name: string;
  readonly shape: Shape;
  readonly fault: Fault | undefined;
  /** What goes in when the fault is not one of the upload. */
  readonly upload: (bench: UploadBench) => Promise<Upload>;
  readonly uploads: UploadBench;
  readonly seed: Seed;
  readonly epochSeconds: number;
  /** Of the disk, bytes; default: four times the upload. */
  readonly diskBytes?: number | undefined;
  readonly environment: ToolEnvironment;
  readonly abortSignal?: AbortSignal | undefined;
}

export interface MadeImage {
  readonly upload: Upload;
  readonly uploadBytes: number;
  /** Lower-case hex. */
  readonly uploadSha256: string;
  /** Of the disk, as `build` made it. */
  readonly virtualSize: number;
  /** What a stream of the image is to be announced with; its length, unless the fault is that it has another. */
  readonly announcedLength: number;
}

interface Identity {
  readonly filesystemUuid: string;
  readonly vhdUuid: string;
}

/** Every image of a kit is a disk of its own: a pool refuses a second one with the same id. */
function identityOf({ seed, name }: ImageRequest): Identity {
  return {
    filesystemUuid: seededUuid(seed, `file system of ${name}`),
    vhdUuid: seededUuid(seed, `VHD of ${name}`),
  };
}

async function build(
  request: ImageRequest,
  format: ImageFormat,
  upload: Upload,
  path: string,
): Promise<{ virtualSize: number; outputLength: number; sha256: string; payloadLength: number }> {
  const { filesystemUuid, vhdUuid } = identityOf(request);
  const result = await buildPatchImage({
    source: upload.path,
    sink: { path },
    verify: { unsigned: true },
    format,
    filesystem: request.shape.filesystem,
    size: request.diskBytes,
    uuid: filesystemUuid,
    vhdUuid,
    sourceDateEpoch: request.epochSeconds,
    // What is put in is what is to be in, whatever it looks like.
    unzip: false,
    environment: request.environment,
    signal: request.abortSignal,
  });
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(upload.path)) hash.update(chunk as Uint8Array);
  return { ...result, sha256: hash.digest('hex') };
}

/** Builds a raw disk, has the fault made on it, and packs it into the format that is wanted. */
async function buildAndChange(
  request: ImageRequest,
  fault: DiskFault,
  upload: Upload,
): Promise<Awaited<ReturnType<typeof build>>> {
  const { environment, epochSeconds, abortSignal, shape, seed } = request;
  const folder = await makePrivateFolder(environment, 'kit');
  try {
    const diskPath = join(folder, 'disk');
    const built = await build(request, 'raw', upload, diskPath);
    await withDiskFile(diskPath, async (disk) => {
      const call = { environment, epochSeconds, abortSignal };
      await fault.edit({ disk, folder, filesystem: shape.filesystem, call, seed });
      pack(request, fault, disk);
    });
    return built;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function pack(request: ImageRequest, fault: DiskFault, disk: DiskFile): void {
  const identity = {
    uniqueId: uuidBytes(identityOf(request).vhdUuid),
    createdSeconds: request.epochSeconds,
  };
  const target = new DiskFile(request.path, true);
  try {
    switch (request.shape.format) {
      case 'raw':
        return packRaw(disk, target);
      case 'vhd-fixed':
        return packRaw(disk, target, identity);
      case 'vhd':
        return packVhd(disk, target, identity, fault.packing?.(request.seed));
    }
  } finally {
    target.close();
  }
}

/**
 * Makes a test image, good or with one fault. The same request makes the same bytes.
 *
 * @throws PatchVdiError of every kind that `build` has; what is left under the name then is the caller's to remove
 */
export async function makeImage(request: ImageRequest): Promise<MadeImage> {
  const { fault, uploads, shape, path } = request;
  const upload = await (fault?.layer === 'upload' ? fault.make(uploads) : request.upload(uploads));
  const built =
    fault?.layer === 'disk'
      ? await buildAndChange(request, fault, upload)
      : await build(request, shape.format, upload, path);
  let announcedLength: number | undefined;
  await withDiskFile(path, (file) => {
    announcedLength = file.sizeBytes;
    if (fault?.layer !== 'file') return;
    fault.edit(file);
    if (!fault.isStream) announcedLength = file.sizeBytes;
  });
  return {
    upload,
    uploadBytes: built.payloadLength,
    uploadSha256: built.sha256,
    virtualSize: built.virtualSize,
    announcedLength: announcedLength ?? built.outputLength,
  };
}
