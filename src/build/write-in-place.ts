import { invariant } from '../errors.js';
import { PlanWriter } from '../io/plan-writer.js';
import type { Sink } from '../io/sink.js';
import type { RandomAccessFile } from '../io/random-access-file.js';
import { describePlan } from '../plan/describe.js';
import type { PayloadAnnouncement } from '../plan/image-map.js';
import { announceRawPayload } from '../plan/plan-raw.js';
import { announceVhdPayload } from '../plan/plan-vhd.js';
import { emissionAfterPayload } from '../plan/plan.js';
import type { PlanEntry } from '../plan/segment-list.js';
import { trace } from '../trace.js';
import { DecoyWatch } from './decoy-watch.js';
import { openMaker, pumpUpload, startGuard, type Job, type Room, type WrittenImage } from './job.js';
import { identityFor, planFor } from './plan-image.js';
import type { PassOn } from './upload-guard.js';
import type { ImageMaker, Template } from './template.js';
import type { ImageIdentity } from './identity.js';

/** Announced entries hold payload, literals and zeros: the template does not exist yet. */
const NO_TEMPLATE: RandomAccessFile = {
  read: () => invariant(false, 'nothing of the template is written before it is made') as never,
  close: () => undefined,
};

function announcedEntries(job: Job, announcement: PayloadAnnouncement): readonly PlanEntry[] {
  const payload = announcement.ranges(job.source.contentLength ?? announcement.capacity);
  switch (job.options.format) {
    case 'raw':
    case 'vhd-fixed':
      return announceRawPayload(payload);
    case 'vhd':
      return announceVhdPayload(job.virtualSize, payload);
  }
}

/** More scratch space than there will be; the guard is asked again when the template is made. */
function roomFor(job: Job, { capacity }: PayloadAnnouncement): Room {
  return { capacityBytes: capacity, scratchBytes: job.virtualSize - (job.source.contentLength ?? 0) };
}

interface MadeTemplate {
  readonly template: Template;
  readonly identity: ImageIdentity;
}

async function makeTemplate(job: Job, maker: ImageMaker, payloadLength: number): Promise<MadeTemplate> {
  const identity = identityFor(job.options, job.timeSeconds, job.virtualSize, payloadLength);
  return { template: await maker.make(payloadLength, identity), identity };
}

/**
 * What an output holds is destroyed when there is something to replace it with: not for an upload that never comes, a
 * keyring that cannot be read, or a signature that is missing from the start.
 */
function afterPreparation(sink: Sink, passOn: PassOn): PassOn {
  let prepared = sink.prepare === undefined;
  return (bytes, done) => {
    if (prepared || sink.prepare === undefined) return passOn(bytes, done);
    prepared = true;
    return sink.prepare().then(() => passOn(bytes, done));
  };
}

/**
 * Builds into an output that can seek: the payload goes to its place as it comes; the template is made beside it, or
 * after it when the length is known only then; then the metadata follows, and after the verdict the seal.
 */
export async function writeInPlace(job: Job): Promise<WrittenImage> {
  const { sink, source, stop, options } = job;
  const maker = await openMaker(job);
  let making: Promise<MadeTemplate> | undefined;
  if (source.contentLength !== undefined) {
    making = makeTemplate(job, maker, source.contentLength);
    // A source that is silent must not hide that a program has failed.
    making.catch((error: unknown) => stop.abort(error));
  }
  try {
    const announcement = await maker.announce();
    const announced = announcedEntries(job, announcement);
    const guard = await startGuard(job, roomFor(job, announcement));
    const payload = new PlanWriter(announced, NO_TEMPLATE, sink);
    const decoys = new DecoyWatch(announcement.ranges(source.contentLength ?? announcement.capacity));
    const passOn = afterPreparation(sink, payload.accept.bind(payload));
    await pumpUpload(job, source, guard, 'write', passOn, decoys);

    making ??= makeTemplate(job, maker, guard.received);
    const { template, identity } = await making;
    const plan = planFor(options.format, template.facts, identity);
    trace('plan', () => `\n${describePlan(plan)}`);
    const { body, seal } = emissionAfterPayload(plan, announced);
    await new PlanWriter(body, template.file, sink).finish();
    // Storing the body, gpgv's last words and e2fsck need not wait for each other; the seal waits for all three.
    const [findings] = await Promise.all([guard.findings(), template.checked, sink.flush()]);
    guard.requireScratch(template.scratchBytes);
    stop.signal.throwIfAborted();
    await new PlanWriter(seal, template.file, sink).finish();
    stop.signal.throwIfAborted();
    await sink.commit(plan.outputLength);
    return { plan, identity, findings, scratchBytes: template.scratchBytes, spooled: false };
  } catch (error) {
    // The maker is disposed of next: none of its steps may be running then.
    stop.abort(error);
    await making?.catch(() => undefined);
    throw error;
  }
}
