import { rm } from 'node:fs/promises';
import { invariant } from '../errors.js';
import type { Chunk, UploadSource } from '../io/chunk.js';
import type { Sink } from '../io/sink.js';
import { Spool } from '../io/spool.js';
import type { Plan } from '../plan/plan.js';
import type { ToolEnvironment } from '../tools/find.js';
import type { Cleanup } from './cleanup.js';
import type { ImageIdentity } from './identity.js';
import type { DecoyWatch } from './decoy-watch.js';
import { openImageMaker } from './open-maker.js';
import { filesystemOf, type BuildOptions, type Progress } from './options.js';
import { secondPass } from './second-pass.js';
import type { ImageMaker } from './template.js';
import { UploadGuard, type PassOn, type UploadFindings } from './upload-guard.js';

/** One build on its way: what its steps share. */
export interface Job {
  readonly options: Omit<BuildOptions, 'sink'>;
  readonly environment: ToolEnvironment;
  /** Aborted by the caller, or by a step that fails while another one waits. */
  readonly stop: AbortController;
  readonly source: UploadSource;
  readonly sink: Sink;
  readonly cleanup: Cleanup;
  /** Bytes of the image. */
  readonly virtualSize: number;
  /** Of the image, in seconds since 1970. */
  readonly timeSeconds: number;
}

/** An image that is complete, under its final name. */
export interface WrittenImage {
  readonly plan: Plan;
  readonly identity: ImageIdentity;
  readonly findings: UploadFindings;
  readonly scratchBytes: number;
  readonly spooled: boolean;
}

/** An upload of known length that was verified as a whole, and can be had once more. */
export interface VerifiedUpload {
  /** Hands out what was verified, or fails. */
  readonly source: UploadSource;
  readonly findings: UploadFindings;
  readonly guard: UploadGuard;
  /** Whether it is kept in a file without a name. */
  readonly spooled: boolean;
}

export async function openMaker(job: Job): Promise<ImageMaker> {
  const maker = await openImageMaker(filesystemOf(job.options), job.virtualSize, {
    environment: job.environment,
    epochSeconds: job.timeSeconds,
    abortSignal: job.stop.signal,
  });
  job.cleanup.add(() => maker.dispose());
  return maker;
}

/** What an upload, and what a signed message holds, must fit into. */
export interface Room {
  /** For an upload without a length: the longest that fits. */
  readonly capacityBytes: number;
  /** For the clear text of a signed message. */
  readonly scratchBytes: number;
}

export async function startGuard(job: Job, room: Room, wantDigest = false): Promise<UploadGuard> {
  const { options, source, environment, virtualSize: imageBytes } = job;
  const guard = await UploadGuard.start({
    verify: options.verify,
    wantDigest: wantDigest || options.digest === true,
    name: source.name,
    announcedLength: source.contentLength,
    imageBytes,
    ...room,
    environment,
    clearTextPath: options.clearTextPath,
    abortSignal: job.stop.signal,
  });
  job.cleanup.add(() => guard.dispose());
  const { clearTextPath } = options;
  // The verdict may be good and the build fail all the same.
  if (clearTextPath !== undefined) job.cleanup.addForFailure(() => rm(clearTextPath, { force: true }));
  return guard;
}

/**
 * Moves a whole upload, chunk by chunk, through the guard (when it was not verified before) to where it goes.
 *
 * @param decoys looks at what goes into an image before the verdict
 */
export async function pumpUpload(
  job: Job,
  source: UploadSource,
  guard: UploadGuard | undefined,
  phase: Progress['phase'],
  passOn: PassOn,
  decoys?: DecoyWatch,
): Promise<void> {
  const { onProgress } = job.options;
  let bytes = 0;
  await source.pump((chunk: Chunk) => {
    decoys?.look(chunk.bytes, bytes);
    bytes += chunk.bytes.length;
    const wait = guard === undefined ? passOn(chunk.bytes, chunk.release) : guard.take(chunk, passOn);
    onProgress?.({ phase, bytes, totalBytes: source.contentLength });
    return wait;
  }, job.stop.signal);
  guard?.requireComplete();
}

/** Keeps and verifies the whole upload first: it has no length, or nothing may be sent before the verdict. */
export async function spoolUpload(job: Job, room: Room): Promise<VerifiedUpload> {
  const spool = new Spool(job.options.spoolFolder ?? job.environment.temporaryFolder);
  job.cleanup.add(() => spool.close());
  const guard = await startGuard(job, room);
  await pumpUpload(job, job.source, guard, 'spool', (bytes, done) => {
    spool.append(bytes);
    done();
  });
  const source = spool.source(job.source.name);
  return { source, findings: await guard.findings(), guard, spooled: true };
}

/**
 * Verifies the whole upload where it lies, in a pass of its own: of a file that can be read again nothing needs to be
 * kept. What is read in the second pass is held against the digest of the first.
 */
export async function verifyInPlace(job: Job, room: Room): Promise<VerifiedUpload> {
  const guard = await startGuard(job, room, true);
  await pumpUpload(job, job.source, guard, 'verify', (_bytes, done) => done());
  const findings = await guard.findings();
  invariant(findings.sha256 !== undefined, 'a digest was asked for');
  return { source: secondPass(job.source, findings.sha256), findings, guard, spooled: false };
}
