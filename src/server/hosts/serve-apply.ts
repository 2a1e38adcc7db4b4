import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { PatchVdiError } from '../../errors.js';
import type { HostLimits } from '../../host/limits.js';
import { writeFailure } from '../../io/system-errors.js';
import type { HostCallOptions } from '../../pool/host-side.js';
import { parseInfoDocument } from '../../pool/info-document.js';
import { LocalHostSide } from '../../pool/local-host-side.js';
import { isPoolError, toPoolError } from '../../pool/pool-error.js';
import { printable } from '../../signature/printable.js';
import type { ToolEnvironment } from '../../tools/find.js';
import type { PreparedServer } from '../first-start.js';
import type { ServerLog } from '../log.js';
import {
  HOST_ABLE,
  HOST_APPLIED,
  HOST_APPLY,
  HOST_PRECHECK,
  HOST_STOP,
  HOST_SWEEP,
} from './host-calls-apply.js';
import { patchOfMaster } from './patch-of-master.js';
import { served, type RunningCaller, type ServedCall } from './serve-calls.js';
import type { SlaveScene } from './serve-slave.js';

export interface SlaveApplyOptions {
  /** With the state folder, which nobody else uses, and the keyrings of this host: the master's do not count. */
  readonly prepared: Pick<PreparedServer, 'stateFolder' | 'policy'>;
  readonly environment: Pick<ToolEnvironment, 'searchPath'>;
  readonly log: Pick<ServerLog, 'warn' | 'recovered'>;
  readonly limits?: Partial<HostLimits> | undefined;
  /** Default: whether this process is root's. */
  readonly isRoot?: boolean | undefined;
}

/** Calls that are under way, and how they are stopped. */
class Stops {
  readonly #byCall = new Map<string, AbortController>();

  async run<Result>(
    call: string,
    { signal, progress }: RunningCaller<Parameters<NonNullable<HostCallOptions['onProgress']>>[0]>,
    work: (options: HostCallOptions) => Promise<Result>,
  ): Promise<Result> {
    const stop = new AbortController();
    this.#byCall.set(call, stop);
    try {
      return await work({ signal: AbortSignal.any([signal, stop.signal]), onProgress: progress });
    } finally {
      this.#byCall.delete(call);
    }
  }

  /** Whether there is one. */
  get any(): boolean {
    return this.#byCall.size > 0;
  }

  stop(call: string): boolean {
    const found = this.#byCall.get(call);
    found?.abort(new PatchVdiError('interrupted', 'the master has stopped it'));
    return found !== undefined;
  }
}

async function makeTemporaryFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw writeFailure(path, 0, cause);
  }
}

/** What of a slave applies patches that its master sends it: STATE/applied, STATE/tmp and its own keyrings. */
export function slaveApplyCalls(
  options: SlaveApplyOptions,
): (scene: SlaveScene) => Promise<readonly ServedCall[]> {
  return async ({ hostUuid, repositories, master }) => {
    const { prepared, environment, log, limits, isRoot } = options;
    const { stateFolder, policy } = prepared;
    const temporaryFolder = join(stateFolder, 'tmp');
    await makeTemporaryFolder(temporaryFolder);
    const side = new LocalHostSide({
      host: hostUuid,
      repositories,
      policy,
      environment: { ...environment, temporaryFolder },
      appliedFolder: join(stateFolder, 'applied'),
      parseInfo: parseInfoDocument,
      download: (uuid, signal) => patchOfMaster(master, uuid, signal),
      limits,
      isRoot,
      onWarning: (text) => log.warn(text),
    });
    const { unfinished } = await side.sweep();
    log.recovered({
      unfinishedApplies: unfinished.map(({ uuid, beganAt }) => `${uuid}, begun at ${beganAt}`),
    });
    // The state is ours alone: whatever still lies there is a dead process's.
    for (const name of await readdir(temporaryFolder)) {
      await rm(join(temporaryFolder, name), { recursive: true, force: true });
    }
    return applyCalls(side, (error) => {
      if (!isPoolError(error)) log.warn(`a patch of the master: ${causesOf(error)}`);
      return toPoolError(error, { location: temporaryFolder, task: '', stateFolder, upload: 'patch' });
    });
  };
}

function causesOf(error: unknown): string {
  const found = error instanceof PatchVdiError ? `: ${error.context.found ?? ''}` : '';
  return printable(`${String(error)}${found}`, 300);
}

function applyCalls(side: LocalHostSide, translated: (error: unknown) => Error): readonly ServedCall[] {
  const [prechecks, applies] = [new Stops(), new Stops()];
  const told = async <Result>(work: Promise<Result>): Promise<Result> =>
    await work.catch((error: unknown) => {
      throw translated(error);
    });
  return [
    served(HOST_ABLE, async () => {
      await side.requireAble();
      return { applying: applies.any };
    }),
    served(HOST_PRECHECK, ({ call, ...request }, caller) =>
      told(prechecks.run(call, caller, (options) => side.precheck(request, options))),
    ),
    served(HOST_APPLY, ({ call, ...request }, caller) =>
      told(applies.run(call, caller, (options) => side.apply(request, options))),
    ),
    served(HOST_STOP, ({ call }) => ({ found: prechecks.stop(call) || applies.stop(call) })),
    served(HOST_APPLIED, async () => [...(await told(side.appliedPatches()))]),
    served(HOST_SWEEP, async () => {
      const { unfinished } = await told(side.sweep());
      return { unfinished: [...unfinished] };
    }),
  ];
}
