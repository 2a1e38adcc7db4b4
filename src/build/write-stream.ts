import { invariant } from '../errors.js';
import { PlanWriter } from '../io/plan-writer.js';
import { describePlan } from '../plan/describe.js';
import { mapImage } from '../plan/image-map.js';
import { emissionForStream, streamsInOnePass } from '../plan/plan.js';
import { trace } from '../trace.js';
import {
  openMaker,
  pumpUpload,
  spoolUpload,
  startGuard,
  verifyInPlace,
  type Job,
  type Room,
  type WrittenImage,
} from './job.js';
import { DecoyWatch } from './decoy-watch.js';
import { identityFor, planFor } from './plan-image.js';

/**
 * Builds into a stream, where every byte goes out in the order of the output. A dynamic VHD flows as the upload
 * comes, and its seal waits for the verdict; a raw image starts with its superblock, so the upload is verified before the
 * first byte goes out: where it lies, if it can be read again, else in a spool.
 */
export async function writeStream(job: Job): Promise<WrittenImage> {
  const { sink, stop, options } = job;
  const unmeasured = job.source.contentLength === undefined;
  // The template is made when the length is known; until then the whole image is the limit.
  const wholeImage: Room = { capacityBytes: job.virtualSize, scratchBytes: job.virtualSize };
  let verified = unmeasured ? await spoolUpload(job, wholeImage) : undefined;
  const payloadLength = verified === undefined ? job.source.contentLength : verified.source.contentLength;
  invariant(payloadLength !== undefined, 'a verified upload has a length');

  const identity = identityFor(options, job.timeSeconds, job.virtualSize, payloadLength);
  const template = await (await openMaker(job)).make(payloadLength, identity);
  const plan = planFor(options.format, template.facts, identity);
  trace('plan', () => `\n${describePlan(plan)}`);
  const room: Room = { capacityBytes: job.virtualSize, scratchBytes: template.scratchBytes };
  if (!streamsInOnePass(plan)) {
    verified ??= await (job.source.repeatable === true ? verifyInPlace : spoolUpload)(job, room);
  }

  const guard = verified === undefined ? await startGuard(job, room) : undefined;
  const { body, seal } = emissionForStream(plan);
  let findings = verified?.findings;
  if (guard === undefined) {
    await template.checked;
    verified?.guard.requireScratch(template.scratchBytes);
    await sink.begin?.(plan.outputLength);
    const writer = new PlanWriter(plan.entries, template.file, sink);
    await pumpUpload(job, verified?.source ?? job.source, undefined, 'write', writer.accept.bind(writer));
    await writer.finish();
  } else {
    await sink.begin?.(plan.outputLength);
    const writer = new PlanWriter(body, template.file, sink);
    const payload = mapImage(template.facts).filter((range) => range.payloadOffset !== undefined);
    await pumpUpload(job, job.source, guard, 'write', writer.accept.bind(writer), new DecoyWatch(payload));
    await writer.finish();
    const [found] = await Promise.all([guard.findings(), template.checked, sink.flush()]);
    findings = found;
    guard.requireScratch(template.scratchBytes);
    stop.signal.throwIfAborted();
    await new PlanWriter(seal, template.file, sink).finish();
  }
  stop.signal.throwIfAborted();
  await sink.commit(plan.outputLength);
  invariant(findings !== undefined, 'the upload was judged');
  return {
    plan,
    identity,
    findings,
    scratchBytes: template.scratchBytes,
    spooled: verified?.spooled ?? false,
  };
}
