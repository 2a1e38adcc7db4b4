import { agreeWithHost, forgetHostPatch, recordHostPatch, updatePoolApplied } from './applied-records.js';
import type { ApplyLocks } from './apply-locks.js';
import {
  applyAgainKey,
  applyError,
  chooseCopySr,
  halfAppliedError,
  precheckError,
  resultOutput,
  UNFINISHED_KEY,
} from './apply-rules.js';
import type { RecordOf } from './classes.js';
import type { Database } from './database.js';
import type { Ref } from './fields.js';
import type {
  HostApply,
  HostCallOptions,
  HostSides,
  HostStep,
  PatchOnHost,
  UnfinishedPatch,
} from './host-side.js';
import { patchFileSize } from './patch-file.js';
import { PoolError, isPoolError } from './pool-error.js';
import { withPrivateCopy } from './private-copy.js';
import type { Repositories } from './repositories.js';
import type { Tasks } from './tasks.js';
import type { CallOptions, Vdis } from './vdis.js';

export interface AppliesOptions {
  readonly database: Database;
  readonly repositories: Repositories;
  readonly vdis: Vdis;
  readonly tasks: Tasks;
  readonly hosts: HostSides;
  readonly locks: ApplyLocks;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  readonly newUuid: () => string;
}

export interface ApplyCallOptions extends CallOptions {
  /** From 0 to 1, also without a task. */
  readonly onFraction?: ((fraction: number) => void) | undefined;
}

/** How far a call is when a phase begins, and what share of it the phase is; for progress that people look at. */
const SHARES: Readonly<Record<HostStep['phase'], readonly [from: number, share: number]>> = {
  fetch: [0, 0.5],
  copy: [0, 0.5],
  check: [0.5, 0],
  mount: [0.55, 0],
  verify: [0.6, 0.1],
  info: [0.7, 0],
  precheck: [0.75, 0],
  apply: [0.8, 0],
  'clean up': [0.95, 0],
};

interface Scene {
  readonly patch: Ref;
  readonly host: Ref;
  readonly record: RecordOf<'pool_patch'>;
  readonly hostRecord: RecordOf<'host'>;
}

/** `pool_patch.precheck`, `apply` and `pool_apply`: patches on their way to hosts. */
export class Applies {
  readonly #options: AppliesOptions;

  constructor(options: AppliesOptions) {
    this.#options = options;
  }

  /**
   * Asks a patch whether it may be applied to a host.
   *
   * @returns what it printed
   * @throws PoolError HANDLE_INVALID, HOST_OFFLINE, OPERATION_NOT_ALLOWED (the host is not root's), OUT_OF_SPACE,
   *   HOST_HAS_NO_PATCH_SR, CANNOT_FIND_PATCH, OTHER_OPERATION_IN_PROGRESS, INVALID_PATCH, PATCH_PRECHECK_FAILED_…
   */
  async precheck(patch: Ref, host: Ref, options: ApplyCallOptions = {}): Promise<string> {
    return await this.#asTask(patch, host, 'precheck', options, async (scene, call) => {
      const outcome = await this.#onHost(scene, call, (request) =>
        this.#options.hosts.of(host).precheck(request, call),
      );
      if (outcome.kind === 'precheckFailed') throw precheckError(patch, outcome.failure);
      return resultOutput(outcome.output);
    });
  }

  /**
   * "When a host wishes to apply a patch it will call `VDI.copy` to duplicate the VDI to a locally-accessible SR, mount
   * the filesystem and execute it. If the patch is still in the master's dom0 filesystem then it will fall back to the
   * HTTP handler." Once the patch's own `apply` runs, neither a cancelled task nor a client that has gone ends it.
   *
   * @returns what it printed
   * @throws PoolError as {@link precheck}; PATCH_ALREADY_APPLIED, PATCH_APPLY_FAILED; OPERATION_NOT_ALLOWED also when an
   *   earlier apply was killed, and nobody has said that it may run again
   */
  async apply(patch: Ref, host: Ref, options: ApplyCallOptions = {}): Promise<string> {
    return await this.#asTask(patch, host, 'apply', options, async (scene, call) => {
      const again = this.#requireNotApplied(scene);
      const outcome = await this.#onHost(scene, call, async (request) => {
        // Who has said so has said it for this once.
        if (again) await this.#forgetAgain(scene);
        return await this.#options.hosts.of(host).apply({ ...request, again }, call);
      });
      return await this.#record(scene, outcome);
    });
  }

  /**
   * On all hosts that lack it, at the same time, each with a copy of its own. One that fails does not keep the others
   * from it.
   *
   * @throws PoolError the first of the hosts' errors, in the order of their records
   */
  async poolApply(patch: Ref, options: CallOptions = {}): Promise<void> {
    const { database, tasks } = this.#options;
    const scene = { upload: 'patch', location: () => 'the pool' } as const;
    await tasks.run(options.task, scene, options.signal, async (signal) => {
      database.get('pool_patch', patch);
      const lacking = database
        .getAll('host')
        .filter((host) => this.#hostPatch(patch, host)?.applied !== true);
      const fractions = new Map<Ref, number>();
      const ended = await Promise.allSettled(
        lacking.map(async (host) => {
          const onFraction = (fraction: number): void => {
            fractions.set(host, fraction);
            const sum = [...fractions.values()].reduce((total, one) => total + one, 0);
            if (options.task !== undefined) tasks.progress(options.task, sum / lacking.length);
          };
          await this.apply(patch, host, { signal, onFraction }).catch((error: unknown) => {
            // Its applied folder knew more than our records, which know it now.
            if (!isPoolError(error) || error.code !== 'PATCH_ALREADY_APPLIED') throw error;
          });
        }),
      );
      const failure = ended.find((end) => end.status === 'rejected');
      if (failure !== undefined) throw failure.reason;
      await database.change((draft) => updatePoolApplied(draft, patch));
    });
  }

  /**
   * A host has started: what a dead process left goes, and the records say what its applied folder says.
   *
   * @returns applies that were killed, and the UUIDs of the patches whose records were changed
   */
  async agree(host: Ref): Promise<{
    readonly unfinished: readonly UnfinishedPatch[];
    readonly changed: readonly string[];
  }> {
    const { database, hosts, newUuid } = this.#options;
    const side = hosts.of(host);
    const { unfinished } = await side.sweep();
    const applied = await side.appliedPatches();
    const word = { host, newUuid, applied, unfinished };
    return { unfinished, changed: await database.change((draft) => agreeWithHost(draft, word)) };
  }

  #hostPatch(patch: Ref, host: Ref): RecordOf<'host_patch'> | undefined {
    const all = this.#options.database.all('host_patch');
    return all.find(([, one]) => one.pool_patch === patch && one.host === host)?.[1];
  }

  async #asTask(
    patch: Ref,
    host: Ref,
    kind: 'precheck' | 'apply',
    { task, signal, onFraction }: ApplyCallOptions,
    work: (scene: Scene, call: HostCallOptions) => Promise<string>,
  ): Promise<string> {
    const { database, tasks, hosts, locks } = this.#options;
    const where = { upload: 'patch', location: () => database.find('host', host)?.uuid ?? host } as const;
    return await tasks.run(task, where, signal, async (stop) => {
      const record = database.get('pool_patch', patch);
      const hostRecord = database.get('host', host);
      const leave = locks.enter(patch, host, kind);
      try {
        await hosts.of(host).requireAble();
        const onProgress = ({ phase, fraction = 0 }: HostStep): void => {
          const [from, share] = SHARES[phase];
          if (task !== undefined) tasks.progress(task, from + share * fraction);
          onFraction?.(from + share * fraction);
        };
        return await work({ patch, host, record, hostRecord }, { signal: stop, onProgress });
      } finally {
        leave();
      }
    });
  }

  /** Gives the host what it needs of the patch, and takes it back. */
  async #onHost<Outcome>(
    { record, host, hostRecord }: Scene,
    { signal, onProgress }: HostCallOptions,
    ask: (request: {
      patch: { uuid: string; sizeBytes: number; sha256: string };
      source: PatchOnHost;
    }) => Promise<Outcome>,
  ): Promise<Outcome> {
    const { database, repositories, vdis } = this.#options;
    const { uuid, size: sizeBytes, sha256 } = record;
    const patch = { uuid, sizeBytes, sha256 };
    const vdi = database.find('VDI', record.VDI);
    if (vdi === undefined) {
      if ((await patchFileSize(record.filename)) === undefined) throw new PoolError('CANNOT_FIND_PATCH');
      return await ask({ patch, source: { kind: 'file' } });
    }
    const targets = await repositories.copyTargets(host);
    const { sr, clone } = chooseCopySr({ host, targets, sourceSr: vdi.SR, virtualSize: vdi.virtual_size });
    const nameLabel = `Copy of patch ${uuid} for host ${hostRecord.uuid}`;
    const request = { vdi: record.VDI, sr, clone, nameLabel, hostUuid: hostRecord.uuid };
    const onFraction = (fraction: number): void => onProgress?.({ phase: 'copy', fraction });
    try {
      return await withPrivateCopy(vdis, request, { signal, onProgress: onFraction }, (copy) =>
        ask({
          patch,
          source: { kind: 'vdi', repositoryUuid: copy.repository.facts.uuid, vdiUuid: copy.uuid },
        }),
      );
    } catch (error) {
      // Somebody else took the space since it was looked at.
      if (!isPoolError(error) || error.code !== 'SR_FULL') throw error;
      throw new PoolError('OUT_OF_SPACE', [database.get('SR', sr).uuid], error);
    }
  }

  /** By the records, before anything is copied. @returns whether it may run once more after a kill */
  #requireNotApplied({ patch, host, record, hostRecord }: Scene): boolean {
    const known = this.#hostPatch(patch, host);
    if (known?.applied === true) throw new PoolError('PATCH_ALREADY_APPLIED', [patch]);
    const key = applyAgainKey(hostRecord);
    const again = Object.hasOwn(record.other_config, key);
    if (known !== undefined && !again) {
      throw halfAppliedError(known.other_config[UNFINISHED_KEY] ?? 'unknown', key);
    }
    return again;
  }

  async #forgetAgain({ patch, hostRecord }: Scene): Promise<void> {
    const key = applyAgainKey(hostRecord);
    await this.#options.database.change((draft) => {
      const { other_config } = draft.get('pool_patch', patch);
      const left = Object.entries(other_config).filter(([known]) => known !== key);
      draft.update('pool_patch', patch, { other_config: Object.fromEntries(left) });
    });
  }

  /** Writes down what came of it. @returns the output of a patch that is applied now; @throws PoolError else */
  async #record({ patch, host, hostRecord }: Scene, outcome: HostApply): Promise<string> {
    const { database, newUuid, now } = this.#options;
    const place = { patch, host, newUuid };
    switch (outcome.kind) {
      case 'applied':
      case 'alreadyApplied':
        await database.change((draft) =>
          recordHostPatch(draft, place, { kind: 'applied', appliedAt: now() }),
        );
        if (outcome.kind === 'applied') return resultOutput(outcome.output);
        throw new PoolError('PATCH_ALREADY_APPLIED', [patch]);
      case 'precheckFailed':
        throw precheckError(patch, outcome.failure);
      case 'applyFailed':
        // What an earlier one left is overtaken by this one, of which somebody is told. Of one that did not come
        // to its own end the host may tell more than is known here: it refuses the next one.
        if (outcome.ending.kind === 'exit')
          await database.change((draft) => forgetHostPatch(draft, patch, host));
        throw applyError(outcome.output, outcome.ending);
      case 'beingApplied':
        throw new PoolError('OTHER_OPERATION_IN_PROGRESS', ['pool_patch', patch]);
      case 'halfApplied': {
        const { beganAt } = outcome;
        await database.change((draft) => recordHostPatch(draft, place, { kind: 'unfinished', beganAt }));
        throw halfAppliedError(beganAt, applyAgainKey(hostRecord));
      }
      default: {
        const never: never = outcome;
        return never;
      }
    }
  }
}
