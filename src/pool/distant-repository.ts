import { uuidBytes } from '../build/identity.js';
import type { ByteReader } from '../bytes.js';
import type { Image } from '../inspect/image.js';
import { openImage } from '../inspect/open-image.js';
import { importByFilling } from './import-by-filling.js';
import { exportDisk } from './open-export.js';
import type {
  DiskBytes,
  ImportOptions,
  RepositoryFacts,
  TransferFormat,
  TransferOptions,
  VdiExport,
  VdiFacts,
} from './storage.js';

export interface DistantOptions {
  readonly facts: RepositoryFacts;
  /** Of this machine, for VHDs on their way in. */
  readonly spoolFolder: string;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

export type DistantDisk = ByteReader & { readonly sizeBytes: number; close(): Promise<void> };

/**
 * What the repositories share whose disks lie on other machines: an image is opened, sent out and taken in by way of
 * what reads a disk and what fills one.
 */
export abstract class DistantRepository {
  readonly facts: RepositoryFacts;
  readonly scratchFolder = undefined;
  readonly #options: DistantOptions;

  constructor(options: DistantOptions) {
    this.facts = options.facts;
    this.#options = options;
  }

  /** @returns the caller's, to be closed */
  protected abstract openDisk(uuid: string, signal: AbortSignal | undefined): Promise<DistantDisk>;
  abstract vdiFacts(uuid: string): Promise<VdiFacts>;
  abstract fillVdi(uuid: string, runs: AsyncIterable<DiskBytes>, options?: TransferOptions): Promise<void>;

  /** None of its disks is a file of this machine. */
  localPath(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  async openVdi(uuid: string, signal?: AbortSignal): Promise<Image> {
    const disk = await this.openDisk(uuid, signal);
    // Raw whatever its last bytes look like: those belong to whoever filled the disk.
    return await openImage(disk, { format: 'raw', ownsReader: true, signal });
  }

  async exportVdi(uuid: string, format: TransferFormat, options: TransferOptions = {}): Promise<VdiExport> {
    const createdSeconds = Math.floor(this.#options.now() / 1000);
    const identity = { uniqueId: uuidBytes(uuid), createdSeconds };
    const disk = await this.openDisk(uuid, options.signal);
    return await exportDisk(disk, { sizeBytes: disk.sizeBytes, format, identity }, options);
  }

  async importVdi(uuid: string, source: AsyncIterable<Uint8Array>, options: ImportOptions): Promise<void> {
    await importByFilling(this, { uuid, spoolFolder: this.#options.spoolFolder }, source, options);
  }
}
