import { PatchVdiError, isPatchVdiError, restate } from '../errors.js';
import type { ImageFormat } from '../plan/plan.js';
import type { VerifiedSignature } from '../signature/verdict.js';
import type { FilesystemName } from '../tools/mke2fs.js';
import { Cleanup } from './cleanup.js';
import type { Job, WrittenImage } from './job.js';
import {
  checkImageOptions,
  checkVerify,
  filesystemOf,
  toolEnvironment,
  type BuildOptions,
} from './options.js';
import type { Sink } from '../io/sink.js';
import { imageTimeSeconds } from './identity.js';
import { openSink, openSource, type SinkNeeds } from './places.js';
import { refuseReplacingInputs } from './inputs.js';
import { refuseEmpty } from './plan-image.js';
import { imageSize } from './size-rule.js';
import { writeInPlace } from './write-in-place.js';
import { writeStream } from './write-stream.js';

/** What was built. Sizes are in bytes. */
export interface BuildResult {
  /** The path of the image, or what the stream is called. */
  readonly output: string;
  readonly format: ImageFormat;
  readonly filesystem: FilesystemName;
  /** Size of the disk as the guest sees it. */
  readonly virtualSize: number;
  /** Length of the output. */
  readonly outputLength: number;
  /** Length of the upload, which is the size of the file `patch`. */
  readonly payloadLength: number;
  /** Free space beside `patch`. */
  readonly scratchBytes: number;
  readonly filesystemUuid: string;
  readonly label: string;
  /** Only for VHD. */
  readonly vhdUuid: string | undefined;
  readonly verifiedBy: 'signature' | 'sha256' | 'signature and sha256' | 'nothing';
  readonly signatures: readonly VerifiedSignature[];
  /** Lower-case hex; when asked for, or checked. */
  readonly sha256: string | undefined;
  /** Whether the upload had to be kept in a temporary file first. */
  readonly spooled: boolean;
  /** What went wrong without harming the image, such as a temporary folder that could not be removed. */
  readonly warnings: readonly string[];
  readonly elapsedMilliseconds: number;
}

function verifiedBy(options: BuildInput): BuildResult['verifiedBy'] {
  const { signature, sha256 } = options.verify;
  if (signature !== undefined) return sha256 === undefined ? 'signature' : 'signature and sha256';
  return sha256 === undefined ? 'nothing' : 'sha256';
}

function resultOf(job: Job, written: WrittenImage): Omit<BuildResult, 'warnings' | 'elapsedMilliseconds'> {
  const { plan, identity, findings } = written;
  return {
    output: job.sink.name,
    format: plan.format,
    filesystem: filesystemOf(job.options),
    virtualSize: plan.virtualSize,
    outputLength: plan.outputLength,
    payloadLength: plan.payloadLength,
    scratchBytes: written.scratchBytes,
    filesystemUuid: identity.filesystemUuid,
    label: identity.label,
    vhdUuid: plan.format === 'raw' ? undefined : identity.vhdUuid,
    verifiedBy: verifiedBy(job.options),
    signatures: findings.signatures,
    sha256: findings.sha256,
    spooled: written.spooled,
  };
}

function interruption(reason: unknown): PatchVdiError {
  if (isPatchVdiError(reason)) return reason;
  return new PatchVdiError('interrupted', 'the build was stopped', { cause: reason });
}

/** A build without its output. */
export type BuildInput = Omit<BuildOptions, 'sink'>;

/**
 * Opens the output of a build, when the length of the upload is known if it ever is before its end.
 *
 * @param stop everything stops with the error that it is aborted with
 */
export type OpenOutput = (needs: SinkNeeds, stop: AbortController) => Promise<Sink>;

/**
 * Builds a patch disk image: the upload goes in once, as a stream; a disk image comes out, sealed only if the
 * upload is what `verify` says. Memory does not grow with the upload or the image.
 *
 * The caller keeps what it passes: streams and descriptors of files stay open (a pipe's or socket's is closed when it
 * was the source), and chunks of an iterable source must not be changed after they were handed over.
 *
 * @throws PatchVdiError of every kind but `image`; whatever the kind, nothing mountable and nothing under the final
 *   name is left behind (design, "Errors")
 */
export async function buildPatchImage(options: BuildOptions): Promise<BuildResult> {
  return await buildInto(options, async (needs, stop) => {
    refuseReplacingInputs(options);
    return await openSink(options.sink, options, needs, stop);
  });
}

/** The same for an output that another room of this house has. */
export async function buildInto(options: BuildInput, openOutput: OpenOutput): Promise<BuildResult> {
  const startedAt = performance.now();
  const { requestedSize } = checkImageOptions(options);
  checkVerify(options.verify);

  const stop = new AbortController();
  const onAbort = (): void => stop.abort(interruption(options.signal?.reason));
  options.signal?.addEventListener('abort', onAbort);
  if (options.signal?.aborted === true) onAbort();

  const cleanup = new Cleanup();
  let job: Job | undefined;
  try {
    job = await openJob(options, openOutput, { requestedSize, stop, cleanup });
    const result = resultOf(job, await (job.sink.seekable ? writeInPlace(job) : writeStream(job)));
    const warnings = (await cleanup.run()).map(String);
    return { ...result, warnings, elapsedMilliseconds: Math.round(performance.now() - startedAt) };
  } catch (error) {
    // Programs that still run for a build that has failed are stopped; the first error is the one that counts, and
    // what stopped the others came before theirs.
    const first: unknown = stop.signal.aborted ? stop.signal.reason : error;
    stop.abort(isPatchVdiError(error) ? error : interruption(error));
    const leftBehind = job?.sink.leftBehind?.();
    throw withLeftovers(first, leftBehind, await cleanup.runAfterFailure());
  } finally {
    options.signal?.removeEventListener('abort', onAbort);
  }
}

interface JobBasis {
  readonly requestedSize: number | undefined;
  readonly stop: AbortController;
  readonly cleanup: Cleanup;
}

async function openJob(
  options: BuildInput,
  openOutput: OpenOutput,
  { requestedSize, stop, cleanup }: JobBasis,
): Promise<Job> {
  stop.signal.throwIfAborted();
  const source = await openSource(options.source, options, stop.signal);
  cleanup.add(() => source.close());
  refuseEmpty(source.contentLength, source.name);
  const environment = toolEnvironment(options.environment);
  const imageBytes = imageSize(source.contentLength, requestedSize);
  const sink = await openOutput({ format: options.format, imageBytes, environment }, stop);
  cleanup.add(() => sink.discard());
  const virtualSize = sink.imageBytes ?? imageBytes;
  const timeSeconds = imageTimeSeconds(options);
  return { options, environment, stop, source, sink, cleanup, virtualSize, timeSeconds };
}

/** The same error, telling what the output itself knows about what is left, and what could not be cleaned up. */
function withLeftovers(error: unknown, known: string | undefined, failures: readonly unknown[]): unknown {
  if (!isPatchVdiError(error) || (known === undefined && failures.length === 0)) return error;
  const stays = known ?? error.leftBehind;
  const leftBehind =
    failures.length === 0
      ? stays
      : `${stays}; but not all could be removed: ${failures.map(String).join('; ')}`;
  return restate(error, { leftBehind });
}
