import { statfs } from 'node:fs/promises';
import { buildPatchImage } from '../build/build-image.js';
import type { ToolEnvironment } from '../tools/find.js';
import type { PatchDownload } from './download.js';
import type { HostPatch } from './host-side.js';
import { patchVdiSize, requireSpace } from './patch-rules.js';
import { PoolError } from './pool-error.js';
import type { PatchPolicy } from './receive-patch.js';

export interface FetchedImageOptions {
  /** A name that is not in use, in a private folder. */
  readonly path: string;
  /** Of the bytes. @throws PoolError CANNOT_FIND_PATCH, CANNOT_FETCH_PATCH */
  readonly download: () => Promise<PatchDownload>;
  readonly patch: HostPatch;
  readonly policy: PatchPolicy;
  readonly environment: ToolEnvironment;
  readonly signal?: AbortSignal | undefined;
  /** From 0 to 1. */
  readonly onProgress?: ((fraction: number) => void) | undefined;
}

/** As for the VDI of an upload: all of it may be filled. @throws PoolError OUT_OF_SPACE */
export async function requireFetchSpace(folder: string, { sizeBytes }: HostPatch): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  requireSpace(patchVdiSize(sizeBytes), bavail * bsize, folder);
}

/**
 * A patch that "is still in the master's dom0 filesystem": fetched, verified, and put into a raw image of its own, as an
 * upload would have been, because it needs a file system with scratch space.
 *
 * @throws PoolError CANNOT_FIND_PATCH, CANNOT_FETCH_PATCH for other bytes than those of
 *   the record; PatchVdiError `signature`, `space`, `tool`, `interrupted`, …; nothing is left then
 */
export async function buildFetchedImage(options: FetchedImageOptions): Promise<void> {
  const { path, patch, policy, environment, signal, onProgress } = options;
  const download = await options.download();
  try {
    const { sha256 } = await buildPatchImage({
      source: download.stream(),
      contentLength: patch.sizeBytes,
      sink: path,
      format: 'raw',
      size: patchVdiSize(patch.sizeBytes),
      verify: { signature: policy },
      unzip: false,
      digest: true,
      environment,
      signal,
      onProgress: ({ bytes }) => onProgress?.(bytes / patch.sizeBytes),
    });
    if (patch.sha256 !== '' && sha256 !== patch.sha256)
      throw new PoolError('CANNOT_FETCH_PATCH', [patch.uuid]);
  } finally {
    await download.close();
  }
}
