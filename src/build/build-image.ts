import { PatchVdiError, isPatchVdiError } from '../errors.js';
import type { UploadSource } from '../io/chunk.js';
import { PlanWriter } from '../io/plan-writer.js';
import type { Sink } from '../io/sink.js';
import { Spool } from '../io/spool.js';
import { describePlan } from '../plan/describe.js';
import {
  emissionForSeekable,
  emissionForStream,
  streamsInOnePass,
  type ImageFormat,
  type Plan,
} from '../plan/plan.js';
import type { VerifiedSignature } from '../signature/verdict.js';
import type { ToolEnvironment } from '../tools/find.js';
import { trace } from '../trace.js';
import { Cleanup } from './cleanup.js';
import {
  checkImageOptions,
  checkVerify,
  openSink,
  openSource,
  toolEnvironment,
  type BuildOptions,
} from './options.js';
import { identityFor, planFor, refuseEmpty } from './plan-image.js';
import { imageSize } from './size-rule.js';
import { makeTemplate, type Template } from './template.js';
import { UploadGuard, type UploadFindings } from './upload-guard.js';

/** What was built. Sizes are in bytes. */
export interface BuildResult {
  /** The path of the image, or what the stream is called. */
  readonly output: string;
  readonly format: ImageFormat;
  readonly filesystem: 'ext4';
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

/** One build on its way; exists so that the steps can share what they need without long parameter lists. */
interface Job {
  readonly options: BuildOptions;
  readonly environment: ToolEnvironment;
  readonly abortSignal: AbortSignal;
  readonly sink: Sink;
  readonly cleanup: Cleanup;
  readonly requestedSize: number | undefined;
}

/** The upload as it may be written, and what is known about it by now. */
interface Upload {
  readonly source: UploadSource;
  /** Defined once the whole upload was verified, in a spool. */
  readonly findings: UploadFindings | undefined;
}

async function startGuard(
  job: Job,
  source: UploadSource,
  imageBytes: number,
  scratchBytes: number,
): Promise<UploadGuard> {
  const guard = await UploadGuard.start({
    verify: job.options.verify,
    wantDigest: job.options.digest === true,
    name: source.name,
    announcedLength: source.contentLength,
    imageBytes,
    scratchBytes,
    environment: job.environment,
    abortSignal: job.abortSignal,
  });
  job.cleanup.add(() => guard.dispose());
  return guard;
}

/** Keeps and verifies the whole upload first: it has no length, or nothing may be sent before the verdict. */
async function spoolUpload(
  job: Job,
  source: UploadSource,
  imageBytes: number,
  scratchBytes: number,
): Promise<Upload> {
  const spool = new Spool(job.environment.temporaryFolder);
  job.cleanup.add(() => spool.close());
  const guard = await startGuard(job, source, imageBytes, scratchBytes);
  const append = (bytes: Uint8Array, done: () => void): void => {
    spool.append(bytes);
    done();
  };
  await source.pump((chunk) => {
    const wait = guard.take(chunk, append);
    job.options.onProgress?.({ phase: 'spool', bytes: guard.received, totalBytes: source.contentLength });
    return wait;
  }, job.abortSignal);
  guard.requireComplete();
  return { source: spool.source(source.name), findings: await guard.findings() };
}

async function writePayload(
  job: Job,
  upload: Upload,
  guard: UploadGuard | undefined,
  writer: PlanWriter,
): Promise<void> {
  const { source } = upload;
  const passOn = writer.accept.bind(writer);
  let written = 0;
  await source.pump((chunk) => {
    written += chunk.bytes.length;
    const wait = guard === undefined ? passOn(chunk.bytes, chunk.release) : guard.take(chunk, passOn);
    job.options.onProgress?.({ phase: 'write', bytes: written, totalBytes: source.contentLength });
    return wait;
  }, job.abortSignal);
  guard?.requireComplete();
  await writer.finish();
}

/** Walks the plan: everything but the seal, the verdict, the seal. */
async function writeImage(
  job: Job,
  upload: Upload,
  plan: Plan,
  template: Template,
  guard: UploadGuard | undefined,
) {
  const { sink, abortSignal } = job;
  const inOnePass = sink.seekable || streamsInOnePass(plan);
  const emission = sink.seekable ? emissionForSeekable(plan) : emissionForStream(plan);
  let findings = upload.findings;
  if (inOnePass) {
    await writePayload(job, upload, guard, new PlanWriter(emission.body, template.file, sink));
    // Storing the body, gpgv's last words and e2fsck need not wait for each other; the seal waits for all three.
    const [found] = await Promise.all([guard?.findings(), template.checked, sink.flush()]);
    findings ??= found;
    abortSignal.throwIfAborted();
    await new PlanWriter(emission.seal, template.file, sink).finish();
  } else {
    await template.checked;
    await writePayload(job, upload, guard, new PlanWriter(plan.entries, template.file, sink));
  }
  abortSignal.throwIfAborted();
  await sink.commit(plan.totalLength);
  return findings;
}

function verifiedBy(options: BuildOptions): BuildResult['verifiedBy'] {
  const { signature, sha256 } = options.verify;
  if (signature !== undefined) return sha256 === undefined ? 'signature' : 'signature and sha256';
  return sha256 === undefined ? 'nothing' : 'sha256';
}

async function run(
  job: Job,
  opened: UploadSource,
): Promise<Omit<BuildResult, 'warnings' | 'elapsedMilliseconds'>> {
  const { options, sink, cleanup, abortSignal } = job;
  let upload: Upload = { source: opened, findings: undefined };
  const virtualSize = imageSize(opened.contentLength, job.requestedSize);
  if (opened.contentLength === undefined) upload = await spoolUpload(job, opened, virtualSize, virtualSize);

  const payloadLength = upload.source.contentLength ?? 0;
  refuseEmpty(payloadLength, opened.name);
  const identity = identityFor(options, virtualSize, payloadLength);
  const template = await makeTemplate(virtualSize, payloadLength, identity, {
    environment: job.environment,
    epochSeconds: identity.epochSeconds,
    abortSignal,
  });
  cleanup.add(() => template.dispose());
  const plan = planFor(options.format, template.facts, identity);
  trace('plan', () => `\n${describePlan(plan)}`);

  if (upload.findings === undefined && !sink.seekable && !streamsInOnePass(plan)) {
    upload = await spoolUpload(job, opened, virtualSize, template.scratchBytes);
  }
  const spooled = upload.findings !== undefined;
  const guard = spooled
    ? undefined
    : await startGuard(job, upload.source, virtualSize, template.scratchBytes);
  const findings = await writeImage(job, upload, plan, template, guard);
  return {
    output: sink.name,
    format: plan.format,
    filesystem: 'ext4',
    virtualSize,
    outputLength: plan.totalLength,
    payloadLength,
    scratchBytes: template.scratchBytes,
    filesystemUuid: identity.filesystemUuid,
    label: identity.label,
    vhdUuid: plan.format === 'vhd' ? identity.vhdUuid : undefined,
    verifiedBy: verifiedBy(options),
    signatures: findings?.signatures ?? [],
    sha256: findings?.sha256,
    spooled,
  };
}

function interruption(reason: unknown): PatchVdiError {
  if (isPatchVdiError(reason)) return reason;
  return new PatchVdiError('interrupted', 'the build was stopped', { cause: reason });
}

/**
 * Builds a patch disk image: the upload goes in once, as a stream; a disk image comes out, sealed only if the
 * upload is what `verify` says. Memory does not grow with the upload or the image.
 *
 * The caller keeps what it passes: descriptors and streams stay open, and chunks of an iterable source must not be
 * changed after they were handed over.
 *
 * @throws PatchVdiError of every kind but `image`; whatever the kind, nothing mountable and nothing under the final
 *   name is left behind (design, "Errors")
 */
export async function buildPatchImage(options: BuildOptions): Promise<BuildResult> {
  const startedAt = performance.now();
  const { requestedSize } = checkImageOptions(options);
  checkVerify(options.verify);

  const stop = new AbortController();
  const onAbort = (): void => stop.abort(interruption(options.signal?.reason));
  options.signal?.addEventListener('abort', onAbort);
  if (options.signal?.aborted === true) onAbort();

  const cleanup = new Cleanup();
  try {
    const result = await start(options, requestedSize, stop.signal, cleanup);
    const warnings = (await cleanup.run()).map(String);
    return { ...result, warnings, elapsedMilliseconds: Math.round(performance.now() - startedAt) };
  } catch (error) {
    // Programs that still run for a build that has failed are stopped; the first error is the one that counts.
    stop.abort(isPatchVdiError(error) ? error : interruption(error));
    const first = options.signal?.aborted === true ? interruption(options.signal.reason) : error;
    throw withLeftovers(first, await cleanup.run());
  } finally {
    options.signal?.removeEventListener('abort', onAbort);
  }
}

async function start(
  options: BuildOptions,
  requestedSize: number | undefined,
  abortSignal: AbortSignal,
  cleanup: Cleanup,
) {
  abortSignal.throwIfAborted();
  const source = openSource(options.source, options.contentLength);
  cleanup.add(() => source.close());
  refuseEmpty(source.contentLength, source.name);
  const sink = openSink(options.sink);
  cleanup.add(() => sink.discard());
  const environment = toolEnvironment(options.environment);
  return run({ options, environment, abortSignal, sink, cleanup, requestedSize }, source);
}

/** The same error, telling also what could not be cleaned up after it. */
function withLeftovers(error: unknown, failures: readonly unknown[]): unknown {
  if (failures.length === 0 || !isPatchVdiError(error)) return error;
  const leftBehind = `${error.leftBehind}; but not all could be removed: ${failures.map(String).join('; ')}`;
  const { kind, message, context, hint, cause } = error;
  return new PatchVdiError(kind, message, {
    context,
    leftBehind,
    cause,
    ...(hint === undefined ? {} : { hint }),
  });
}
