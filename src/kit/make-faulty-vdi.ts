import { rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import { PatchVdiError } from '../errors.js';
import { temporaryName } from '../io/dead-outputs.js';
import { FileSink, requireFreeName } from '../io/file-sink.js';
import type { ToolEnvironment } from '../tools/find.js';
import { makePrivateFolder } from '../tools/private-folder.js';
import { GIB, KIB, MIB, describeBytes } from '../units.js';
import { withDiskFile } from './disk-file.js';
import type { Fault, Shape } from './faults/fault.js';
import { KitKeys } from './kit-keys.js';
import { makeImage, type MadeImage } from './make-image.js';
import type { PatchDesign } from './patch-stream.js';
import { UploadBench } from './uploads.js';

/** Every fault has room in such a patch, and in no smaller one. */
const MIN_FAULTY_PATCH_BYTES = 256 * KIB;
/** Its extents stand in the inode itself, where some faults look for them. */
const MAX_FAULTY_PATCH_BYTES = 256 * MIB;
const MAX_FAULTY_DISK_BYTES = 2 * GIB;

/** @throws PatchVdiError `usage` */
export function checkFaultySizes(patchBytes: number, diskBytes: number | undefined): void {
  const isRight = patchBytes >= MIN_FAULTY_PATCH_BYTES && patchBytes <= MAX_FAULTY_PATCH_BYTES;
  const hasRightDisk = diskBytes === undefined || diskBytes <= MAX_FAULTY_DISK_BYTES;
  if (isRight && hasRightDisk) return;
  const [found, least, most] = isRight
    ? [diskBytes ?? 0, 0, MAX_FAULTY_DISK_BYTES]
    : [patchBytes, MIN_FAULTY_PATCH_BYTES, MAX_FAULTY_PATCH_BYTES];
  const from = least === 0 ? 'at most' : `${describeBytes(least)} to`;
  throw new PatchVdiError('usage', 'an image with a fault cannot have that size', {
    context: { found: describeBytes(found), expected: `${from} ${describeBytes(most)}` },
  });
}

/** @throws PatchVdiError `usage` for a fault that such an image cannot have */
function checkFaultShape({ name, formats, filesystems }: Fault, { format, filesystem }: Shape): void {
  if (formats.includes(format) && filesystems.includes(filesystem)) return;
  throw new PatchVdiError('usage', 'such an image cannot have this fault', {
    context: {
      found: `${name} in ${format} with ${filesystem}`,
      expected: `${formats.join(' or ')}, with ${filesystems.join(' or ')}`,
    },
    hint: 'choose another --format or --filesystem',
  });
}

export interface FaultyVdiOptions {
  readonly fault: Fault;
  readonly shape: Shape;
  readonly design: PatchDesign;
  /** Exact size of the patch, before anything is done to it. */
  readonly patchBytes: number;
  readonly diskBytes: number | undefined;
  /** The image: a new file. The keyring to verify it with gets its name, and `.keyring.gpg`. */
  readonly path: string;
  readonly force: boolean;
  /** Seconds since 1970 of every timestamp. */
  readonly epochSeconds: number;
  readonly environment: ToolEnvironment;
  readonly abortSignal?: AbortSignal | undefined;
}

export interface FaultyVdi extends MadeImage {
  readonly keyring: string;
}

/**
 * Makes an image with one fault. It gets its name when it is complete.
 *
 * @throws PatchVdiError `usage`, `space`, `tool`, `sink`, `interrupted`; nothing is left behind then
 */
export async function makeFaultyVdi(options: FaultyVdiOptions): Promise<FaultyVdi> {
  const { fault, shape, design, patchBytes, diskBytes, path, force, epochSeconds, environment } = options;
  checkFaultySizes(patchBytes, diskBytes);
  checkFaultShape(fault, shape);
  const keyring = `${path}.keyring.gpg`;
  for (const name of [path, keyring]) requireFreeName(name, force);
  const { seed } = design;
  const keys = new KitKeys(seed);
  const { abortSignal } = options;
  const folder = await makePrivateFolder(environment, 'vdi');
  const temporaryPath = temporaryName(resolve(path));
  try {
    const uploads = new UploadBench({ folder, design, sizeBytes: patchBytes, keys, abortSignal });
    const upload = (bench: UploadBench) => bench.signed();
    const request = { path: temporaryPath, name: fault.name, shape, fault, upload, uploads, seed };
    const made = await makeImage({ ...request, epochSeconds, diskBytes, environment, abortSignal });
    await giveNames(options, temporaryPath, keyring, keys.keyring(fault.keyring));
    return { ...made, keyring };
  } finally {
    await rm(folder, { recursive: true, force: true });
    await rm(temporaryPath, { force: true });
  }
}

async function giveNames(
  { path, force }: FaultyVdiOptions,
  temporaryPath: string,
  keyring: string,
  keyringBytes: Uint8Array,
): Promise<void> {
  const sizeBytes = await withDiskFile(temporaryPath, (file) => file.sizeBytes);
  const image = new FileSink(path, force, temporaryPath);
  const keys = new FileSink(keyring, force);
  try {
    keys.write(keyringBytes, 0);
    await image.commit(sizeBytes);
    await keys.commit(keyringBytes.length);
  } finally {
    await image.discard();
    await keys.discard();
  }
}
