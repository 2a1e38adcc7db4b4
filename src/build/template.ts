import { truncateSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { PatchVdiError, isPatchVdiError } from '../errors.js';
import { readDirectory } from '../ext/directory.js';
import { inodeSizeBytes, openExt, readInode, type ExtFilesystem, type RawInode } from '../ext/filesystem.js';
import { mergeExtents, readFileMap, type Extent } from '../ext/file-extents.js';
import { ROOT_INODE_NUMBER } from '../ext/layout.js';
import { firstFreeBlock, mapWholeMetadata } from '../ext/metadata-map.js';
import { openRandomAccess, type RandomAccessFile } from '../io/random-access-file.js';
import {
  PAYLOAD_NAME,
  payloadRange,
  type PayloadAnnouncement,
  type TemplateFacts,
} from '../plan/image-map.js';
import { PATCH_MODE, trimPatchFile } from '../tools/debugfs.js';
import { checkFilesystem, type E2fsprogsCall } from '../tools/e2fsprogs.js';
import { BLOCK_BYTES, formatTemplate } from '../tools/mke2fs.js';
import { makePrivateFolder, temporaryFailure } from '../tools/private-folder.js';
import { trace } from '../trace.js';
import { roundUp, unitsToHold } from '../units.js';
import { uuidBytes, type ImageIdentity } from './identity.js';
import {
  PAYLOAD_UNIT_BYTES,
  payloadCapacity,
  payloadStartFor,
  requireFit,
  type PayloadStart,
} from './size-rule.js';

/** The image, formatted sparse, with the file `patch` allocated but none of its bytes written. */
export interface Template {
  readonly facts: TemplateFacts;
  readonly file: RandomAccessFile;
  /** Free bytes in the file system. */
  readonly scratchBytes: number;
  /** e2fsck's judgement, which runs beside whatever comes next; await it before the seal. */
  readonly checked: Promise<void>;
}

function createSparse(path: string, sizeBytes: number): void {
  try {
    writeFileSync(path, '');
    truncateSync(path, sizeBytes);
  } catch (cause) {
    throw temporaryFailure(path, cause);
  }
}

/** What our reader cannot read is the fault of the programs that made it, not of any image of the user's. */
async function readTemplate<T>(
  file: RandomAccessFile,
  use: (filesystem: ExtFilesystem) => Promise<T>,
): Promise<T> {
  try {
    return await use(await openExt((offset, length) => Promise.resolve(file.read(offset, length))));
  } catch (error) {
    if (!isPatchVdiError(error) || error.kind !== 'image') throw error;
    const { found = error.message, expected = 'an ext4 file system' } = error.context;
    throw mismatch(found, expected, error);
  }
}

function mismatch(found: string, expected: string, cause?: unknown): PatchVdiError {
  return new PatchVdiError('tool', 'the template is not what was asked for', {
    context: { operation: 'read the template back', found, expected },
    hint: 'mke2fs and debugfs reported no error; patch-vdi doctor shows their versions',
    cause,
  });
}

function requireEqual(what: string, found: string | number, expected: string | number): void {
  if (found !== expected) throw mismatch(`${what} ${found}`, `${what} ${expected}`);
}

async function readPayloadInode(filesystem: ExtFilesystem): Promise<RawInode> {
  const entries = await readDirectory(filesystem, ROOT_INODE_NUMBER);
  const entry = entries.find((candidate) => candidate.name === PAYLOAD_NAME);
  if (entry === undefined) {
    throw mismatch(`the root holds ${entries.map(({ name }) => name).join(', ')}`, 'a file patch');
  }
  return readInode(filesystem, entry.inodeNumber);
}

/** Offset of the first block of `patch`, in bytes. */
async function findPayloadStart(filesystem: ExtFilesystem): Promise<number | undefined> {
  const { extents } = await readFileMap(filesystem, await readPayloadInode(filesystem));
  const first = extents[0];
  return first && first.fsBlock * BLOCK_BYTES;
}

/** The file `patch` as the template really has it; exit codes prove nothing, so every property is compared. */
async function readBack(
  filesystem: ExtFilesystem,
  start: number,
  payloadLength: number,
  identity: ImageIdentity,
) {
  const { superblock } = filesystem;
  requireEqual('block size', superblock.blockBytes, BLOCK_BYTES);
  requireEqual(
    'UUID',
    Buffer.from(superblock.uuid).toString('hex'),
    Buffer.from(uuidBytes(identity.filesystemUuid)).toString('hex'),
  );
  requireEqual('label', superblock.label, identity.label);

  const inode = await readPayloadInode(filesystem);
  requireEqual('mode of patch', inode.i_mode.toString(8), PATCH_MODE.toString(8));
  requireEqual('owner of patch', `${inode.i_uid}:${inode.i_gid}`, '0:0');
  requireEqual('links to patch', inode.i_links_count, 1);
  requireEqual('size of patch', inodeSizeBytes(inode), payloadLength);

  const map = await readFileMap(filesystem, inode);
  const [extent, ...others] = mergeExtents(map.extents);
  requireEqual('runs of blocks in patch', others.length + 1, 1);
  requireEqual('start of patch', (extent?.fsBlock ?? 0) * BLOCK_BYTES, start);
  requireEqual('blocks of patch', extent?.blockCount ?? 0, unitsToHold(payloadLength, BLOCK_BYTES));
  requireEqual('first file block of patch', extent?.fileBlock ?? -1, 0);
  requireEqual('unwritten extents in patch', extent?.unwritten === true ? 1 : 0, 0);
  const extents: readonly Extent[] = extent === undefined ? [] : [extent];
  return { extents, metadata: await mapWholeMetadata(filesystem, map.treeBlocks) };
}

/** The probe's file system is thrown away; its UUID does not matter. */
const PROBE_UUID = '00000000-0000-4000-8000-000000000001';
const PROBE: Pick<ImageIdentity, 'label' | 'filesystemUuid' | 'hashSeed'> = {
  label: '',
  filesystemUuid: PROBE_UUID,
  hashSeed: PROBE_UUID,
};

interface FirstFormat {
  readonly start: PayloadStart;
  readonly imagePath: string | undefined;
}

/**
 * Makes the template of one image in two steps: where the payload will start is known before its length is, so that
 * an output that can seek takes the payload while the template is still being made.
 */
export class TemplateMaker {
  readonly #folder: string;
  readonly #virtualSize: number;
  readonly #call: E2fsprogsCall;
  #start: Promise<PayloadStart> | undefined;
  #template: Template | undefined;

  private constructor(folder: string, virtualSize: number, call: E2fsprogsCall) {
    this.#folder = folder;
    this.#virtualSize = virtualSize;
    this.#call = call;
  }

  /** @param virtualSize bytes, a multiple of 2 MiB */
  static async open(virtualSize: number, call: E2fsprogsCall): Promise<TemplateMaker> {
    const folder = await makePrivateFolder(call.environment, 'template');
    return new TemplateMaker(folder, virtualSize, call);
  }

  /**
   * Where the payload of an image of this size goes, whatever its length.
   *
   * @throws PatchVdiError `tool`, `interrupted`
   */
  async announce(): Promise<PayloadAnnouncement> {
    const { offset } = await this.#startOnce();
    return {
      capacity: payloadCapacity(this.#virtualSize, offset),
      ranges: (payloadLength) => [payloadRange(offset, payloadLength, 0)],
    };
  }

  #startOnce(): Promise<PayloadStart> {
    this.#start ??= this.#probe();
    return this.#start;
  }

  async #probe(): Promise<PayloadStart> {
    return this.#startAccordingTo(await this.#format('probe', BLOCK_BYTES, 0, PROBE));
  }

  /** @param imagePath formatted without slack */
  async #startAccordingTo(imagePath: string): Promise<PayloadStart> {
    const file = openRandomAccess(imagePath);
    const free = await readTemplate(file, firstFreeBlock).finally(() => file.close());
    if (free === undefined) throw mismatch('no free block in an empty file system', 'free blocks');
    const start = payloadStartFor(this.#virtualSize, free);
    trace(
      'template',
      () => `first free block ${free}, payload at ${start.offset}, slack ${start.slackBlocks}`,
    );
    return start;
  }

  /**
   * Formats for a known length without a probe: a payload of at most half the image leaves the first free block of
   * an empty file system free, so the finished image tells as much as a probe. (At 2 TiB a probe takes 0.2 s.)
   *
   * @returns also the image, unless it has to be formatted again
   */
  async #formatWithoutProbe(payloadLength: number, identity: ImageIdentity): Promise<FirstFormat> {
    const imagePath = await this.#format('template', payloadLength, 0, identity);
    const start = await this.#startAccordingTo(imagePath);
    if (start.slackBlocks > 0) return { start, imagePath: undefined };
    const file = openRandomAccess(imagePath);
    const real = await readTemplate(file, findPayloadStart).finally(() => file.close());
    if (real === start.offset) return { start, imagePath };
    return { start: await this.#probe(), imagePath: undefined };
  }

  /** @returns the path of the image */
  async #format(
    name: string,
    patchBytes: number,
    slackBlocks: number,
    identity: typeof PROBE,
  ): Promise<string> {
    const imagePath = join(this.#folder, name);
    createSparse(imagePath, this.#virtualSize);
    const { label, filesystemUuid: uuid, hashSeed } = identity;
    const request = { imagePath, folder: this.#folder, patchBytes, slackBlocks, label, uuid, hashSeed };
    await formatTemplate(request, this.#call);
    return imagePath;
  }

  /**
   * The file system for a payload of that length: formatted, trimmed to the exact length, read back, and given to
   * e2fsck. Its payload starts where it was announced.
   *
   * @throws PatchVdiError `space` when the payload does not fit, `tool` when a program failed or lied, `interrupted`
   */
  async make(payloadLength: number, identity: ImageIdentity): Promise<Template> {
    let imagePath: string | undefined;
    if (this.#start === undefined && payloadLength <= this.#virtualSize / 2) {
      const first = this.#formatWithoutProbe(payloadLength, identity);
      this.#start = first.then(({ start }) => start);
      // Whoever waits for the start gets the error; when nobody does, it is reported here.
      this.#start.catch(() => undefined);
      ({ imagePath } = await first);
    }
    const start = await this.#startOnce();
    requireFit(this.#virtualSize, start.offset, payloadLength);
    imagePath ??= await this.#format('template', payloadLength, start.slackBlocks, identity);
    const allocatedBlocks = roundUp(payloadLength, PAYLOAD_UNIT_BYTES) / BLOCK_BYTES;
    const trim = { imagePath, folder: this.#folder, sizeBytes: payloadLength, allocatedBlocks };
    await trimPatchFile(trim, this.#call);
    const facts = { virtualSize: this.#virtualSize, blockBytes: BLOCK_BYTES, payloadLength };
    this.#template = await openTemplate(imagePath, start.offset, facts, identity, this.#call);
    return this.#template;
  }

  /** Removes everything. Safe at any time when no step is running, idempotent. */
  async dispose(): Promise<void> {
    this.#template?.file.close();
    // e2fsck may still be reading what is about to go; its verdict no longer matters then.
    await this.#template?.checked.catch(() => undefined);
    await rm(this.#folder, { recursive: true, force: true });
  }
}

async function openTemplate(
  path: string,
  start: number,
  shape: Pick<TemplateFacts, 'virtualSize' | 'blockBytes' | 'payloadLength'>,
  identity: ImageIdentity,
  call: E2fsprogsCall,
): Promise<Template> {
  const checked = checkFilesystem(path, call);
  // Awaited before the seal, which may come much later than the failure.
  checked.catch(() => undefined);
  const file = openRandomAccess(path);
  try {
    return await readTemplate(file, async (filesystem) => {
      const { extents, metadata } = await readBack(filesystem, start, shape.payloadLength, identity);
      const scratchBytes = filesystem.superblock.freeBlockCount * BLOCK_BYTES;
      return { facts: { ...shape, extents, metadata }, file, scratchBytes, checked };
    });
  } catch (error) {
    file.close();
    await checked.catch(() => undefined);
    throw error;
  }
}
