// Longer than 300 lines: one class, because record and disk change together in each of its operations.
import { trace } from '../trace.js';
import type { RecordOf } from './classes.js';
import type { Database } from './database.js';
import type { Draft } from './draft.js';
import type { Ref } from './fields.js';
import { requireNoPatch } from './patch-rules.js';
import { PoolError, isPoolError } from './pool-error.js';
import type { Repositories } from './repositories.js';
import type {
  ImportOptions,
  StorageRepository,
  TransferFormat,
  TransferOptions,
  VdiExport,
  VdiFacts,
} from './storage.js';
import { refResult, type Tasks } from './tasks.js';

export interface VdisOptions {
  readonly database: Database;
  readonly repositories: Repositories;
  readonly tasks: Tasks;
  readonly newUuid: () => string;
}

export interface NewVdi {
  readonly sr: Ref;
  readonly nameLabel: string;
  readonly nameDescription?: string | undefined;
  /** Bytes. */
  readonly virtualSize: number;
  readonly otherConfig?: Readonly<Record<string, string>> | undefined;
  /** Default `user`. */
  readonly type?: RecordOf<'VDI'>['type'] | undefined;
  readonly smConfig?: Readonly<Record<string, string>> | undefined;
}

/** Who waits for a long call. */
export interface CallOptions {
  readonly task?: Ref | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A VDI whose record stands, and whose disk may still fail. */
export interface VdiInProgress {
  readonly ref: Ref;
  readonly uuid: string;
  readonly repository: StorageRepository;
}

/**
 * The VDIs: records and disks together. The record comes first and goes last, and says in between that its disk is not
 * complete: so the next start finds everything that a dead process left.
 */
export class Vdis {
  readonly #database: Database;
  readonly #repositories: Repositories;
  readonly #tasks: Tasks;
  readonly #newUuid: () => string;
  /** Whose content is being replaced: it would come back under its name after it was destroyed. */
  readonly #importing = new Set<Ref>();
  /** UUIDs of disks that are being made: only what nobody is at work on any more may be taken for left over. */
  readonly #begun = new Set<string>();

  constructor({ database, repositories, tasks, newUuid }: VdisOptions) {
    this.#database = database;
    this.#repositories = repositories;
    this.#tasks = tasks;
    this.#newUuid = newUuid;
  }

  /** `VDI.create`: a disk of zeros. @throws PoolError SR_FULL, HANDLE_INVALID, SR_HAS_NO_PBDS */
  async create(request: NewVdi): Promise<Ref> {
    return await this.#asTask({}, request.sr, async () => {
      const vdi = await this.begin(request);
      return await this.#orRemove(vdi, async () => {
        const { nameLabel, virtualSize } = request;
        const facts = await vdi.repository.createVdi({ uuid: vdi.uuid, nameLabel, virtualSize });
        await this.#complete(vdi, facts);
        return vdi.ref;
      });
    });
  }

  /** The record of a disk that is going to be made. It ends with {@link completeIn} or {@link remove}. */
  async begin(request: NewVdi): Promise<VdiInProgress> {
    const { sr } = request;
    const repository = this.#repositories.of(sr);
    const uuid = this.#newUuid();
    this.#begun.add(uuid);
    const making = this.#database.change((draft) => {
      draft.get('SR', sr);
      return draft.create('VDI', {
        uuid,
        SR: sr,
        name_label: request.nameLabel,
        name_description: request.nameDescription,
        virtual_size: request.virtualSize,
        type: request.type,
        other_config: request.otherConfig,
        sm_config: request.smConfig,
        state: 'creating',
      });
    });
    const ref = await making.catch((error: unknown) => {
      this.#begun.delete(uuid);
      throw error;
    });
    return { ref, uuid, repository };
  }

  /** Whether somebody makes the disk or replaces its content now. */
  isUnderWay(ref: Ref): boolean {
    const uuid = this.#database.find('VDI', ref)?.uuid;
    return this.#importing.has(ref) || (uuid !== undefined && this.#begun.has(uuid));
  }

  /** Whether an SR has a VDI that nobody will finish or remove any more. */
  hasLeftovers(sr: Ref): boolean {
    const all = this.#database.all('VDI');
    return all.some(([ref, { SR, state }]) => SR === sr && state !== 'ready' && !this.isUnderWay(ref));
  }

  /** As part of a change: the disk is complete. When the change is stored, {@link completed} says so. */
  completeIn(draft: Draft, vdi: VdiInProgress, facts: VdiFacts): void {
    draft.update('VDI', vdi.ref, {
      uuid: facts.uuid,
      virtual_size: facts.virtualSize,
      physical_utilisation: facts.physicalUtilisation,
      location: facts.location,
      state: 'ready',
    });
  }

  /** Not before the change is stored: until then the record says "creating", as if it were left over. */
  completed(vdi: VdiInProgress): void {
    this.#begun.delete(vdi.uuid);
  }

  async #complete(vdi: VdiInProgress, facts: VdiFacts, task?: Ref): Promise<void> {
    await this.#database.change((draft) => {
      this.completeIn(draft, vdi, facts);
      this.#tasks.succeedIn(draft, task, refResult(vdi.ref));
    });
    this.completed(vdi);
    await this.#refreshUsage(this.#database.find('VDI', vdi.ref)?.SR);
  }

  /** The first error counts. What cannot be removed now goes with the next start. */
  async #orRemove<Result>(vdi: VdiInProgress, work: () => Promise<Result>): Promise<Result> {
    try {
      return await work();
    } catch (error) {
      await this.remove(vdi.ref).catch((failure: unknown) => {
        trace('pool', () => `VDI ${vdi.uuid} could not be removed: ${String(failure)}`);
      });
      throw error;
    }
  }

  /**
   * `VDI.destroy`. When it fails, the VDI is what it was.
   *
   * @throws PoolError HANDLE_INVALID; OTHER_OPERATION_IN_PROGRESS while it is being written; SR_HAS_NO_PBDS
   */
  async destroy(ref: Ref): Promise<void> {
    const { SR: sr } = this.#database.get('VDI', ref);
    const repository = this.#repositories.of(sr);
    // Else the next start that has the SR again would destroy what somebody was told is still there.
    if (!(await repository.isReachable())) throw new PoolError('SR_HAS_NO_PBDS', [sr]);
    await this.#database.change((draft) => {
      if (draft.get('VDI', ref).state === 'creating' || this.#importing.has(ref)) {
        throw new PoolError('OTHER_OPERATION_IN_PROGRESS', ['VDI', ref]);
      }
      draft.update('VDI', ref, { state: 'destroying' });
    });
    try {
      await this.remove(ref);
    } catch (error) {
      await this.#takeBack(ref, repository).catch((failure: unknown) => {
        trace('pool', () => `VDI ${ref} stays half destroyed: ${String(failure)}`);
      });
      throw error;
    }
  }

  /** A VDI whose disk could not be removed is one still. Where the disk cannot be looked at, the next start decides. */
  async #takeBack(ref: Ref, repository: StorageRepository): Promise<void> {
    await repository.vdiFacts(this.#database.get('VDI', ref).uuid);
    await this.#database.change((draft) => {
      if (draft.find('VDI', ref)?.state === 'destroying') draft.update('VDI', ref, { state: 'ready' });
    }, true);
  }

  /** Removes disk and record of a VDI that is not `ready`, or whose disk is gone. Safe to be done again. */
  async remove(ref: Ref): Promise<void> {
    const record = this.#database.find('VDI', ref);
    if (record === undefined) return;
    const repository = this.#repositories.of(record.SR);
    try {
      try {
        await repository.destroyVdi(record.uuid);
      } catch (error) {
        if (!isPoolError(error) || error.code !== 'VDI_MISSING') throw error;
      }
      await repository.removeRemains(new Set([record.uuid]));
    } finally {
      // Failed or not, whoever made it has given it up.
      this.#begun.delete(record.uuid);
    }
    await this.#database.change((draft) => draft.remove('VDI', ref), true);
    await this.#refreshUsage(record.SR);
  }

  /** A VDI whose disk can be used. @throws PoolError HANDLE_INVALID, OTHER_OPERATION_IN_PROGRESS */
  ready(ref: Ref): { readonly record: RecordOf<'VDI'>; readonly repository: StorageRepository } {
    const record = this.#database.get('VDI', ref);
    if (record.state !== 'ready') throw new PoolError('OTHER_OPERATION_IN_PROGRESS', ['VDI', ref]);
    return { record, repository: this.#repositories.of(record.SR) };
  }

  /** `VDI.copy`: into another SR. */
  copy(ref: Ref, sr: Ref, options: CallOptions = {}): Promise<Ref> {
    return this.#duplicate(ref, sr, options, (from, vdi, transfer) => {
      const { uuid } = vdi;
      const request = { uuid, nameLabel: from.record.name_label };
      return from.repository.copyVdi(from.record.uuid, vdi.repository, request, transfer);
    });
  }

  /** `VDI.clone`: within its SR, without a copy where the SR can. */
  clone(ref: Ref, options: CallOptions = {}): Promise<Ref> {
    const { SR: sr } = this.#database.get('VDI', ref);
    return this.#duplicate(ref, sr, options, (from, vdi, transfer) => {
      const request = { uuid: vdi.uuid, nameLabel: from.record.name_label };
      return from.repository.cloneVdi(from.record.uuid, request, transfer);
    });
  }

  #duplicate(
    ref: Ref,
    sr: Ref,
    options: CallOptions,
    make: (
      from: { readonly record: RecordOf<'VDI'>; readonly repository: StorageRepository },
      vdi: VdiInProgress,
      transfer: TransferOptions,
    ) => Promise<VdiFacts>,
  ): Promise<Ref> {
    return this.#asTask(options, sr, async (signal) => {
      const from = this.ready(ref);
      const { name_label, name_description, virtual_size, other_config, type } = from.record;
      const vdi = await this.begin({
        sr,
        type,
        nameLabel: name_label,
        nameDescription: name_description,
        virtualSize: virtual_size,
        otherConfig: other_config,
      });
      return await this.#orRemove(vdi, async () => {
        const facts = await make(from, vdi, this.#transfer(options.task, signal));
        signal.throwIfAborted();
        await this.#complete(vdi, facts, options.task);
        return vdi.ref;
      });
    });
  }

  /** @throws PoolError HANDLE_INVALID, OTHER_OPERATION_IN_PROGRESS, OPERATION_NOT_ALLOWED for the VDI of a patch */
  replaceable(ref: Ref): ReturnType<Vdis['ready']> {
    requireNoPatch(ref, this.#database.all('pool_patch'));
    return this.ready(ref);
  }

  /** For `PUT /import_raw_vdi`: replaces the content of a VDI, as a whole or not at all. The VDI's ref. */
  import(
    ref: Ref,
    source: AsyncIterable<Uint8Array>,
    content: Pick<ImportOptions, 'format' | 'contentLength'>,
    options: CallOptions = {},
  ): Promise<Ref> {
    const { SR: sr } = this.#database.get('VDI', ref);
    return this.#asTask(options, sr, async (signal) => {
      const { record, repository } = this.replaceable(ref);
      if (this.#importing.has(ref)) throw new PoolError('OTHER_OPERATION_IN_PROGRESS', ['VDI', ref]);
      this.#importing.add(ref);
      try {
        const transfer = this.#transfer(options.task, signal);
        await repository.importVdi(record.uuid, source, { ...content, ...transfer });
        const { physicalUtilisation } = await repository.vdiFacts(record.uuid);
        await this.#database.change((draft) => {
          draft.update('VDI', ref, { physical_utilisation: physicalUtilisation });
          this.#tasks.succeedIn(draft, options.task, refResult(ref));
        });
      } finally {
        this.#importing.delete(ref);
      }
      await this.#refreshUsage(sr);
      return ref;
    });
  }

  /** For `GET /export_raw_vdi`. The task, if there is one, is the caller's to end when it has sent everything. */
  async export(ref: Ref, format: TransferFormat, options: CallOptions = {}): Promise<VdiExport> {
    const { record, repository } = this.ready(ref);
    return await repository.exportVdi(record.uuid, format, this.#transfer(options.task, options.signal));
  }

  #transfer(task: Ref | undefined, signal: AbortSignal | undefined): TransferOptions {
    if (task === undefined) return { signal };
    return { signal, onProgress: (fraction) => this.#tasks.progress(task, fraction) };
  }

  #asTask<Result>(
    { task, signal }: CallOptions,
    sr: Ref,
    work: (signal: AbortSignal) => Promise<Result>,
  ): Promise<Result> {
    const location = (): string => this.#database.find('SR', sr)?.uuid ?? sr;
    return this.#tasks.run(task, { upload: 'disk', location }, signal, work);
  }

  /** Figures for people: not knowing them is no reason to fail. */
  async #refreshUsage(sr: Ref | undefined): Promise<void> {
    if (sr === undefined) return;
    await this.#repositories.refreshUsage(sr).catch((error: unknown) => {
      trace('pool', () => `how full the SR is could not be told: ${String(error)}`);
    });
  }
}
