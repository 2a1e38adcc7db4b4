import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { geteuid } from 'node:process';
import { AppliedFolder } from '../host/applied-folder.js';
import { applyPatch, precheckPatch, sweepHost } from '../host/apply-patch.js';
import type { HostLimits } from '../host/limits.js';
import type { HostProgress, MountedPatchOptions } from '../host/mounted-patch.js';
import { isPatchVdiError, PatchVdiError } from '../errors.js';
import { printable } from '../signature/printable.js';
import type { ToolEnvironment } from '../tools/find.js';
import { readAppliedFolder } from './applied-files.js';
import type { PatchDownload } from './download.js';
import { buildFetchedImage, requireFetchSpace } from './fetched-image.js';
import type { Ref } from './fields.js';
import type {
  AppliedPatch,
  HostApply,
  HostApplyRequest,
  HostCallOptions,
  HostPatch,
  HostPrecheck,
  HostRequest,
  HostSide,
  HostStep,
  UnfinishedPatch,
} from './host-side.js';
import type { ParseInfo, PatchInfo } from './info-document.js';
import { PoolError } from './pool-error.js';
import type { PatchPolicy } from './receive-patch.js';
import type { StorageRepository } from './storage.js';

export interface LocalHostSideOptions {
  readonly host: Ref;
  /** Those of this host. */
  readonly repositories: readonly StorageRepository[];
  readonly policy: PatchPolicy;
  /** `temporaryFolder`: absolute, private; mount points, keyrings and images of fetched patches lie there. */
  readonly environment: ToolEnvironment;
  /** What was applied is kept there; made when it is not there. */
  readonly appliedFolder: string;
  readonly parseInfo: ParseInfo;
  /** The bytes of a patch that is a file on the master. */
  readonly download: (uuid: string, signal: AbortSignal | undefined) => Promise<PatchDownload>;
  readonly limits?: Partial<HostLimits> | undefined;
  /** Default: whether this process is root's. */
  readonly isRoot?: boolean | undefined;
  /** What could not be cleaned up, for people. */
  readonly onWarning?: ((text: string) => void) | undefined;
}

type Mountable = MountedPatchOptions<PatchInfo>;

function stepOf({ phase, bytes, totalBytes }: HostProgress): HostStep {
  if (bytes === undefined || totalBytes === undefined || totalBytes === 0) return { phase };
  return { phase, fraction: Math.min(1, bytes / totalBytes) };
}

function wordsOf(error: unknown): string {
  if (!isPatchVdiError(error)) return error instanceof Error ? error.message : String(error);
  return [error.message, error.context.found].filter((word) => word !== undefined).join(': ');
}

/** The host that this process runs on. */
export class LocalHostSide implements HostSide {
  readonly host: Ref;
  readonly #options: LocalHostSideOptions;

  constructor(options: LocalHostSideOptions) {
    this.host = options.host;
    this.#options = options;
  }

  async requireAble(): Promise<void> {
    const { isRoot = geteuid?.() === 0 } = this.#options;
    if (isRoot) return await Promise.resolve();
    throw new PoolError('OPERATION_NOT_ALLOWED', [
      'this host cannot apply patches: its server does not run as root, and only root can mount the disk of a patch',
    ]);
  }

  async precheck(request: HostRequest, options: HostCallOptions): Promise<HostPrecheck> {
    await this.requireAble();
    return await this.#withImage(request, options, async (image) => {
      const outcome = await precheckPatch(this.#mountable(request.patch, image, options));
      const { kind, output } = outcome;
      return kind === 'precheckPassed' ? { kind, output } : { kind, output, failure: outcome.failure };
    });
  }

  async apply(request: HostApplyRequest, options: HostCallOptions): Promise<HostApply> {
    await this.requireAble();
    const { patch, again } = request;
    const { appliedFolder } = this.#options;
    const stop = new AbortController();
    const onAbort = (): void => stop.abort(options.signal?.reason);
    options.signal?.addEventListener('abort', onAbort);
    if (options.signal?.aborted === true) onAbort();
    let began = false;
    const onProgress = (step: HostStep): void => {
      if (step.phase === 'apply' && !stop.signal.aborted) {
        // From here on nobody but the patch itself knows where it may be stopped.
        options.signal?.removeEventListener('abort', onAbort);
        began = true;
      }
      options.onProgress?.(step);
    };
    const calmed = { signal: stop.signal, onProgress };
    try {
      return await this.#withImage(request, calmed, async (image) => {
        const mountable = this.#mountable(patch, image, calmed);
        return plainOutcome(await applyPatch({ ...mountable, appliedFolder, again }));
      });
    } catch (error) {
      if (!began) throw error;
      return await this.#lost(patch, again, error);
    } finally {
      options.signal?.removeEventListener('abort', onAbort);
    }
  }

  /** The apply had begun, and then something of ours went wrong. */
  async #lost({ uuid }: HostPatch, again: boolean, error: unknown): Promise<HostApply> {
    const words = wordsOf(error);
    const applied = await AppliedFolder.open(this.#options.appliedFolder);
    const isKept = !again && (await applied.state(uuid)).kind === 'applied';
    const info = isKept ? (await this.appliedPatches()).find((one) => one.uuid === uuid)?.info : undefined;
    if (info !== undefined) return { kind: 'applied', info, output: `applied, but afterwards: ${words}` };
    return { kind: 'applyFailed', ending: { kind: 'lost', words }, output: '' };
  }

  async appliedPatches(): Promise<readonly AppliedPatch[]> {
    const { appliedFolder, parseInfo } = this.#options;
    return await readAppliedFolder(appliedFolder, parseInfo);
  }

  async sweep(): Promise<{ readonly unfinished: readonly UnfinishedPatch[] }> {
    const { appliedFolder, environment } = this.#options;
    const { unfinished } = await sweepHost({ appliedFolder, scratchFolder: environment.temporaryFolder });
    return { unfinished };
  }

  #mountable(patch: HostPatch, image: Mountable['image'], options: HostCallOptions): Mountable {
    const { policy, environment, parseInfo, limits, onWarning } = this.#options;
    return {
      image,
      policy,
      environment,
      scratchFolder: environment.temporaryFolder,
      expectedSha256: patch.sha256 === '' ? undefined : patch.sha256,
      parseInfo: (xml) => requireUuid(parseInfo(xml), patch),
      limits,
      signal: options.signal,
      onProgress: (progress) => options.onProgress?.(stepOf(progress)),
      onWarning,
    };
  }

  /** The copy as it is where it is a file of this machine; an image of our own for a patch that must be fetched. */
  async #withImage<Result>(
    { patch, source }: HostRequest,
    options: HostCallOptions,
    use: (image: Mountable['image']) => Promise<Result>,
  ): Promise<Result> {
    if (source.kind === 'file') return await this.#withFetched(patch, options, use);
    const { repositoryUuid, vdiUuid } = source;
    const repository = this.#options.repositories.find(({ facts }) => facts.uuid === repositoryUuid);
    if (repository === undefined) throw new PoolError('SR_HAS_NO_PBDS', [repositoryUuid]);
    const rawCopy = await repository.localPath(vdiUuid);
    if (rawCopy !== undefined) {
      // As the master does in SRs of its own: what the patch unpacks must still fit when others have taken what is free.
      const room = await repository.openVdiForWriting(vdiUuid);
      try {
        return await use({ rawCopy });
      } finally {
        room.close();
      }
    }
    const image = await repository.openVdi(vdiUuid, options.signal);
    try {
      return await use(image);
    } finally {
      await image.close();
    }
  }

  async #withFetched<Result>(
    patch: HostPatch,
    { signal, onProgress }: HostCallOptions,
    use: (image: Mountable['image']) => Promise<Result>,
  ): Promise<Result> {
    const { policy, environment, download } = this.#options;
    await requireFetchSpace(environment.temporaryFolder, patch);
    const folder = await mkdtemp(join(environment.temporaryFolder, 'fetched-'));
    try {
      const rawCopy = join(folder, 'disk');
      await buildFetchedImage({
        path: rawCopy,
        download: () => download(patch.uuid, signal),
        patch,
        policy,
        environment: { ...environment, temporaryFolder: folder },
        signal,
        onProgress: (fraction) => onProgress?.({ phase: 'fetch', fraction }),
      });
      return await use({ rawCopy });
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }
}

function plainOutcome(outcome: Awaited<ReturnType<typeof applyPatch<PatchInfo>>>): HostApply {
  switch (outcome.kind) {
    case 'applied':
      return { kind: 'applied', info: outcome.info, output: outcome.output };
    case 'precheckFailed':
      return { kind: 'precheckFailed', failure: outcome.failure, output: outcome.output };
    case 'applyFailed':
      return { kind: 'applyFailed', ending: outcome.ending, output: outcome.output };
    case 'alreadyApplied':
      return { kind: 'alreadyApplied', info: outcome.info };
    case 'beingApplied':
      return { kind: 'beingApplied' };
    case 'halfApplied':
      return { kind: 'halfApplied', beganAt: outcome.beganAt };
    default: {
      const never: never = outcome;
      return never;
    }
  }
}

/** Signed by somebody that is trusted, but another patch. @throws PatchVdiError `signature` */
function requireUuid(info: PatchInfo, { uuid }: HostPatch): PatchInfo {
  if (info.uuid === uuid) return info;
  throw new PatchVdiError('signature', 'the disk holds another patch', {
    context: { operation: 'run the patch with info', found: printable(info.uuid, 64), expected: uuid },
    leftBehind: 'nothing: neither precheck nor apply was run',
  });
}
