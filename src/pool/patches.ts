import { isPatchVdiError } from '../errors.js';
import { trace } from '../trace.js';
import { describeBytes } from '../units.js';
import { chooseSr } from './choose-sr.js';
import type { ApplyLocks } from './apply-locks.js';
import type { RecordOf } from './classes.js';
import type { Database } from './database.js';
import { downloadFile, downloadFromImage, type PatchDownload } from './download.js';
import { NULL_REF, type Ref } from './fields.js';
import { patchFileSize, removePatchFile } from './patch-file.js';
import {
  DEPRECATIONS,
  mayBeDeleted,
  patchSource,
  patchVdiSize,
  requireNotApplied,
  requireSpace,
  type DeprecatedCall,
  type PatchBacking,
} from './patch-rules.js';
import { PoolError, isPoolError } from './pool-error.js';
import { receivePatch, type ReceiveTools } from './receive-patch.js';
import { recordPatch } from './record-patch.js';
import type { Repositories } from './repositories.js';
import { refResult, type Tasks } from './tasks.js';
import type { CallOptions, VdiInProgress, Vdis } from './vdis.js';

export interface PatchesOptions {
  readonly database: Database;
  readonly repositories: Repositories;
  readonly vdis: Vdis;
  readonly tasks: Tasks;
  readonly receive: ReceiveTools;
  /** What hosts are doing with patches. */
  readonly locks: ApplyLocks;
  /** This host's patches of the time before VDIs. */
  readonly patchFolder: string;
  /** This host. */
  readonly host: Ref;
  /** Told what was called and what to call instead. */
  readonly onDeprecated?: ((call: DeprecatedCall, advice: string) => void) | undefined;
}

export interface UploadRequest extends CallOptions {
  readonly source: AsyncIterable<Uint8Array>;
  /** Bytes; undefined without a `content-length`. */
  readonly contentLength: number | undefined;
  /** Where to put it; default: as the mission says. */
  readonly sr?: Ref | undefined;
  /** Called when the SR is chosen and has room, before a byte is read: now the client may be told to send. */
  readonly onAccepted?: (() => void) | undefined;
}

/** Patches: what clients upload, download, clean and destroy. */
export class Patches {
  readonly #database: Database;
  readonly #repositories: Repositories;
  readonly #vdis: Vdis;
  readonly #tasks: Tasks;
  readonly #receive: ReceiveTools;
  readonly #locks: ApplyLocks;
  readonly #patchFolder: string;
  readonly #host: Ref;
  readonly #onDeprecated: PatchesOptions['onDeprecated'];

  constructor(options: PatchesOptions) {
    this.#database = options.database;
    this.#repositories = options.repositories;
    this.#vdis = options.vdis;
    this.#tasks = options.tasks;
    this.#receive = options.receive;
    this.#locks = options.locks;
    this.#patchFolder = options.patchFolder;
    this.#host = options.host;
    this.#onDeprecated = options.onDeprecated;
  }

  /**
   * Takes an upload into a VDI and makes, or updates, the record of the patch. When this resolves, all of it is on the
   * disk; when it rejects, nothing is left but the task, which has failed with the same error.
   *
   * @returns the ref of the `pool_patch`
   * @throws PoolError HOST_HAS_NO_PATCH_SR, OUT_OF_SPACE, INVALID_PATCH, INVALID_PATCH_WITH_LOG, TASK_CANCELLED, …
   */
  async upload(request: UploadRequest): Promise<Ref> {
    let location = 'the storage repository';
    const scene = { upload: 'patch', location: () => location } as const;
    return await this.#tasks.run(request.task, scene, request.signal, async (signal) => {
      const { ref: sr, uuid } = await this.#chooseSr(request.sr);
      location = uuid;
      const virtualSize = patchVdiSize(request.contentLength);
      requireSpace(virtualSize, await this.#repositories.of(sr).freeBytes(), location);
      request.onAccepted?.();
      const vdi = await this.#vdis.begin({ sr, nameLabel: 'Patch that is being uploaded', virtualSize });
      try {
        return await this.#uploadInto(vdi, virtualSize, request, signal);
      } catch (error) {
        await this.#vdis.remove(vdi.ref).catch((failure: unknown) => {
          trace('pool', () => `VDI ${vdi.uuid} could not be removed: ${String(failure)}`);
        });
        // Somebody else took the space since it was looked at.
        if (isPoolError(error) && error.code === 'SR_FULL') throw new PoolError('OUT_OF_SPACE', [location]);
        throw error;
      }
    });
  }

  async #chooseSr(wanted: Ref | undefined): Promise<{ readonly ref: Ref; readonly uuid: string }> {
    if (wanted !== undefined) this.#database.get('SR', wanted);
    const [pool] = this.#database.all('pool');
    return chooseSr({
      candidates: await this.#repositories.candidates(),
      defaultSr: pool?.[1].default_SR ?? NULL_REF,
      master: this.#host,
      wanted,
    });
  }

  async #uploadInto(
    vdi: VdiInProgress,
    virtualSize: number,
    request: UploadRequest,
    signal: AbortSignal,
  ): Promise<Ref> {
    const { source, contentLength, task } = request;
    const received = await receivePatch(vdi, this.#receive, {
      source,
      contentLength,
      virtualSize,
      signal,
      onProgress: (fraction) => task !== undefined && this.#tasks.progress(task, fraction),
    });
    const { ref, replaced } = await this.#database.change((draft) => {
      // The VDI may have been destroyed, the task cancelled while this waited for its turn.
      signal.throwIfAborted();
      const done = recordPatch(draft, vdi, received);
      this.#vdis.completeIn(draft, vdi, received.facts);
      this.#tasks.succeedIn(draft, task, refResult(done.ref));
      return done;
    });
    this.#vdis.completed(vdi);
    trace('pool', () => `patch ${received.info.uuid}: ${describeBytes(received.size)} in VDI ${vdi.uuid}`);
    await this.#nameDisk(vdi);
    await this.#removeReplaced(ref, replaced);
    return ref;
  }

  /** For people who look at the storage repository itself. */
  async #nameDisk({ ref, repository }: VdiInProgress): Promise<void> {
    const record = this.#database.find('VDI', ref);
    if (record === undefined) return;
    const names = { nameLabel: record.name_label, nameDescription: record.name_description };
    await repository.nameVdi?.(record.uuid, names).catch((error: unknown) => {
      trace('pool', () => `VDI ${record.uuid} keeps its old name: ${String(error)}`);
    });
  }

  /** What a second upload of a UUID has replaced. The upload is done: what cannot go now goes with the next start. */
  async #removeReplaced(patch: Ref, oldVdi: Ref | undefined): Promise<void> {
    try {
      if (oldVdi !== undefined) await this.#vdis.remove(oldVdi);
      await this.#removeReplacedFile(patch);
      const record = this.#database.find('pool_patch', patch);
      const sr = record === undefined ? undefined : this.#database.find('VDI', record.VDI)?.SR;
      if (sr !== undefined) await this.#repositories.refreshUsage(sr);
    } catch (error) {
      trace('pool', () => `what an upload replaced could not be removed: ${String(error)}`);
    }
  }

  async #removeReplacedFile(patch: Ref): Promise<void> {
    const replaced = this.#database.find('pool_patch', patch)?.replaced_filename ?? '';
    if (replaced === '') return;
    await removePatchFile(this.#patchFolder, replaced);
    await this.#database.change((draft) => {
      const record = draft.find('pool_patch', patch);
      if (record?.replaced_filename !== replaced) return;
      draft.update('pool_patch', patch, { replaced_filename: '' });
    });
  }

  /**
   * The upload's bytes: from the master's file if that is there, else out of the VDI. Closed by the caller.
   *
   * @throws PoolError CANNOT_FIND_PATCH, CANNOT_FETCH_PATCH when they are not what was uploaded
   */
  async download(uuid: string, signal?: AbortSignal): Promise<PatchDownload> {
    const ref = this.#database.findByUuid('pool_patch', uuid);
    if (ref === undefined) throw new PoolError('CANNOT_FIND_PATCH');
    const record = this.#database.get('pool_patch', ref);
    const download = await this.#openDownload(record, signal);
    if (download.size === record.size) return download;
    await download.close();
    throw new PoolError('CANNOT_FETCH_PATCH', [uuid]);
  }

  async #openDownload(
    record: RecordOf<'pool_patch'>,
    signal: AbortSignal | undefined,
  ): Promise<PatchDownload> {
    const source = patchSource(await this.#backing(record));
    if (source === 'nowhere') throw new PoolError('CANNOT_FIND_PATCH');
    try {
      if (source === 'file') return await downloadFile(record.filename, signal);
      const { record: vdi, repository } = this.#vdis.ready(record.VDI);
      return await downloadFromImage(await repository.openVdi(vdi.uuid, signal), signal);
    } catch (error) {
      signal?.throwIfAborted();
      if (!isPatchVdiError(error) && !isPoolError(error)) throw error;
      throw new PoolError('CANNOT_FETCH_PATCH', [record.uuid], error);
    }
  }

  async #backing(record: RecordOf<'pool_patch'>): Promise<PatchBacking> {
    return {
      fileMissing: (await patchFileSize(record.filename)) === undefined,
      vdiDangling: this.#database.find('VDI', record.VDI) === undefined,
      isApplied: record.host_patches.length > 0,
    };
  }

  /** `pool_patch.clean`, deprecated: the master's local file only. @throws PoolError HANDLE_INVALID */
  async clean(patch: Ref): Promise<void> {
    const { filename } = this.#database.get('pool_patch', patch);
    this.#deprecated('pool_patch.clean');
    await removePatchFile(this.#patchFolder, filename);
  }

  /** `pool_patch.clean_on_host`, deprecated: that host's local file only. @throws PoolError HANDLE_INVALID */
  async cleanOnHost(patch: Ref, host: Ref): Promise<void> {
    const { filename } = this.#database.get('pool_patch', patch);
    this.#database.get('host', host);
    this.#deprecated('pool_patch.clean_on_host');
    // Other hosts have files of their own, and are asked by the server.
    if (host === this.#host) await removePatchFile(this.#patchFolder, filename);
  }

  /** `pool_patch.pool_clean`, deprecated: local files, and "any associated patch VDI". @throws PoolError */
  async poolClean(patch: Ref): Promise<void> {
    this.#database.get('pool_patch', patch);
    this.#deprecated('pool_patch.pool_clean');
    await this.#removeBytes(patch);
  }

  async #removeBytes(patch: Ref): Promise<void> {
    const { filename, VDI } = this.#database.get('pool_patch', patch);
    await removePatchFile(this.#patchFolder, filename);
    if (this.#database.find('VDI', VDI) !== undefined) await this.#vdis.destroy(VDI);
  }

  /** `pool_patch.destroy`: bytes first, then the record. @throws PoolError PATCH_IS_APPLIED, HANDLE_INVALID, OTHER_OPERATION_IN_PROGRESS */
  async destroy(patch: Ref): Promise<void> {
    requireNotApplied(this.#database.get('pool_patch', patch).host_patches.length > 0);
    this.#locks.requireIdle(patch);
    await this.#removeBytes(patch);
    await this.#database.change((draft) => {
      const record = draft.find('pool_patch', patch);
      if (record === undefined) return;
      // Another upload may have come in between: that one stays.
      const vdiDangling = draft.find('VDI', record.VDI) === undefined;
      const isApplied = record.host_patches.length > 0;
      if (mayBeDeleted({ fileMissing: true, vdiDangling, isApplied })) draft.remove('pool_patch', patch);
    });
  }

  /**
   * Deletes the records that nothing stands behind any more: at every start. In between, cleaned patches keep theirs,
   * with an invalid reference, as the mission says of them.
   *
   * @returns the UUIDs of the patches
   */
  async collect(): Promise<readonly string[]> {
    const gone: string[] = [];
    for (const [ref, record] of this.#database.all('pool_patch')) {
      await this.#removeReplacedFile(ref);
      if (!mayBeDeleted(await this.#backing(record))) continue;
      await this.#database.change((draft) => {
        const { VDI } = draft.get('pool_patch', ref);
        if (draft.find('VDI', VDI) === undefined) draft.remove('pool_patch', ref);
      });
      gone.push(record.uuid);
    }
    return gone;
  }

  #deprecated(call: DeprecatedCall): void {
    this.#onDeprecated?.(call, DEPRECATIONS[call]);
  }
}
