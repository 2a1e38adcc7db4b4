import type { BuildInput, BuildResult } from '../../build/build-image.js';
import { copyInto } from '../../pool/copy-into.js';
import { dataRuns } from '../../pool/disk-runs.js';
import { PoolError } from '../../pool/pool-error.js';
import type {
  DiskBytes,
  RepositoryUsage,
  StorageRepository,
  TransferOptions,
  VdiFacts,
  VdiNames,
  VdiRequest,
  VdiWriting,
} from '../../pool/storage.js';
import { trace } from '../../trace.js';
import { MIB } from '../../units.js';
import type { XenConnection } from '../../xenapi/connection.js';
import { openVdiReader } from '../../xenapi/open-vdi.js';
import { createVdi, destroyPatiently, removeUpload } from '../../xenapi/pool-vdi.js';
import { SR, VDI } from '../../xenapi/records.js';
import { lostConnection } from '../../xenapi/server-failure.js';
import { refusesVhd } from '../../xenapi/vhd-refusal.js';
import { isXenApiError } from '../../xenapi/xen-api-error.js';
import { OwnVdis } from './own-vdis.js';
import { PoolDisk } from './pool-disk.js';
import { asPoolFailure } from './pool-failure.js';
import type { PoolLink } from './pool-link.js';
import { fillPoolDisk } from './fill-disk.js';
import { DistantRepository, type DistantOptions } from '../../pool/distant-repository.js';
import { buildIntoVdi } from './build-into-vdi.js';
import { copyInPool } from './copy-in-pool.js';
import { factsOf, renameVdi } from './vdi-facts.js';

const DESCRIPTION = 'A patch, stored by patch-vdi serve';
/** Of a disk that is read: metadata, of which an image of ours has less. Many may read at once. */
const READER_MEMORY_BYTES = 4 * MIB;
const NAME_OF_NEW = 'Patch that is being uploaded';

export interface RealRepositoryOptions extends DistantOptions {
  readonly link: PoolLink;
  /** UUID of our own pool: what its VDIs are marked with. */
  readonly owner: string;
  /** Of this program. */
  readonly version: string;
}

/**
 * A storage repository of a real pool of XenServer or XCP-ng. Its disks are VDIs there, marked as ours in their
 * `other_config`; other VDIs are never touched.
 */
export class RealRepository extends DistantRepository implements StorageRepository {
  readonly link: PoolLink;
  readonly #options: RealRepositoryOptions;
  readonly #own: OwnVdis;
  /** Bytes that disks may still grow by: those that were created, and are not filled yet. */
  readonly #promised = new Map<string, number>();

  constructor(options: RealRepositoryOptions) {
    super(options);
    this.link = options.link;
    this.#options = options;
    this.#own = new OwnVdis(options.owner, options.facts.uuid);
  }

  /** Whether the pool answers, and its master has the SR attached. */
  async isReachable(): Promise<boolean> {
    try {
      const { ofMaster } = await this.link.look();
      return ofMaster.some(({ record, masterCanReach }) => masterCanReach && record.uuid === this.facts.uuid);
    } catch (error) {
      trace('pool', () => `${this.link.name} cannot be looked at: ${String(error)}`);
      return false;
    }
  }

  /** What the pool refuses, or does not answer, in the words of our own. */
  async #inPool<Result>(
    vdi: string | undefined,
    signal: AbortSignal | undefined,
    work: (connection: XenConnection) => Promise<Result>,
  ): Promise<Result> {
    const { uuid: sr } = this.facts;
    let server = this.link.name;
    try {
      return await this.link.use(signal, (connection) => {
        server = connection.name;
        return work(connection);
      });
    } catch (error) {
      if (isXenApiError(error) && error.code === 'HANDLE_INVALID') this.#own.forgetReferences();
      throw asPoolFailure(error, { sr, vdi, server, signal });
    }
  }

  async #record(connection: XenConnection) {
    return await connection.callAs(SR, 'SR.get_record', await this.#own.sr(connection));
  }

  async usage(): Promise<RepositoryUsage> {
    return await this.#inPool(undefined, undefined, async (connection) => {
      const record = await this.#record(connection);
      return {
        physicalSize: Math.max(0, record.physical_size),
        physicalUtilisation: Math.max(0, record.physical_utilisation),
        virtualAllocation: Math.max(0, record.virtual_allocation),
      };
    });
  }

  async freeBytes(): Promise<number> {
    return await this.#inPool(undefined, undefined, (connection) => this.#free(connection));
  }

  /** As much as there is of numbers when the pool does not know: then it says itself when the SR is full. */
  async #free(connection: XenConnection): Promise<number> {
    const { physical_size: size, physical_utilisation: used } = await this.#record(connection);
    if (size <= 0 || used < 0) return Number.MAX_SAFE_INTEGER;
    let promised = 0;
    for (const bytes of this.#promised.values()) promised += bytes;
    return Math.max(0, size - used - promised);
  }

  async createVdi({ uuid, nameLabel, virtualSize }: VdiRequest): Promise<VdiFacts> {
    return await this.#inPool(undefined, undefined, async (connection) => {
      const free = await this.#free(connection);
      if (virtualSize > free) throw new PoolError('SR_FULL', [String(virtualSize), String(free)]);
      this.#promised.set(uuid, virtualSize);
      try {
        const ref = await this.#create(connection, uuid, nameLabel, virtualSize);
        const record = await connection.callAs(VDI, 'VDI.get_record', ref);
        await connection.call('VDI.set_other_config', ref, this.#own.ownConfig(uuid, record));
        return factsOf(record);
      } catch (error) {
        this.#promised.delete(uuid);
        throw error;
      }
    });
  }

  async #create(connection: XenConnection, uuid: string, nameLabel: string, virtualSize: number) {
    try {
      const ref = await createVdi(connection, {
        sr: await this.#own.sr(connection),
        nameLabel: nameLabel === '' ? NAME_OF_NEW : nameLabel,
        nameDescription: DESCRIPTION,
        virtualSize,
        uploadId: uuid,
        labels: this.#own.firstLabels(uuid),
      });
      this.#own.remember(uuid, ref);
      return ref;
    } catch (error) {
      // The answer was lost: the pool may be making it.
      if (lostConnection(error) === 'broken') {
        await removeUpload(connection, {
          ref: undefined,
          uuid: undefined,
          uploadId: uuid,
          contents: 'no image',
        });
      }
      throw error;
    }
  }

  async destroyVdi(uuid: string): Promise<void> {
    this.#promised.delete(uuid);
    await this.#inPool(uuid, undefined, async (connection) => {
      const found = await this.#own.find(connection, uuid).catch(async (error: unknown) => {
        const isMissing = error instanceof PoolError && error.code === 'VDI_MISSING';
        const copy = isMissing ? await this.#own.findUnmarkedCopy(connection, uuid) : undefined;
        if (copy !== undefined) return copy;
        throw error;
      });
      const failure = await destroyPatiently(connection, found.ref);
      if (failure !== undefined) throw failure;
      this.#own.forget(uuid);
    });
  }

  async vdiFacts(uuid: string): Promise<VdiFacts> {
    return await this.#inPool(uuid, undefined, async (connection) =>
      factsOf((await this.#own.find(connection, uuid)).record),
    );
  }

  async cloneVdi(
    uuid: string,
    request: Omit<VdiRequest, 'virtualSize'>,
    options: TransferOptions = {},
  ): Promise<VdiFacts> {
    return await this.#inPool(uuid, options.signal, async (connection) => {
      const from = await this.#own.find(connection, uuid);
      return await copyInPool(
        connection,
        { from, request, own: this.#own, operation: 'VDI.clone', to: {} },
        options,
      );
    });
  }

  /** Between two SRs of the pool by the pool itself; elsewhere through us. */
  async copyVdi(
    uuid: string,
    target: StorageRepository,
    request: Omit<VdiRequest, 'virtualSize'>,
    options: TransferOptions = {},
  ): Promise<VdiFacts> {
    if (target instanceof RealRepository && target.link === this.link) {
      const own = target.#own;
      return await this.#inPool(uuid, options.signal, async (connection) => {
        const from = await this.#own.find(connection, uuid);
        const to = await own.sr(connection);
        return await copyInPool(connection, { from, request, own, operation: 'VDI.copy', to }, options);
      });
    }
    const disk = await this.openDisk(uuid, options.signal);
    try {
      const { sizeBytes: virtualSize } = disk;
      const runs = dataRuns(disk, virtualSize, options.signal);
      return await copyInto(target, { ...request, virtualSize }, runs, options);
    } finally {
      await disk.close();
    }
  }

  async openVdiForWriting(uuid: string): Promise<VdiWriting> {
    const { virtualSize } = await this.vdiFacts(uuid);
    this.#promised.set(uuid, virtualSize);
    return {
      build: (input) => this.#build(uuid, input),
      close: () => void this.#promised.delete(uuid),
    };
  }

  async #build(uuid: string, input: Omit<BuildInput, 'format'>): Promise<BuildResult> {
    return await this.#inPool(uuid, input.signal, async (connection) => {
      const found = await this.#own.find(connection, uuid);
      const format = refusesVhd(await this.#record(connection)) === undefined ? 'vhd' : 'raw';
      const { version } = this.#options;
      return await buildIntoVdi(connection, { found, uuid, own: this.#own, format, version }, input);
    });
  }

  async nameVdi(uuid: string, { nameLabel, nameDescription }: VdiNames): Promise<void> {
    await this.#inPool(uuid, undefined, async (connection) => {
      const { ref } = await this.#own.find(connection, uuid);
      await renameVdi(connection, ref, { name_label: nameLabel, name_description: nameDescription });
    });
  }

  protected async openDisk(uuid: string, signal: AbortSignal | undefined): Promise<PoolDisk> {
    const { record } = await this.#inPool(uuid, signal, (connection) => this.#own.find(connection, uuid));
    const name = `VDI ${record.uuid} at ${this.link.name}`;
    return new PoolDisk(name, record.virtual_size, () =>
      this.#inPool(uuid, signal, async (connection) => {
        const now = await this.#own.find(connection, uuid);
        return await openVdiReader(connection, now.ref, now.record, READER_MEMORY_BYTES);
      }),
    );
  }

  /** In place: unlike elsewhere, what the disk holds is unknown when it breaks off. */
  async fillVdi(uuid: string, runs: AsyncIterable<DiskBytes>, options: TransferOptions = {}): Promise<void> {
    const { signal, onProgress } = options;
    await this.#inPool(uuid, signal, async (connection) => {
      const { ref, record } = await this.#own.find(connection, uuid);
      const name = `VDI ${record.uuid} at ${connection.name}`;
      const sizeBytes = record.virtual_size;
      await fillPoolDisk(connection, { vdi: ref, name, sizeBytes, runs, signal, onProgress });
    });
    this.#promised.delete(uuid);
  }

  /** Only those that we have made; and copies of which that cannot be told. */
  async listVdis(): Promise<readonly string[]> {
    return await this.#inPool(undefined, undefined, (connection) => this.#own.list(connection));
  }

  /** A disk that was being made is one that bears the mark of its record, and goes with it. */
  removeRemains(): Promise<readonly string[]> {
    return Promise.resolve([]);
  }
}
