import { invariant } from '../errors.js';
import { PlanWriter } from '../io/plan-writer.js';
import type { RandomAccessFile } from '../io/random-access-file.js';
import { describePlan } from '../plan/describe.js';
import { announceRawPayload } from '../plan/plan-raw.js';
import { announceVhdPayload } from '../plan/plan-vhd.js';
import { emissionAfterPayload } from '../plan/plan.js';
import type { PlanEntry } from '../plan/segment-list.js';
import { trace } from '../trace.js';
import { openMaker, pumpUpload, spoolUpload, startGuard, type Job, type WrittenImage } from './job.js';
import { identityFor, planFor } from './plan-image.js';
import type { TemplateMaker } from './template.js';

/** Announced entries hold payload, literals and zeros: the template does not exist yet. */
const NO_TEMPLATE: RandomAccessFile = {
  read: () => invariant(false, 'nothing of the template is written before it is made') as never,
  close: () => undefined,
};

async function announce(
  job: Job,
  maker: TemplateMaker,
  payloadLength: number,
): Promise<readonly PlanEntry[]> {
  switch (job.options.format) {
    case 'raw':
      return announceRawPayload((await maker.announce()).offset, payloadLength);
    case 'vhd':
      return announceVhdPayload(job.virtualSize, payloadLength);
  }
}

/** Bytes that the clear text of a signed message may have; a little less than the scratch space really is. */
async function scratchBytesAtLeast(job: Job, maker: TemplateMaker, payloadLength: number): Promise<number> {
  if (job.options.verify.signature === undefined) return 0;
  return job.virtualSize - (await maker.announce()).offset - payloadLength;
}

/**
 * Builds into an output that can seek: the payload goes to its place as it comes, while the template is being made
 * beside it; then the metadata; and after the verdict the seal.
 */
export async function writeInPlace(job: Job): Promise<WrittenImage> {
  const { sink, stop, options } = job;
  const spooled =
    job.source.contentLength === undefined ? await spoolUpload(job, job.virtualSize) : undefined;
  const source = spooled?.source ?? job.source;
  const payloadLength = source.contentLength;
  invariant(payloadLength !== undefined, 'a spooled upload has a length');

  const identity = identityFor(options, job.virtualSize, payloadLength);
  const maker = await openMaker(job);
  const making = maker.make(payloadLength, identity);
  // A source that is silent must not hide that a program has failed.
  making.catch((error: unknown) => stop.abort(error));
  try {
    const announced = await announce(job, maker, payloadLength);
    const guard = spooled
      ? undefined
      : await startGuard(job, await scratchBytesAtLeast(job, maker, payloadLength));
    const payload = new PlanWriter(announced, NO_TEMPLATE, sink);
    await pumpUpload(job, source, guard, 'write', payload.accept.bind(payload));
    await payload.finish();

    const template = await making;
    const plan = planFor(options.format, template.facts, identity);
    trace('plan', () => `\n${describePlan(plan)}`);
    const { body, seal } = emissionAfterPayload(plan, announced);
    await new PlanWriter(body, template.file, sink).finish();
    // Storing the body, gpgv's last words and e2fsck need not wait for each other; the seal waits for all three.
    const [found] = await Promise.all([guard?.findings(), template.checked, sink.flush()]);
    stop.signal.throwIfAborted();
    await new PlanWriter(seal, template.file, sink).finish();
    stop.signal.throwIfAborted();
    await sink.commit(plan.totalLength);
    const findings = spooled?.findings ?? found ?? { signatures: [], sha256: undefined };
    return { plan, identity, findings, scratchBytes: template.scratchBytes, spooled: spooled !== undefined };
  } catch (error) {
    // The maker is disposed of next: none of its steps may be running then.
    stop.abort(error);
    await making.catch(() => undefined);
    throw error;
  }
}
