import { PatchVdiError } from '../../errors.js';
import { copyInto } from '../../pool/copy-into.js';
import { PoolError } from '../../pool/pool-error.js';
import type {
  DiskBytes,
  RepositoryUsage,
  StorageRepository,
  TransferOptions,
  VdiFacts,
  VdiRequest,
  VdiWriting,
} from '../../pool/storage.js';
import { DistantRepository, type DistantOptions } from '../../pool/distant-repository.js';
import type { HostLink } from './host-link.js';
import { RemoteDisk } from './remote-disk.js';
import {
  MAX_UUIDS,
  SR_LIST_VDIS,
  SR_REMOVE_REMAINS,
  SR_USAGE,
  VDI_CLONE_CALL,
  VDI_CREATE,
  VDI_DESTROY,
  VDI_FACTS,
} from './sr-calls.js';

/** A look at figures or names; nobody waits longer for it. */
const LOOK_MILLISECONDS = 60_000;

export interface RemoteRepositoryOptions extends DistantOptions {
  readonly link: HostLink;
  /** What the heartbeat of its host has seen last. */
  readonly isReachable: () => boolean;
  /** Bytes that a disk has by the pool's records; undefined for one that they do not know. */
  readonly sizeOf: (uuid: string) => number | undefined;
}

/**
 * A storage repository of a slave, as its master uses it. The slave's word counts for its own disks only: what it says
 * is checked against what was asked for and against the records, so that a wrong size spoils no other repository.
 */
export class RemoteRepository extends DistantRepository implements StorageRepository {
  readonly #link: HostLink;
  readonly #options: RemoteRepositoryOptions;

  constructor(options: RemoteRepositoryOptions) {
    super(options);
    this.#link = options.link;
    this.#options = options;
  }

  // oxlint-disable-next-line require-await -- as the interface has it
  async isReachable(): Promise<boolean> {
    return this.#options.isReachable();
  }

  /** @throws PoolError SR_HAS_NO_PBDS at once, without waiting for a host that is away */
  get #sr(): string {
    const { uuid } = this.facts;
    if (!this.#options.isReachable()) throw new PoolError('SR_HAS_NO_PBDS', [uuid]);
    return uuid;
  }

  async usage(): Promise<RepositoryUsage> {
    const { freeBytes: _free, ...usage } = await this.#usage();
    return usage;
  }

  async freeBytes(): Promise<number> {
    return (await this.#usage()).freeBytes;
  }

  #usage() {
    return this.#link.call(SR_USAGE, { sr: this.#sr }, { timeoutMilliseconds: LOOK_MILLISECONDS });
  }

  async createVdi({ uuid, nameLabel, virtualSize }: VdiRequest): Promise<VdiFacts> {
    const facts = await this.#link.call(
      VDI_CREATE,
      { sr: this.#sr, vdi: uuid, nameLabel, virtualSize },
      { timeoutMilliseconds: LOOK_MILLISECONDS },
    );
    return this.#checked(facts, uuid, virtualSize);
  }

  /** @param virtualSize bytes that it must have; undefined: whatever it says */
  #checked(facts: VdiFacts, uuid: string, virtualSize: number | undefined): VdiFacts {
    const wrong = facts.uuid !== uuid || (virtualSize !== undefined && facts.virtualSize !== virtualSize);
    if (!wrong) return facts;
    throw new PatchVdiError('sink', 'the host answers with another disk', {
      context: {
        path: this.#link.name,
        found: `VDI ${facts.uuid} of ${facts.virtualSize} bytes`,
        expected: `VDI ${uuid}${virtualSize === undefined ? '' : ` of ${virtualSize} bytes`}`,
      },
      leftBehind: 'unknown: whether that host did what was asked',
    });
  }

  async destroyVdi(uuid: string): Promise<void> {
    const place = { sr: this.#sr, vdi: uuid };
    await this.#link.call(VDI_DESTROY, place, { timeoutMilliseconds: 5 * LOOK_MILLISECONDS });
  }

  async vdiFacts(uuid: string): Promise<VdiFacts> {
    const place = { sr: this.#sr, vdi: uuid };
    const facts = await this.#link.call(VDI_FACTS, place, { timeoutMilliseconds: LOOK_MILLISECONDS });
    return this.#checked(facts, uuid, this.#options.sizeOf(uuid));
  }

  async cloneVdi(
    uuid: string,
    { uuid: to, nameLabel }: Omit<VdiRequest, 'virtualSize'>,
    { signal }: TransferOptions = {},
  ): Promise<VdiFacts> {
    const request = { sr: this.#sr, vdi: uuid, to, nameLabel };
    const facts = await this.#link.call(VDI_CLONE_CALL, request, { signal });
    return this.#checked(facts, to, this.#options.sizeOf(uuid));
  }

  async copyVdi(
    uuid: string,
    target: StorageRepository,
    request: Omit<VdiRequest, 'virtualSize'>,
    options: TransferOptions = {},
  ): Promise<VdiFacts> {
    const { virtualSize } = await this.vdiFacts(uuid);
    const place = { sr: this.#sr, vdi: uuid, start: 0, end: virtualSize };
    const runs = this.#link.readRuns(place, options.signal);
    return await copyInto(target, { ...request, virtualSize }, runs, options);
  }

  /** Uploads go into an SR of the master, from where they are copied. @throws PoolError SR_HAS_NO_PBDS */
  // oxlint-disable-next-line require-await -- as the interface has it
  async openVdiForWriting(): Promise<VdiWriting> {
    throw new PoolError('SR_HAS_NO_PBDS', [this.facts.uuid]);
  }

  protected async openDisk(uuid: string, signal: AbortSignal | undefined): Promise<RemoteDisk> {
    const { virtualSize } = await this.vdiFacts(uuid);
    const name = `VDI ${uuid} of ${this.#link.name}`;
    return new RemoteDisk(name, virtualSize, (part) =>
      this.#link.readRuns({ sr: this.facts.uuid, vdi: uuid, ...part }, signal),
    );
  }

  async fillVdi(uuid: string, runs: AsyncIterable<DiskBytes>, options: TransferOptions = {}): Promise<void> {
    await this.#fill(uuid, (await this.vdiFacts(uuid)).virtualSize, runs, options);
  }

  async #fill(
    uuid: string,
    virtualSize: number,
    runs: AsyncIterable<DiskBytes>,
    { signal, onProgress }: TransferOptions,
  ): Promise<void> {
    async function* told(): AsyncGenerator<DiskBytes> {
      for await (const run of runs) {
        yield run;
        onProgress?.((run.offset + run.bytes.length) / virtualSize);
      }
    }
    await this.#link.writeRuns({ sr: this.#sr, vdi: uuid, end: virtualSize }, told(), signal);
  }

  async listVdis(): Promise<readonly string[]> {
    return await this.#link.call(SR_LIST_VDIS, { sr: this.#sr }, { timeoutMilliseconds: LOOK_MILLISECONDS });
  }

  async removeRemains(uuids: ReadonlySet<string>): Promise<readonly string[]> {
    const all = [...uuids];
    const removed: string[] = [];
    for (let at = 0; at < all.length; at += MAX_UUIDS) {
      const request = { sr: this.#sr, vdis: all.slice(at, at + MAX_UUIDS) };
      const limits = { timeoutMilliseconds: 5 * LOOK_MILLISECONDS };
      removed.push(...(await this.#link.call(SR_REMOVE_REMAINS, request, limits)));
    }
    return removed;
  }
}
