import type { BuildInput, BuildResult } from '../build/build-image.js';
import type { Image } from '../inspect/image.js';

/** The capability that the mission asks for: "we want the ability to fast clone patches". */
export const VDI_CLONE = 'VDI_CLONE';

/** What a storage repository is; does not change while it is open. */
export interface RepositoryFacts {
  readonly uuid: string;
  readonly nameLabel: string;
  /** Of the driver, as `SR.type` has it. */
  readonly type: string;
  /** What its driver can do, as `SM.capabilities` has it. */
  readonly capabilities: ReadonlySet<string>;
  /** Seen by every host of the pool. */
  readonly shared: boolean;
  /** For the PBD. */
  readonly deviceConfig: Readonly<Record<string, string>>;
}

/** Bytes. */
export interface RepositoryUsage {
  readonly physicalSize: number;
  readonly physicalUtilisation: number;
  /** The virtual sizes of all disks. */
  readonly virtualAllocation: number;
}

export interface VdiRequest {
  /**
   * Of the new VDI. A repository whose server chooses answers with another one, and knows the disk by both from then
   * on: a record has this one until the disk is complete.
   */
  readonly uuid: string;
  readonly nameLabel: string;
  /** Bytes, a multiple of 512; a repository may round up. */
  readonly virtualSize: number;
}

/** A disk as the repository knows it. */
export interface VdiFacts {
  readonly uuid: string;
  readonly location: string;
  /** Bytes. */
  readonly virtualSize: number;
  /** Bytes that it takes in the repository now. */
  readonly physicalUtilisation: number;
}

/** A disk that a patch is built into. */
export interface VdiWriting {
  /**
   * Builds the image of an upload into the disk, in the format that the repository takes. It has its new content when
   * this has resolved; until then its old one, or one that does not mount.
   *
   * @throws PatchVdiError, PoolError
   */
  build(input: Omit<BuildInput, 'format'>): Promise<BuildResult>;
  /** Gives up the space that was set aside. Idempotent; after the build, whatever came of it. */
  close(): void;
}

/** What people see of a disk who look at the repository itself. */
export interface VdiNames {
  readonly nameLabel: string;
  readonly nameDescription: string;
}

/** What every operation that moves a disk's bytes takes. */
export interface TransferOptions {
  readonly signal?: AbortSignal | undefined;
  /** From 0 to 1. */
  readonly onProgress?: ((fraction: number) => void) | undefined;
}

export type TransferFormat = 'raw' | 'vhd';

/** A disk on its way out. Whoever asked for it reads it to its end or closes it. */
export interface VdiExport {
  /** Exact, so that it can be announced. */
  readonly lengthBytes: number;
  /** From first byte to last, once; the buffers are the receiver's. */
  stream(): AsyncGenerator<Uint8Array>;
  close(): Promise<void>;
}

export interface ImportOptions extends TransferOptions {
  readonly format: TransferFormat;
  /** Bytes of the stream, where they are known. */
  readonly contentLength: number | undefined;
}

/**
 * A place that holds disks: a folder of this machine, or an SR of a real pool. It knows disks by their UUIDs and
 * nothing of the database. Every disk appears as a whole or not at all; after a kill, at most what
 * {@link removeRemains} finds is left.
 *
 * All methods throw PoolError `VDI_MISSING` for a disk that is not there, `SR_FULL` | `OUT_OF_SPACE`, `VDI_IO_ERROR`;
 * PatchVdiError from what they are built of.
 */
export interface StorageRepository {
  readonly facts: RepositoryFacts;
  /** A folder on this machine whose disk is that of the repository, for what must lie beside a VDI for a while. */
  readonly scratchFolder: string | undefined;
  /** Whether this host can use it now. Nothing may be concluded from what is missing in one that is not there. */
  isReachable(): Promise<boolean>;
  usage(): Promise<RepositoryUsage>;
  /** Bytes that a new disk may have: free, and not promised to one that is being written. */
  freeBytes(): Promise<number>;
  /** A disk of zeros. @throws PoolError SR_FULL */
  createVdi(request: VdiRequest): Promise<VdiFacts>;
  /** @throws PoolError VDI_MISSING */
  destroyVdi(uuid: string): Promise<void>;
  vdiFacts(uuid: string): Promise<VdiFacts>;
  /** A second disk with the same content, at once where the repository can. */
  cloneVdi(
    uuid: string,
    request: Omit<VdiRequest, 'virtualSize'>,
    options?: TransferOptions,
  ): Promise<VdiFacts>;
  /** The same into another repository. Zeros are not stored. */
  copyVdi(
    uuid: string,
    target: StorageRepository,
    request: Omit<VdiRequest, 'virtualSize'>,
    options?: TransferOptions,
  ): Promise<VdiFacts>;
  openVdiForWriting(uuid: string): Promise<VdiWriting>;
  /** Where the repository shows names of its own: what a disk is called there. Not having done it harms nobody. */
  nameVdi?(uuid: string, names: VdiNames): Promise<void>;
  /**
   * The disk as a raw file or block device of this machine, absolute, for whoever alone uses the VDI; undefined where
   * there is none.
   */
  localPath(uuid: string): Promise<string | undefined>;
  /** For reading; closed by whoever opened it. */
  openVdi(uuid: string, signal?: AbortSignal): Promise<Image>;
  exportVdi(uuid: string, format: TransferFormat, options?: TransferOptions): Promise<VdiExport>;
  /** Replaces the content of a disk; what the stream does not reach is zeros. */
  importVdi(uuid: string, source: AsyncIterable<Uint8Array>, options: ImportOptions): Promise<void>;
  /** Replaces the content of a disk by runs of bytes in ascending order, zeros between them. */
  fillVdi(uuid: string, runs: AsyncIterable<DiskBytes>, options?: TransferOptions): Promise<void>;
  /** Every disk that is there, also ones that the pool does not know. */
  listVdis(): Promise<readonly string[]>;
  /**
   * Removes what operations on those disks left unfinished. Only when none is under way.
   *
   * @returns the names of what was removed
   */
  removeRemains(uuids: ReadonlySet<string>): Promise<readonly string[]>;
}

/** Some bytes of a disk. Valid until the next ones are asked for. */
export interface DiskBytes {
  readonly offset: number;
  readonly bytes: Uint8Array;
}
