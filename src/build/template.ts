import { truncateSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { PatchVdiError, isPatchVdiError } from '../errors.js';
import { readDirectory } from '../ext/directory.js';
import { readFileBlocks } from '../ext/file-blocks.js';
import { mergeExtents, type Extent } from '../ext/file-extents.js';
import { openExt, type ExtFilesystem } from '../ext/filesystem.js';
import { inodeSizeBytes, readInode, type RawInode } from '../ext/inode.js';
import { ROOT_INODE_NUMBER } from '../ext/layout.js';
import { mapWholeMetadata } from '../ext/metadata-map.js';
import type { Features } from '../ext/superblock.js';
import { openRandomAccess, type RandomAccessFile } from '../io/random-access-file.js';
import {
  PAYLOAD_NAME,
  type ImageRange,
  type PayloadAnnouncement,
  type TemplateFacts,
} from '../plan/image-map.js';
import { PATCH_MODE } from '../tools/debugfs.js';
import { checkFilesystem, type E2fsprogsCall } from '../tools/e2fsprogs.js';
import { BLOCK_BYTES } from '../tools/mke2fs.js';
import { makePrivateFolder, temporaryFailure } from '../tools/private-folder.js';
import { unitsToHold } from '../units.js';
import { uuidBytes, type ImageIdentity } from './identity.js';

/** The image, formatted sparse, with the file `patch` allocated but none of its bytes written. */
export interface Template {
  readonly facts: TemplateFacts;
  readonly file: RandomAccessFile;
  /** Free bytes in the file system. */
  readonly scratchBytes: number;
  /** e2fsck's judgement, which runs beside whatever comes next; await it before the seal. */
  readonly checked: Promise<void>;
}

/**
 * Makes the template of one image in two steps: where the payload will lie is known before its length is, so that an
 * output that can seek takes the payload while the template is still being made.
 */
export interface ImageMaker {
  /**
   * Where the payload of an image of this size goes, whatever its length.
   *
   * @throws PatchVdiError `tool`, `interrupted`
   */
  announce(): Promise<PayloadAnnouncement>;
  /**
   * The file system for a payload of that length: made, read back, and given to e2fsck. Its payload lies where it was
   * announced.
   *
   * @throws PatchVdiError `space` when the payload does not fit, `tool` when a program failed or lied, `interrupted`
   */
  make(payloadLength: number, identity: ImageIdentity): Promise<Template>;
  /** Removes everything. Safe at any time when no step is running, idempotent. */
  dispose(): Promise<void>;
}

/** What a file system gets besides its contents. */
export type FilesystemIdentity = Pick<ImageIdentity, 'label' | 'filesystemUuid' | 'hashSeed'>;

/** The probe's file system is thrown away; its UUID does not matter. */
const PROBE_UUID = '00000000-0000-4000-8000-000000000001';
export const PROBE: FilesystemIdentity = { label: '', filesystemUuid: PROBE_UUID, hashSeed: PROBE_UUID };

/** A new sparse file in a private folder. @throws PatchVdiError `usage` | `space` */
function createSparse(path: string, sizeBytes: number): void {
  try {
    writeFileSync(path, '');
    truncateSync(path, sizeBytes);
  } catch (cause) {
    throw temporaryFailure(path, cause);
  }
}

/** What our reader cannot read is the fault of the programs that made it, not of any image of the user's. */
export async function readTemplate<T>(
  file: RandomAccessFile,
  use: (filesystem: ExtFilesystem) => Promise<T>,
): Promise<T> {
  try {
    return await use(await openExt((offset, length) => Promise.resolve(file.read(offset, length))));
  } catch (error) {
    if (!isPatchVdiError(error) || error.kind !== 'image') throw error;
    const { found = error.message, expected = 'an ext file system' } = error.context;
    throw mismatch(found, expected, error);
  }
}

export function mismatch(found: string, expected: string, cause?: unknown): PatchVdiError {
  return new PatchVdiError('tool', 'the template is not what was asked for', {
    context: { operation: 'read the template back', found, expected },
    hint: 'mke2fs and debugfs reported no error; patch-vdi doctor shows their versions',
    cause,
  });
}

function requireEqual(what: string, found: string | number, expected: string | number): void {
  if (found !== expected) throw mismatch(`${what} ${found}`, `${what} ${expected}`);
}

/** The inode of the file `patch`. @throws PatchVdiError `tool` when there is none */
export async function readPayloadInode(filesystem: ExtFilesystem): Promise<RawInode> {
  const entries = await readDirectory(filesystem, ROOT_INODE_NUMBER);
  const entry = entries.find((candidate) => candidate.name === PAYLOAD_NAME);
  if (entry === undefined) {
    throw mismatch(`the root holds ${entries.map(({ name }) => name).join(', ')}`, 'a file patch');
  }
  return readInode(filesystem, entry.inodeNumber);
}

/** What a template must be. */
export interface TemplateExpectation {
  readonly shape: Pick<TemplateFacts, 'virtualSize' | 'blockBytes' | 'payloadLength'>;
  /** Where the payload was announced, in file order. */
  readonly ranges: readonly ImageRange[];
  readonly identity: ImageIdentity;
  /** All of them, as in native-tools/mke2fs.conf. */
  readonly features: Features;
  /** What the blocks of the map of `patch` are called in plans. */
  readonly mapName: string;
}

/** The extents that the announced ranges are. */
function announcedExtents(ranges: readonly ImageRange[]): Extent[] {
  return ranges.map((range) => ({
    fileBlock: (range.payloadOffset ?? 0) / BLOCK_BYTES,
    fsBlock: range.offset / BLOCK_BYTES,
    blockCount: unitsToHold(range.length, BLOCK_BYTES),
    unwritten: false,
  }));
}

/** The file `patch` as the template really has it; exit codes prove nothing, so every property is compared. */
async function readBack(filesystem: ExtFilesystem, expectation: TemplateExpectation) {
  const { superblock } = filesystem;
  const { identity, shape } = expectation;
  requireEqual('block size', superblock.blockBytes, BLOCK_BYTES);
  requireEqual(
    'UUID',
    Buffer.from(superblock.uuid).toString('hex'),
    Buffer.from(uuidBytes(identity.filesystemUuid)).toString('hex'),
  );
  requireEqual('label', superblock.label, identity.label);
  requireEqual('size of the file system', superblock.blockCount * superblock.blockBytes, shape.virtualSize);
  requireFeatures(superblock.features, expectation.features);
  await requirePlainRoot(filesystem);

  const inode = await readPayloadInode(filesystem);
  requireEqual('mode of patch', inode.i_mode.toString(8), PATCH_MODE.toString(8));
  requireEqual('owner of patch', `${inode.i_uid}:${inode.i_gid}`, '0:0');
  requireEqual('links to patch', inode.i_links_count, 1);
  requireEqual('size of patch', inodeSizeBytes(inode), shape.payloadLength);

  const map = await readFileBlocks(filesystem, inode);
  const extents = mergeExtents(map.extents);
  const announced = announcedExtents(expectation.ranges);
  requireEqual('runs of blocks in patch', extents.length, announced.length);
  for (const [index, extent] of announced.entries()) {
    const found = extents[index];
    requireEqual('start of patch', (found?.fsBlock ?? 0) * BLOCK_BYTES, extent.fsBlock * BLOCK_BYTES);
    requireEqual('blocks of patch', found?.blockCount ?? 0, extent.blockCount);
    requireEqual('first file block of patch', found?.fileBlock ?? -1, extent.fileBlock);
    requireEqual('unwritten extents in patch', found?.unwritten === true ? 1 : 0, 0);
  }
  const metadata = await mapWholeMetadata(filesystem, map.treeBlocks, expectation.mapName);
  // What is neither metadata that we know nor payload would be missing in the image.
  const known = [...metadata, ...expectation.ranges].reduce(
    (sum, { length }) => sum + unitsToHold(length, BLOCK_BYTES),
    0,
  );
  requireEqual('blocks in use', superblock.blockCount - superblock.freeBlockCount, known);
  return { extents, metadata };
}

/** One bit more or less, and other kernels, other e2fscks or another layout are meant than was promised. */
export function requireFeatures(found: Features, expected: Features): void {
  requireEqual('compatible features', found.compat, expected.compat);
  requireEqual('incompatible features', found.incompat, expected.incompat);
  requireEqual('read-only compatible features', found.roCompat, expected.roCompat);
}

/** The root holds `patch` and lost+found, and belongs to root. */
async function requirePlainRoot(filesystem: ExtFilesystem): Promise<void> {
  const entries = await readDirectory(filesystem, ROOT_INODE_NUMBER);
  const names = entries.map(({ name }) => name).toSorted();
  requireEqual('files in the root:', names.join(' '), `. .. lost+found ${PAYLOAD_NAME}`);
  const root = await readInode(filesystem, ROOT_INODE_NUMBER);
  requireEqual('mode of the root', root.i_mode.toString(8), '40755');
  requireEqual('owner of the root', `${root.i_uid}:${root.i_gid}`, '0:0');
}

/**
 * Reads a template back and has e2fsck look at it meanwhile.
 *
 * @throws PatchVdiError `tool` when it is not what was expected
 */
export async function openTemplate(
  path: string,
  expectation: TemplateExpectation,
  call: E2fsprogsCall,
): Promise<Template> {
  const checked = checkFilesystem(path, call);
  // Awaited before the seal, which may come much later than the failure.
  checked.catch(() => undefined);
  const file = openRandomAccess(path);
  try {
    return await readTemplate(file, async (filesystem) => {
      const { extents, metadata } = await readBack(filesystem, expectation);
      const scratchBytes = filesystem.superblock.freeBlockCount * BLOCK_BYTES;
      return { facts: { ...expectation.shape, extents, metadata }, file, scratchBytes, checked };
    });
  } catch (error) {
    file.close();
    await checked.catch(() => undefined);
    throw error;
  }
}

/** The private folder of one maker, and the template in it. */
export class TemplateFolder {
  readonly #folder: string;
  #template: Template | undefined;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async open(call: E2fsprogsCall): Promise<TemplateFolder> {
    return new TemplateFolder(await makePrivateFolder(call.environment, 'template'));
  }

  get path(): string {
    return this.#folder;
  }

  /** The path of a new sparse file. */
  sparse(name: string, sizeBytes: number): string {
    const path = join(this.#folder, name);
    createSparse(path, sizeBytes);
    return path;
  }

  keep(template: Template): Template {
    this.#template = template;
    return template;
  }

  async remove(): Promise<void> {
    this.#template?.file.close();
    // e2fsck may still be reading what is about to go; its verdict no longer matters then.
    await this.#template?.checked.catch(() => undefined);
    await rm(this.#folder, { recursive: true, force: true });
  }
}
