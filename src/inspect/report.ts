import type { FindingCode } from '../finding-codes.js';
import { bitmapBytes, checkBitmaps } from '../ext/check-bitmaps.js';
import type { ExtFilesystem } from '../ext/filesystem.js';
import type { Finding } from '../findings.js';
import { lookAtUpload, type UploadLook } from '../signature/look.js';
import { KIB, MIB } from '../units.js';
import { describeFilesystem, type FilesystemReport } from './filesystem-report.js';
import type { Image, OpenedFormat } from './image.js';
import { describePatch, type PatchReport } from './patch-report.js';
import { unreadableFinding } from './unreadable.js';
import { describeVhd, type VhdReport } from './vhd-report.js';

/** What `inspect` tells of an image: plain data, sizes in bytes, times as ISO 8601 in UTC. */
export interface InspectReport {
  readonly image: {
    readonly name: string;
    readonly format: OpenedFormat;
    /** Undefined for a stream whose length nobody told. */
    readonly fileBytes: number | undefined;
    readonly virtualSize: number | undefined;
    /** Where the file system starts in the disk. */
    readonly offsetBytes: number;
  };
  readonly vhd: VhdReport | undefined;
  /** Undefined when it cannot be opened; a finding says why. */
  readonly filesystem: FilesystemReport | undefined;
  /** The file `patch`, or what `--path` names; undefined when there is none, and a finding says so. */
  readonly patch: PatchReport | undefined;
  /** What the first bytes of it claim to be; nothing about a signature is checked here. */
  readonly upload: UploadLook | undefined;
  /** What a patch can write beside itself. */
  readonly scratch: { readonly freeBytes: number; readonly freeInodes: number } | undefined;
  readonly bitmapsChecked: boolean;
  /** Without an error among the findings. */
  readonly healthy: boolean;
  readonly findings: readonly Finding[];
}

/** What `inspectImage` looks at, and how thoroughly. */
export interface InspectOptions {
  /** The file to look at; default `/patch`. */
  readonly path?: string | undefined;
  /** Reads and checks every bitmap, however many there are. By default only as many as take no time. */
  readonly thorough?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** The bitmaps of a disk of 16 GiB with 4 KiB blocks: about what it costs to look at a disk at all. */
const CHEAP_BITMAP_BYTES = MIB;
/** Enough to see every One-Pass packet of a signed message, packed or not. */
const LOOK_BYTES = 64 * KIB;

async function attempt<T>(image: Image, code: FindingCode, work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    image.report(unreadableFinding(code, error));
    return undefined;
  }
}

async function lookAtBitmaps(image: Image, ext: ExtFilesystem, options: InspectOptions): Promise<boolean> {
  if (image.forwardOnly) return false;
  if (options.thorough !== true && bitmapBytes(ext) > CHEAP_BITMAP_BYTES) return false;
  const { signal } = options;
  const checked = await attempt(image, 'bitmaps-unreadable', async () => {
    await checkBitmaps(ext, signal === undefined ? {} : { abortSignal: signal });
    return true;
  });
  return checked === true;
}

/** The first bytes of the file, as far as it goes. */
async function firstBytes(image: Image, path: string): Promise<Uint8Array> {
  const file = await (await image.filesystem()).file(path);
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of file.pieces()) {
    const length = Math.min(part.length, LOOK_BYTES - bytes);
    if (part.inline !== undefined) parts.push(part.inline.subarray(0, length));
    else if (part.diskOffset === undefined) parts.push(new Uint8Array(length));
    else parts.push(await image.read(image.offsetBytes + part.diskOffset, length));
    bytes += length;
    if (bytes >= LOOK_BYTES) break;
  }
  return Buffer.concat(parts);
}

/**
 * Looks at an opened image and tells what is there. Whatever is damaged becomes a finding, and the rest is told all
 * the same.
 *
 * @throws what is not about the image: an abort, a defect
 */
export async function inspectImage(image: Image, options: InspectOptions = {}): Promise<InspectReport> {
  const path = options.path ?? '/patch';
  const filesystem = await attempt(image, 'filesystem-unreadable', () => image.filesystem());
  const patch =
    filesystem === undefined
      ? undefined
      : await attempt(image, 'patch-unreadable', () => describePatch(image, filesystem, path));
  const upload =
    patch === undefined || patch.size === 0
      ? undefined
      : await attempt(image, 'patch-data-unreadable', async () =>
          lookAtUpload(await firstBytes(image, path), patch.size),
        );
  const bitmapsChecked =
    filesystem === undefined ? false : await lookAtBitmaps(image, filesystem.ext, options);
  const described = filesystem === undefined ? undefined : describeFilesystem(filesystem);
  return {
    image: {
      name: image.name,
      format: image.format,
      fileBytes: image.fileBytes,
      virtualSize: image.virtualSize,
      offsetBytes: image.offsetBytes,
    },
    vhd: image.vhd === undefined ? undefined : describeVhd(image.vhd),
    filesystem: described,
    patch,
    upload,
    scratch:
      described === undefined
        ? undefined
        : { freeBytes: described.freeBytes, freeInodes: described.freeInodes },
    bitmapsChecked,
    healthy: !image.findings.some(({ severity }) => severity === 'error'),
    findings: image.findings,
  };
}
