import { PatchVdiError } from '../errors.js';
import type { TemplateFacts } from '../plan/image-map.js';
import { planFixedVhd, planRaw } from '../plan/plan-raw.js';
import { planVhd } from '../plan/plan-vhd.js';
import type { ImageFormat, Plan } from '../plan/plan.js';
import { imageIdentity, imageTimeSeconds, uuidBytes, type ImageIdentity } from './identity.js';
import {
  checkImageOptions,
  filesystemOf,
  toolEnvironment,
  type ImageOptions,
  type SourceOption,
} from './options.js';
import { openSource } from './places.js';
import { imageSize } from './size-rule.js';
import { openImageMaker } from './open-maker.js';

/** The identity of an image for an upload of that length; one place, so that plan and build agree. */
export function identityFor(
  options: ImageOptions,
  timeSeconds: number,
  virtualSize: number,
  payloadLength: number,
): ImageIdentity {
  return imageIdentity(
    options,
    [virtualSize, payloadLength, filesystemOf(options)],
    options.format,
    timeSeconds,
  );
}

export function planFor(format: ImageFormat, facts: TemplateFacts, identity: ImageIdentity): Plan {
  const vhdIdentity = { uniqueId: uuidBytes(identity.vhdUuid), createdSeconds: identity.timeSeconds };
  switch (format) {
    case 'raw':
      return planRaw(facts);
    case 'vhd':
      return planVhd(facts, vhdIdentity);
    case 'vhd-fixed':
      return planFixedVhd(facts, vhdIdentity);
  }
}

/** An empty upload cannot be planned. */
export function refuseEmpty(contentLength: number | undefined, name: string): void {
  if (contentLength !== 0) return;
  throw new PatchVdiError('upload', 'the upload is empty', {
    context: { path: name, found: '0 bytes', expected: 'at least 1' },
    leftBehind: 'nothing was touched',
  });
}

/** What `planPatchImage` is to plan. The length must be known: from `source`, or as `contentLength`. */
export interface PlanOptions extends ImageOptions {
  /** Only its length is looked at; leave it out and give `contentLength` instead. */
  readonly source?: SourceOption | undefined;
}

/**
 * The plan for an upload of known length, without reading the upload and without writing any output. (A sparse
 * template is made in the temporary folder and removed.)
 *
 * @throws PatchVdiError `usage` without a length; `space`, `tool`, `interrupted`
 */
export async function planPatchImage(options: PlanOptions): Promise<Plan> {
  const { requestedSize } = checkImageOptions(options);
  let contentLength = options.contentLength;
  let name = 'upload';
  if (options.source !== undefined) {
    const source = await openSource(options.source, options, options.signal ?? new AbortController().signal);
    ({ contentLength, name } = source);
    source.close();
  }
  if (contentLength === undefined) {
    throw new PatchVdiError('usage', 'a plan needs the length of the upload', {
      context: { path: name, found: 'an upload without a length', expected: 'a file, or --content-length' },
    });
  }
  refuseEmpty(contentLength, name);
  const virtualSize = imageSize(contentLength, requestedSize);
  const timeSeconds = imageTimeSeconds(options);
  const identity = identityFor(options, timeSeconds, virtualSize, contentLength);
  const maker = await openImageMaker(filesystemOf(options), virtualSize, {
    environment: toolEnvironment(options.environment),
    epochSeconds: timeSeconds,
    abortSignal: options.signal,
  });
  try {
    const template = await maker.make(contentLength, identity);
    const plan = planFor(options.format, template.facts, identity);
    await template.checked;
    return plan;
  } finally {
    await maker.dispose();
  }
}
