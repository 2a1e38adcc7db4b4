import { Writable } from 'node:stream';
import { buildPatchImage } from '../build/build-image.js';
import { checkEpoch, uuidText } from '../build/identity.js';
import type { ImageOptions } from '../build/options.js';
import { planPatchImage } from '../build/plan-image.js';
import type { ByteReader } from '../bytes.js';
import { PatchVdiError, isPatchVdiError } from '../errors.js';
import { SUPERBLOCK_OFFSET_BYTES, superBlock } from '../ext/layout.js';
import { describeFilesystem } from '../inspect/filesystem-report.js';
import type { Image } from '../inspect/image.js';
import { openImage } from '../inspect/open-image.js';
import { openReader } from '../io/open-reader.js';
import type { Plan } from '../plan/plan.js';
import type { ToolEnvironment } from '../tools/find.js';
import { MIB } from '../units.js';

export interface ReproduceOptions {
  /** Seconds since 1970 that the image was built with; default: when its file system was made. */
  readonly sourceDateEpoch?: number | undefined;
  readonly environment: ToolEnvironment;
  readonly signal?: AbortSignal | undefined;
}

/** Where two images first differ. */
export interface FirstDifference {
  /** In the file, bytes. */
  readonly offset: number;
  /** The segment of the new image that is there, and how far into it. */
  readonly structure: string;
  readonly offsetInStructure: number;
  /** Some bytes from there on, hex; empty where the image has ended. */
  readonly found: string;
  readonly expected: string;
}

/** What became of it. Sizes in bytes. */
export interface Reproduction {
  /** Every byte of the image is what the build of today makes of its own upload and identity. */
  readonly same: boolean;
  readonly image: string;
  readonly fileBytes: number;
  readonly rebuiltBytes: number;
  readonly differentBytes: number;
  readonly firstDifference: FirstDifference | undefined;
  /** What it was built with this time. */
  readonly format: ImageOptions['format'];
  readonly filesystem: string;
  readonly size: number;
  readonly payloadLength: number;
  readonly label: string;
  readonly uuid: string;
  readonly hashSeed: string;
  readonly vhdUuid: string | undefined;
  readonly sourceDateEpoch: number;
  /** What is known to stand in the way, in sentences. */
  readonly notes: readonly string[];
}

const SHOWN_BYTES = 16;

/** Compares a stream with what a reader has; a chunk may be of any length. */
class Comparison extends Writable {
  readonly #reader: ByteReader;
  readonly #fileBytes: number;
  position = 0;
  differentBytes = 0;
  first: { offset: number; found: string; expected: string } | undefined;

  constructor(reader: ByteReader, fileBytes: number) {
    super({ highWaterMark: MIB });
    this.#reader = reader;
    this.#fileBytes = fileBytes;
  }

  override _write(chunk: Uint8Array, _encoding: string, done: (error?: Error | null) => void): void {
    this.#compare(chunk).then(
      () => done(),
      (error: unknown) => done(error instanceof Error ? error : new Error(String(error))),
    );
  }

  async #compare(chunk: Uint8Array): Promise<void> {
    const there = Math.max(0, Math.min(chunk.length, this.#fileBytes - this.position));
    const found = new Uint8Array(there);
    if (there > 0) await this.#reader.readInto(found, this.position);
    if (there < chunk.length || !Buffer.from(found).equals(chunk)) this.#count(found, chunk);
    this.position += chunk.length;
  }

  #count(found: Uint8Array, expected: Uint8Array): void {
    const hex = (bytes: Uint8Array, at: number): string =>
      Buffer.from(bytes.subarray(at, at + SHOWN_BYTES)).toString('hex');
    for (const [at, byte] of expected.entries()) {
      if (byte === found[at]) continue;
      this.differentBytes += 1;
      const offset = this.position + at;
      this.first ??= { offset, found: hex(found, at), expected: hex(expected, at) };
    }
  }
}

function cannotBeOurs(image: Image, found: string, expected: string): PatchVdiError {
  return new PatchVdiError('image', 'this image cannot have been built by patch-vdi', {
    context: { operation: 'reproduce the image', path: image.name, found, expected },
  });
}

const isNull = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === 0);

interface Recipe {
  readonly options: ImageOptions & { readonly format: ImageOptions['format'] };
  readonly notes: readonly string[];
}

/** Everything that a build needs to know, out of the image. */
async function recipeOf(image: Image, options: ReproduceOptions): Promise<Recipe> {
  const { format, virtualSize } = image;
  if (format === 'vhd-differencing') throw cannotBeOurs(image, 'a differencing VHD', 'raw, vhd or vhd-fixed');
  const filesystem = await image.filesystem();
  const { superblock } = filesystem;
  const head = await image.read(SUPERBLOCK_OFFSET_BYTES, superBlock.sizeBytes);
  const { s_hash_seed: hashSeed } = superBlock.decode(head);
  const { createdSeconds, writtenSeconds, mountCount } = superblock;
  const epoch = checkEpoch(options.sourceDateEpoch) ?? createdSeconds;
  if (epoch === undefined) throw cannotBeOurs(image, 's_mkfs_time 0', 'when the file system was made');
  if (isNull(superblock.uuid) || isNull(hashSeed)) {
    throw cannotBeOurs(image, 'a file system without UUID or hash seed', 'both of them');
  }
  const ids = image.vhd?.footer;
  if (ids !== undefined && isNull(ids.uniqueId))
    throw cannotBeOurs(image, 'a null unique_id', 'one of its own');
  const notes = [
    ...(mountCount > 0
      ? [`It was mounted ${mountCount} times since: that leaves traces in the file system.`]
      : []),
    ...(writtenSeconds === epoch
      ? []
      : [`Its superblock was last written at ${writtenSeconds ?? 0}, not at ${epoch}: changed since.`]),
    ...(ids === undefined || ids.createdSeconds === epoch
      ? []
      : [`The VHD was made at ${ids.createdSeconds}, its file system at ${epoch}: a build has one time.`]),
  ];
  return {
    notes,
    options: {
      format,
      filesystem: describeFilesystem(filesystem).type,
      size: virtualSize,
      label: superblock.label,
      uuid: uuidText(superblock.uuid),
      hashSeed: uuidText(hashSeed),
      vhdUuid: ids === undefined ? undefined : uuidText(ids.uniqueId),
      sourceDateEpoch: epoch,
      environment: options.environment,
      signal: options.signal,
    },
  };
}

/** The segment of a plan that covers an offset; what follows the last one is the end. */
function structureAt(plan: Plan, offset: number): Pick<FirstDifference, 'structure' | 'offsetInStructure'> {
  for (const entry of plan.entries) {
    if (offset < entry.offset || offset >= entry.offset + entry.stride * entry.count) continue;
    let start = entry.offset + Math.floor((offset - entry.offset) / entry.stride) * entry.stride;
    for (const part of entry.parts) {
      if (offset < start + part.length) return { structure: part.name, offsetInStructure: offset - start };
      start += part.length;
    }
  }
  return { structure: 'behind the end', offsetInStructure: offset - plan.outputLength };
}

/** An image that the options of a build cannot describe is one that no build has made. */
async function building<T>(image: Image, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!isPatchVdiError(error) || !['usage', 'space'].includes(error.kind)) throw error;
    const { found = error.message, expected = 'what a build accepts' } = error.context;
    throw cannotBeOurs(image, found, expected);
  }
}

async function rebuild(image: Image, reader: ByteReader, recipe: Recipe): Promise<Reproduction> {
  const { options, notes } = recipe;
  const patch = await image.patch();
  const fileBytes = image.fileBytes ?? 0;
  const comparison = new Comparison(reader, fileBytes);
  const work = buildPatchImage({
    ...options,
    source: patch.stream(),
    contentLength: patch.size,
    sink: comparison,
    verify: { unsigned: true },
  });
  const built = await building(image, work);
  const { position: rebuiltBytes, differentBytes } = comparison;
  const surplus = Math.max(0, fileBytes - rebuiltBytes);
  const first =
    comparison.first ?? (surplus > 0 ? { offset: rebuiltBytes, found: '', expected: '' } : undefined);
  const plan =
    first === undefined
      ? undefined
      : await building(image, planPatchImage({ ...options, contentLength: patch.size }));
  return {
    same: first === undefined,
    image: image.name,
    fileBytes,
    rebuiltBytes,
    differentBytes: differentBytes + surplus,
    firstDifference:
      first === undefined || plan === undefined
        ? undefined
        : { ...first, ...structureAt(plan, first.offset) },
    format: built.format,
    filesystem: built.filesystem,
    size: built.virtualSize,
    payloadLength: built.payloadLength,
    label: built.label,
    uuid: built.filesystemUuid,
    hashSeed: options.hashSeed ?? '',
    vhdUuid: built.vhdUuid,
    sourceDateEpoch: options.sourceDateEpoch ?? 0,
    notes: first === undefined ? [] : notes,
  };
}

/**
 * Builds an image again from the upload in it, with the sizes, names, ids and time that it tells, and compares every
 * byte. Nothing is written but temporary files.
 *
 * @throws PatchVdiError `usage` when it cannot be opened, `image` when it cannot be read or cannot be a build's,
 *   `tool`, `space`, `interrupted`
 */
export async function reproduceImage(path: string, options: ReproduceOptions): Promise<Reproduction> {
  const image = await openImage(path, { signal: options.signal });
  try {
    const reader = await openReader(path);
    try {
      return await rebuild(image, reader, await recipeOf(image, options));
    } finally {
      await reader.close();
    }
  } finally {
    await image.close();
  }
}
