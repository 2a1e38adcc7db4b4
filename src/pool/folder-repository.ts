// Longer than 300 lines: one class, the whole of one interface; what each operation does is in files of its own.
import { constants } from 'node:fs';
import { copyFile, rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import { buildPatchImage } from '../build/build-image.js';
import { uuidBytes } from '../build/identity.js';
import { systemErrorCode } from '../errors.js';
import type { Image } from '../inspect/image.js';
import { openImage } from '../inspect/open-image.js';
import { FileSink } from '../io/file-sink.js';
import { writeFailure } from '../io/system-errors.js';
import { trace } from '../trace.js';
import { copyInto } from './copy-into.js';
import { tooLong } from './counted-stream.js';
import { dataRuns } from './disk-runs.js';
import {
  allocatedBytes,
  diskBytes,
  diskPath,
  disksIn,
  hasMark,
  isUuid,
  removeUnfinished,
  unfinishedPath,
} from './folder-places.js';
import { openExport } from './open-export.js';
import { makeRepositoryFolder } from './make-folder.js';
import { folderFreeBytes, folderUsage } from './folder-space.js';
import { importByFilling } from './import-by-filling.js';
import { PoolError } from './pool-error.js';
import { syncFolder } from './store-folder.js';
import { VDI_CLONE } from './storage.js';
import type {
  DiskBytes,
  ImportOptions,
  RepositoryFacts,
  RepositoryUsage,
  StorageRepository,
  TransferFormat,
  TransferOptions,
  VdiExport,
  VdiFacts,
  VdiRequest,
  VdiWriting,
} from './storage.js';

export interface FolderRepositoryOptions {
  readonly path: string;
  readonly uuid: string;
  readonly nameLabel: string;
  readonly type?: string | undefined;
  readonly capabilities: ReadonlySet<string>;
  readonly shared?: boolean | undefined;
  /** Bytes; undefined: what the file system has. */
  readonly quotaBytes?: number | undefined;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/** The driver of folders; what a driver can do is the same for all of its SRs, so one that may not clone is another. */
function folderType(capabilities: ReadonlySet<string>): string {
  return capabilities.has(VDI_CLONE) ? 'folder' : 'folder-without-clone';
}

/** A folder whose disks are sparse raw files. */
export class FolderRepository implements StorageRepository {
  readonly facts: RepositoryFacts;
  readonly scratchFolder: string;
  readonly #folder: string;
  readonly #quotaBytes: number | undefined;
  readonly #now: () => number;
  /** Bytes that disks may still grow by: those that were created or opened for writing, and are not filled yet. */
  readonly #promised = new Map<string, number>();
  #creating: Promise<unknown> = Promise.resolve();

  private constructor(options: FolderRepositoryOptions) {
    const { uuid, nameLabel, capabilities, shared = false } = options;
    const { type = folderType(capabilities) } = options;
    this.#folder = resolve(options.path);
    this.#quotaBytes = options.quotaBytes;
    this.#now = options.now;
    this.scratchFolder = this.#folder;
    const deviceConfig = { path: this.#folder };
    this.facts = { uuid, nameLabel, type, capabilities, shared, deviceConfig };
  }

  /** One that was made before. It may be out of reach. */
  static open(options: FolderRepositoryOptions): FolderRepository {
    return new FolderRepository(options);
  }

  /**
   * Makes the folder (0700) and its mark, or takes over one that has the mark of that UUID.
   *
   * @throws PatchVdiError `usage` when it belongs to another repository, `space` | `sink`
   */
  static async create(options: FolderRepositoryOptions): Promise<FolderRepository> {
    await makeRepositoryFolder(resolve(options.path), options.uuid);
    return new FolderRepository(options);
  }

  async isReachable(): Promise<boolean> {
    return await hasMark(this.#folder, this.facts.uuid);
  }

  async #requireReachable(): Promise<void> {
    if (!(await this.isReachable())) throw new PoolError('SR_HAS_NO_PBDS', [this.facts.uuid]);
  }

  async usage(): Promise<RepositoryUsage> {
    await this.#requireReachable();
    return await folderUsage(this.#folder, this.#quotaBytes);
  }

  async freeBytes(): Promise<number> {
    await this.#requireReachable();
    const free = await folderFreeBytes(this.#folder, this.#quotaBytes);
    let promised = 0;
    for (const bytes of this.#promised.values()) promised += bytes;
    return Math.max(0, free - promised);
  }

  createVdi(request: VdiRequest): Promise<VdiFacts> {
    // One at a time: what is free must still be free when it is promised.
    const promised = this.#creating.then(() => this.#promise(request));
    this.#creating = promised.catch(() => undefined);
    return promised.then(() => this.#createPromised(request));
  }

  async #promise({ uuid, virtualSize }: VdiRequest): Promise<void> {
    const free = await this.freeBytes();
    if (virtualSize > free) throw new PoolError('SR_FULL', [String(virtualSize), String(free)]);
    this.#promised.set(uuid, virtualSize);
  }

  async #createPromised({ uuid, virtualSize }: VdiRequest): Promise<VdiFacts> {
    try {
      const sink = new FileSink(diskPath(this.#folder, uuid), false);
      try {
        await sink.commit(virtualSize);
      } finally {
        await sink.discard();
      }
    } catch (error) {
      this.#promised.delete(uuid);
      throw error;
    }
    return await this.vdiFacts(uuid);
  }

  #missing(uuid: string): PoolError {
    return new PoolError('VDI_MISSING', [this.facts.uuid, uuid]);
  }

  /** @throws PoolError VDI_MISSING */
  async #pathOf(uuid: string): Promise<{ readonly path: string; readonly sizeBytes: number }> {
    await this.#requireReachable();
    if (!isUuid(uuid)) throw this.#missing(uuid);
    const path = diskPath(this.#folder, uuid);
    try {
      const sizeBytes = await diskBytes(path);
      if (sizeBytes !== undefined) return { path, sizeBytes };
    } catch (error) {
      throw writeFailure(path, 0, error);
    }
    throw this.#missing(uuid);
  }

  async vdiFacts(uuid: string): Promise<VdiFacts> {
    const { path, sizeBytes } = await this.#pathOf(uuid);
    return {
      uuid,
      location: `${uuid}.raw`,
      virtualSize: sizeBytes,
      physicalUtilisation: await allocatedBytes(path),
    };
  }

  async destroyVdi(uuid: string): Promise<void> {
    this.#promised.delete(uuid);
    const { path } = await this.#pathOf(uuid);
    try {
      await rm(path);
      await syncFolder(this.#folder);
    } catch (error) {
      if (systemErrorCode(error) === 'ENOENT') throw this.#missing(uuid);
      throw writeFailure(path, 0, error);
    }
  }

  async cloneVdi(
    uuid: string,
    request: Omit<VdiRequest, 'virtualSize'>,
    options: TransferOptions = {},
  ): Promise<VdiFacts> {
    const { path, sizeBytes } = await this.#pathOf(uuid);
    const shared = unfinishedPath(this.#folder, request.uuid, 'clone.tmp');
    try {
      // Only as blocks that both files share: a copy would fill the holes.
      await copyFile(path, shared, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE_FORCE);
    } catch (error) {
      trace('pool', () => `a clone becomes a copy: ${String(error)}`);
      await rm(shared, { force: true });
      return await this.copyVdi(uuid, this, request, options);
    }
    const sink = new FileSink(diskPath(this.#folder, request.uuid), false, shared);
    try {
      await sink.commit(sizeBytes);
    } finally {
      await sink.discard();
    }
    return await this.vdiFacts(request.uuid);
  }

  async copyVdi(
    uuid: string,
    target: StorageRepository,
    request: Omit<VdiRequest, 'virtualSize'>,
    options: TransferOptions = {},
  ): Promise<VdiFacts> {
    const image = await this.openVdi(uuid, options.signal);
    try {
      const virtualSize = image.virtualSize ?? 0;
      const runs = dataRuns(image, virtualSize, options.signal);
      return await copyInto(target, { ...request, virtualSize }, runs, options);
    } finally {
      await image.close();
    }
  }

  async openVdiForWriting(uuid: string): Promise<VdiWriting> {
    const { path, sizeBytes } = await this.#pathOf(uuid);
    this.#promised.set(uuid, sizeBytes);
    return {
      build: (input) => buildPatchImage({ ...input, sink: { path, force: true }, format: 'raw' }),
      close: () => void this.#promised.delete(uuid),
    };
  }

  async localPath(uuid: string): Promise<string> {
    return (await this.#pathOf(uuid)).path;
  }

  async openVdi(uuid: string, signal?: AbortSignal): Promise<Image> {
    const { path } = await this.#pathOf(uuid);
    // Raw whatever its last bytes look like: those belong to whoever filled the disk.
    return await openImage(path, { format: 'raw', signal });
  }

  async exportVdi(uuid: string, format: TransferFormat, options: TransferOptions = {}): Promise<VdiExport> {
    const { path, sizeBytes } = await this.#pathOf(uuid);
    const identity = { uniqueId: uuidBytes(uuid), createdSeconds: Math.floor(this.#now() / 1000) };
    return await openExport({ path, sizeBytes, format, identity }, options);
  }

  async importVdi(uuid: string, source: AsyncIterable<Uint8Array>, options: ImportOptions): Promise<void> {
    await importByFilling(this, { uuid, spoolFolder: this.#folder }, source, options);
  }

  async fillVdi(
    uuid: string,
    runs: AsyncIterable<DiskBytes>,
    { onProgress }: TransferOptions = {},
  ): Promise<void> {
    const { path, sizeBytes } = await this.#pathOf(uuid);
    const sink = new FileSink(path, true);
    try {
      for await (const { offset, bytes } of runs) {
        if (offset + bytes.length > sizeBytes) throw tooLong(path, offset + bytes.length, sizeBytes);
        sink.write(bytes, offset);
        onProgress?.((offset + bytes.length) / sizeBytes);
      }
      await sink.commit(sizeBytes);
    } finally {
      this.#promised.delete(uuid);
      await sink.discard();
    }
  }

  async listVdis(): Promise<readonly string[]> {
    await this.#requireReachable();
    return await disksIn(this.#folder);
  }

  async removeRemains(uuids: ReadonlySet<string>): Promise<readonly string[]> {
    await this.#requireReachable();
    return await removeUnfinished(this.#folder, uuids);
  }
}
