import { setTimeout as sleep } from 'node:timers/promises';
import { PatchVdiError, isPatchVdiError } from '../errors.js';
import { printable } from '../signature/printable.js';
import { trace } from '../trace.js';
import { IMAGE_STEP_BYTES } from '../build/size-rule.js';
import { GIB, describeBytes } from '../units.js';
import type { XenConnection } from './connection.js';
import { REFERENCE, VDI, VDIS } from './records.js';
import { isXenApiError } from './xen-api-error.js';
import { UPLOAD_KEY } from './vdi-labels.js';
import type { ImportedContents } from './import-sink.js';

/** A VDI that was made for an upload. */
export interface PoolVdi {
  readonly ref: string;
  readonly uuid: string;
  readonly nameLabel: string;
  /** Bytes, as the SR has rounded them. */
  readonly virtualSize: number;
}

export interface VdiRequest {
  /** Reference of the SR. */
  readonly sr: string;
  readonly nameLabel: string;
  readonly nameDescription: string;
  /** Bytes. */
  readonly virtualSize: number;
  /** Says whose upload it is: how it is found again when the answer to `VDI.create` is lost. */
  readonly uploadId: string;
  /** More of its `other_config`. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
}

/** As long as the disk is not given up by the import that was broken off. */
const BUSY = new Set(['VDI_IN_USE', 'OTHER_OPERATION_IN_PROGRESS']);
/** Farewells that a VDI may take to be destroyed. */
const PATIENCE = 3;
const MAX_PAUSE_MILLISECONDS = 2000;

/**
 * `VDI.create`, once: it is never made again. It is to be destroyed by {@link removeUpload}, whatever happens here.
 *
 * @returns its reference
 * @throws XenApiError; PatchVdiError `sink`, when the outcome may be unknown; the reason of the signal
 */
export async function createVdi(connection: XenConnection, request: VdiRequest): Promise<string> {
  const record = {
    name_label: request.nameLabel,
    name_description: request.nameDescription,
    SR: request.sr,
    virtual_size: request.virtualSize,
    type: 'user',
    sharable: false,
    read_only: false,
    other_config: { ...request.labels, [UPLOAD_KEY]: request.uploadId },
    xenstore_data: {},
    sm_config: {},
    tags: [],
  };
  const operation = 'VDI.create';
  return connection.check(REFERENCE, operation, await connection.callToMake(operation, record));
}

/** What the SR has made of it. */
export async function lookAtVdi(connection: XenConnection, ref: string): Promise<PoolVdi> {
  const made = await connection.callAs(VDI, 'VDI.get_record', ref);
  return { ref, uuid: made.uuid, nameLabel: made.name_label, virtualSize: made.virtual_size };
}

/** What an SR may add by rounding; a pool that says more is not followed. */
const MAX_ROUNDING_BYTES = GIB;

/**
 * The image that fits into a VDI: all of it, but for what is no multiple of 2 MiB.
 *
 * @throws PatchVdiError `sink` when it is smaller than what was asked for
 */
export function imageBytesFor(vdi: PoolVdi, wantedBytes: number, server: string): number {
  const bytes = vdi.virtualSize - (vdi.virtualSize % IMAGE_STEP_BYTES);
  if (bytes > wantedBytes + MAX_ROUNDING_BYTES) return wantedBytes;
  if (bytes >= wantedBytes) return bytes;
  throw new PatchVdiError('sink', 'the pool has made a smaller VDI than it was asked for', {
    context: {
      path: server,
      found: describeBytes(vdi.virtualSize),
      expected: `${describeBytes(wantedBytes)} or more`,
    },
    hint: 'choose another storage repository with --sr',
  });
}

const errorOf = (thrown: unknown): Error => (thrown instanceof Error ? thrown : new Error(String(thrown)));

async function tryDestroy(connection: XenConnection, ref: string): Promise<Error | undefined> {
  try {
    await connection.callBeforeEnd('VDI.destroy', ref);
    return undefined;
  } catch (error) {
    const gone = isXenApiError(error) && (error.code === 'HANDLE_INVALID' || error.code === 'UUID_INVALID');
    return gone ? undefined : errorOf(error);
  }
}

/**
 * Destroys it, as often as it takes and time allows: it is ours, so that is safe. Never fails.
 *
 * @returns what stood in the way
 */
export async function destroyPatiently(connection: XenConnection, ref: string): Promise<Error | undefined> {
  const until = performance.now() + PATIENCE * connection.timeouts.farewell;
  let pause = connection.timeouts.poll;
  for (;;) {
    const error = await tryDestroy(connection, ref);
    if (error === undefined) return undefined;
    trace('xenapi', () => `VDI.destroy: ${error.message}`);
    const mayPass = isXenApiError(error) ? BUSY.has(error.code) : isPatchVdiError(error);
    if (!mayPass || performance.now() + pause > until) return error;
    await sleep(pause);
    pause = Math.min(2 * pause, MAX_PAUSE_MILLISECONDS);
  }
}

/** The VDIs that bear the mark of an upload. */
async function findByMark(connection: XenConnection, uploadId: string): Promise<string[]> {
  const answer = await connection.callBeforeEnd('VDI.get_all_records');
  const vdis = connection.check(VDIS, 'VDI.get_all_records', answer);
  return Object.entries(vdis)
    .filter(([, { other_config }]) => other_config[UPLOAD_KEY] === uploadId)
    .map(([ref]) => ref);
}

/** A pool that was asked for a VDI may still be making it: so it is looked for, for a while. */
async function destroyLost(connection: XenConnection, uploadId: string): Promise<Error | undefined> {
  const { farewell, poll } = connection.timeouts;
  const until = performance.now() + farewell;
  for (let pause = poll; ; pause = Math.min(2 * pause, MAX_PAUSE_MILLISECONDS)) {
    let failure: Error | undefined;
    try {
      const [ref] = await findByMark(connection, uploadId);
      if (ref !== undefined) return await destroyPatiently(connection, ref);
    } catch (error) {
      failure = errorOf(error);
    }
    if (performance.now() + pause > until) return failure ?? NEVER_SEEN;
    await sleep(pause);
  }
}

const NEVER_SEEN = new Error('the pool does not have one now');

const STATES: Readonly<Record<ImportedContents, string>> = {
  'no image': 'its image is not complete, and does not mount',
  'part of a raw image': 'its image is not complete, but may mount',
  whole: 'it may hold the whole image',
};

/** What an upload that has failed may have left. */
export interface FailedUpload {
  /** Its reference; undefined when it is not known whether there is one: the answer to `VDI.create` was lost. */
  readonly ref: string | undefined;
  /** As far as it is known. */
  readonly uuid: string | undefined;
  readonly uploadId: string;
  readonly contents: ImportedContents;
}

/**
 * After an upload that has failed: whatever VDI it has made goes. Never fails.
 *
 * @returns what is left behind, for people
 */
export async function removeUpload(
  connection: XenConnection,
  { ref, uuid, uploadId, contents }: FailedUpload,
): Promise<string> {
  const failure =
    ref === undefined ? await destroyLost(connection, uploadId) : await destroyPatiently(connection, ref);
  if (failure === undefined) return 'nothing: the VDI was destroyed';
  const why = printable(failure.message, 300);
  if (uuid === undefined) {
    return `perhaps an empty VDI, with ${UPLOAD_KEY}=${uploadId} in its other_config (${why}): patch-vdi pool vdis shows it`;
  }
  return `VDI ${uuid}, which could not be destroyed (${why}); ${STATES[contents]}; patch-vdi pool vdi-destroy ${uuid} destroys it`;
}
