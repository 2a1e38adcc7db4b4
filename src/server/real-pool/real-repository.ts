// Longer than 300 lines: one class, the whole of one interface.
import { buildInto, type BuildInput, type BuildResult } from '../../build/build-image.js';
import { uuidBytes } from '../../build/identity.js';
import { invariant } from '../../errors.js';
import type { Image } from '../../inspect/image.js';
import { openImage } from '../../inspect/open-image.js';
import { copyInto } from '../../pool/copy-into.js';
import { countedStream } from '../../pool/counted-stream.js';
import { dataRuns, streamRuns } from '../../pool/disk-runs.js';
import { isUuid } from '../../pool/folder-places.js';
import { PoolError } from '../../pool/pool-error.js';
import { openRawStream } from '../../pool/raw-export.js';
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
  VdiNames,
  VdiRequest,
  VdiWriting,
} from '../../pool/storage.js';
import { openVhdStream } from '../../pool/vhd-export.js';
import { openImportedVhd } from '../../pool/vhd-import.js';
import { printable } from '../../signature/printable.js';
import { trace } from '../../trace.js';
import { MIB } from '../../units.js';
import type { XenConnection } from '../../xenapi/connection.js';
import { ImportSink } from '../../xenapi/import-sink.js';
import type { Json } from '../../xenapi/json-rpc.js';
import { openVdiReader } from '../../xenapi/open-vdi.js';
import { createVdi, destroyPatiently, imageBytesFor, removeUpload } from '../../xenapi/pool-vdi.js';
import { REFERENCE, SR, VDI, type VdiRecord } from '../../xenapi/records.js';
import { lostConnection } from '../../xenapi/server-failure.js';
import { cancelTask, destroyTask, followTask } from '../../xenapi/tasks.js';
import { SERVE_COPY_PREFIX, SERVE_TASK_PREFIX, UPLOAD_KEY, labelled } from '../../xenapi/vdi-labels.js';
import { refusesVhd } from '../../xenapi/vhd-refusal.js';
import { isXenApiError } from '../../xenapi/xen-api-error.js';
import { OwnVdis, copyOfTask, type FoundVdi } from './own-vdis.js';
import { PoolDisk } from './pool-disk.js';
import { asPoolFailure } from './pool-failure.js';
import type { PoolLink } from './pool-link.js';
import { fillPoolDisk } from './fill-disk.js';

const DESCRIPTION = 'A patch, stored by patch-vdi serve';
/** Of a disk that is read: metadata, of which an image of ours has less. Many may read at once. */
const READER_MEMORY_BYTES = 4 * MIB;
const NAME_OF_NEW = 'Patch that is being uploaded';

export interface RealRepositoryOptions {
  readonly facts: RepositoryFacts;
  readonly link: PoolLink;
  /** UUID of our own pool: what its VDIs are marked with. */
  readonly owner: string;
  /** Of this program. */
  readonly version: string;
  /** For VHDs on their way in, and uploads whose length is unknown. */
  readonly spoolFolder: string;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/** @throws PoolError SR_BACKEND_FAILURE for a UUID that is none */
function factsOf({ uuid, virtual_size, physical_utilisation }: VdiRecord): VdiFacts {
  if (!isUuid(uuid)) {
    throw new PoolError('SR_BACKEND_FAILURE', ['pool', `a VDI without a UUID: ${printable(uuid, 64)}`, '']);
  }
  return {
    uuid,
    location: uuid,
    virtualSize: virtual_size,
    // XAPI answers -1 while it does not know.
    physicalUtilisation: Math.max(0, physical_utilisation),
  };
}

/**
 * A storage repository of a real pool of XenServer or XCP-ng. Its disks are VDIs there, marked as ours in their
 * `other_config`; other VDIs are never touched.
 */
export class RealRepository implements StorageRepository {
  readonly facts: RepositoryFacts;
  readonly scratchFolder = undefined;
  readonly link: PoolLink;
  readonly #options: RealRepositoryOptions;
  readonly #own: OwnVdis;
  /** Bytes that disks may still grow by: those that were created, and are not filled yet. */
  readonly #promised = new Map<string, number>();

  constructor(options: RealRepositoryOptions) {
    this.facts = options.facts;
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
    return await this.#duplicate(uuid, request, options, 'VDI.clone', () => Promise.resolve([{}]), this.#own);
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
      const toSr = async (connection: XenConnection): Promise<Json[]> => [await own.sr(connection)];
      return await this.#duplicate(uuid, request, options, 'VDI.copy', toSr, own);
    }
    const disk = await this.#openDisk(uuid, options.signal);
    try {
      const { sizeBytes: virtualSize } = disk;
      const runs = dataRuns(disk, virtualSize, options.signal);
      return await copyInto(target, { ...request, virtualSize }, runs, options);
    } finally {
      await disk.close();
    }
  }

  /**
   * A copy that the pool makes. Its task is noted on the original until the copy bears our mark: so a start after a kill
   * knows which copy is ours.
   */
  async #duplicate(
    uuid: string,
    request: Omit<VdiRequest, 'virtualSize'>,
    { signal, onProgress }: TransferOptions,
    operation: string,
    parameters: (connection: XenConnection) => Promise<Json[]>,
    own: OwnVdis,
  ): Promise<VdiFacts> {
    return await this.#inPool(uuid, signal, async (connection) => {
      const from = await this.#own.find(connection, uuid);
      const more = await parameters(connection);
      await connection.call('VDI.add_to_other_config', from.ref, `${SERVE_COPY_PREFIX}${request.uuid}`, '');
      let task: string | undefined;
      try {
        const method = `Async.${operation}`;
        const made = await connection.callToMake(method, from.ref, ...more);
        task = connection.check(REFERENCE, method, made);
        await connection.call(
          'VDI.add_to_other_config',
          from.ref,
          `${SERVE_TASK_PREFIX}${request.uuid}`,
          task,
        );
        const result = await followTask(connection, task, operation, { onFraction: onProgress });
        const copy = connection.check(REFERENCE, operation, result);
        const facts = await this.#adopt(connection, copy, request, own);
        await this.#forgetCopy(connection, from, request.uuid, task);
        return facts;
      } catch (error) {
        await this.#undoCopy(connection, from, request.uuid, task);
        throw error;
      }
    });
  }

  /** A copy inherits the marks of its original, and its name: it gets its own. */
  async #adopt(
    connection: XenConnection,
    ref: string,
    { uuid, nameLabel }: Omit<VdiRequest, 'virtualSize'>,
    own: OwnVdis,
  ): Promise<VdiFacts> {
    const record = await connection.callAs(VDI, 'VDI.get_record', ref);
    await connection.call('VDI.set_other_config', ref, own.ownConfig(uuid, record));
    own.remember(uuid, ref);
    if (nameLabel !== '' && nameLabel !== record.name_label) {
      await this.#rename(connection, ref, { name_label: nameLabel });
    }
    return factsOf(record);
  }

  /** Never fails: notes that stay harm nobody. */
  async #forgetCopy(
    connection: XenConnection,
    { ref, record }: FoundVdi,
    uuid: string,
    task: string | undefined,
  ): Promise<void> {
    for (const prefix of [SERVE_COPY_PREFIX, SERVE_TASK_PREFIX]) {
      const removed = connection.callBeforeEnd('VDI.remove_from_other_config', ref, `${prefix}${uuid}`);
      await removed.catch((error: unknown) => {
        trace('pool', () => `the note of a copy stays on VDI ${record.uuid}: ${String(error)}`);
      });
    }
    if (task !== undefined) await destroyTask(connection, task);
  }

  /** Never fails: what cannot be undone now is found again by what is noted on the original. */
  async #undoCopy(
    connection: XenConnection,
    from: FoundVdi,
    uuid: string,
    task: string | undefined,
  ): Promise<void> {
    try {
      // The caller's signal has ended what he waits for, and not this.
      const calm = connection.withSignal(undefined);
      const copy = task === undefined ? undefined : await copyOfTask(calm, task);
      const failure = copy === undefined ? undefined : await destroyPatiently(calm, copy.ref);
      if (failure !== undefined) throw failure;
      await this.#forgetCopy(calm, from, uuid, task);
    } catch (error) {
      trace('pool', () => `a copy of VDI ${from.record.uuid} could not be undone: ${String(error)}`);
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

  /** In one pass where the SR takes VHD: its seal goes out when the verdict is there. Else by way of a spool. */
  async #build(uuid: string, input: Omit<BuildInput, 'format'>): Promise<BuildResult> {
    return await this.#inPool(uuid, input.signal, async (connection) => {
      const { ref, record } = await this.#own.find(connection, uuid);
      const format = refusesVhd(await this.#record(connection)) === undefined ? 'vhd' : 'raw';
      const config = { ...record.other_config, [UPLOAD_KEY]: uuid };
      await connection.call('VDI.set_other_config', ref, config);
      let task: string | undefined;
      try {
        const built = await buildInto({ ...input, format, digest: true }, async ({ imageBytes }, stop) => {
          const made = await connection.callToMake('task.create', 'patch-vdi serve: upload', uuid);
          task = connection.check(REFERENCE, 'task.create', made);
          const vdi = {
            ref,
            uuid: record.uuid,
            nameLabel: record.name_label,
            virtualSize: record.virtual_size,
          };
          const name = `VDI ${record.uuid} at ${connection.name}`;
          const bytes = imageBytesFor(vdi, imageBytes, connection.name);
          return new ImportSink({ connection, task, stop, vdi: ref, format, imageBytes: bytes, name });
        });
        await this.#label(connection, ref, uuid, built);
        return built;
      } catch (error) {
        // Whoever asked for it destroys the VDI.
        if (task !== undefined) await cancelTask(connection, task);
        throw error;
      } finally {
        if (task !== undefined) await destroyTask(connection, task);
      }
    });
  }

  /** What `upload` writes beside the image. */
  async #label(connection: XenConnection, ref: string, uuid: string, built: BuildResult): Promise<void> {
    invariant(built.sha256 !== undefined, 'the digest that was asked for is there');
    const record = await connection.callAs(VDI, 'VDI.get_record', ref);
    const labels = {
      version: this.#options.version,
      sha256: built.sha256,
      size: built.payloadLength,
      signer: built.signatures.map(({ primaryFingerprint }) => primaryFingerprint).join(' '),
      uuid: built.filesystemUuid,
    };
    await connection.call('VDI.set_other_config', ref, labelled(this.#own.ownConfig(uuid, record), labels));
  }

  async nameVdi(uuid: string, { nameLabel, nameDescription }: VdiNames): Promise<void> {
    await this.#inPool(uuid, undefined, async (connection) => {
      const { ref } = await this.#own.find(connection, uuid);
      await this.#rename(connection, ref, { name_label: nameLabel, name_description: nameDescription });
    });
  }

  async #rename(
    connection: XenConnection,
    ref: string,
    names: Readonly<Record<string, string>>,
  ): Promise<void> {
    for (const [field, value] of Object.entries(names)) {
      await connection.callBeforeEnd(`VDI.set_${field}`, ref, value).catch((error: unknown) => {
        trace('pool', () => `a VDI keeps its ${field}: ${String(error)}`);
      });
    }
  }

  /** None of its disks is a file of this machine. */
  localPath(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  async #openDisk(uuid: string, signal: AbortSignal | undefined): Promise<PoolDisk> {
    const { record } = await this.#inPool(uuid, signal, (connection) => this.#own.find(connection, uuid));
    const name = `VDI ${record.uuid} at ${this.link.name}`;
    return new PoolDisk(name, record.virtual_size, () =>
      this.#inPool(uuid, signal, async (connection) => {
        const now = await this.#own.find(connection, uuid);
        return await openVdiReader(connection, now.ref, now.record, READER_MEMORY_BYTES);
      }),
    );
  }

  async openVdi(uuid: string, signal?: AbortSignal): Promise<Image> {
    const disk = await this.#openDisk(uuid, signal);
    // Raw whatever its last bytes look like: those belong to whoever filled the disk.
    return await openImage(disk, { format: 'raw', ownsReader: true, signal });
  }

  async exportVdi(uuid: string, format: TransferFormat, options: TransferOptions = {}): Promise<VdiExport> {
    const disk = await this.#openDisk(uuid, options.signal);
    const { sizeBytes } = disk;
    const close = (): Promise<void> => disk.close();
    try {
      if (format === 'raw') {
        return { lengthBytes: sizeBytes, stream: () => openRawStream(disk, sizeBytes, options), close };
      }
      const createdSeconds = Math.floor(this.#options.now() / 1000);
      const identity = { uniqueId: uuidBytes(uuid), createdSeconds };
      const vhd = await openVhdStream(disk, sizeBytes, identity, options);
      return { lengthBytes: vhd.lengthBytes, stream: () => vhd.bytes(), close };
    } catch (error) {
      await disk.close();
      throw error;
    }
  }

  async importVdi(uuid: string, source: AsyncIterable<Uint8Array>, options: ImportOptions): Promise<void> {
    const { virtualSize } = await this.vdiFacts(uuid);
    const isRaw = options.format === 'raw';
    // A VHD has tables besides, and may come with blocks that are smaller than ours.
    const counted = countedStream(source, isRaw ? virtualSize : 2 * virtualSize + 16 * MIB, options);
    const { signal } = options;
    if (isRaw) return await this.fillVdi(uuid, streamRuns(counted, signal), { signal });
    const vhd = await openImportedVhd(counted, this.#options.spoolFolder, virtualSize, signal);
    try {
      await this.fillVdi(uuid, vhd.runs(), options);
    } finally {
      await vhd.close();
    }
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
