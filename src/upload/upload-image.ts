import { randomUUID } from 'node:crypto';
import { buildInto, type BuildInput, type BuildResult } from '../build/build-image.js';
import { DEFAULT_LEFT_BEHIND, invariant, isPatchVdiError, restate } from '../errors.js';
import type { XenConnection } from '../xenapi/connection.js';
import { createTask } from '../xenapi/make-task.js';
import { VDI } from '../xenapi/records.js';
import { lostConnection } from '../xenapi/server-failure.js';
import { cancelTask, destroyTask } from '../xenapi/tasks.js';
import { labelled, labelsOf, type VdiLabels } from '../xenapi/vdi-labels.js';
import { XenApiError, isXenApiError } from '../xenapi/xen-api-error.js';
import { requireSpace, type UploadPlace } from './choose-place.js';
import { ImportSink, type ImportWatch } from '../xenapi/import-sink.js';
import { createVdi, imageBytesFor, lookAtVdi, removeUpload, type PoolVdi } from '../xenapi/pool-vdi.js';

/** Whoever waits longer for the end is told why. */
const SLOW_UNDO_MILLISECONDS = 2000;

export interface UploadImageOptions {
  /** Its signal stops everything. */
  readonly connection: XenConnection;
  readonly place: UploadPlace;
  /** The upload and its verification; format and signal are those of the place and the connection. */
  readonly build: Omit<BuildInput, 'format' | 'signal' | 'digest'>;
  readonly nameLabel: string;
  readonly watch?: ImportWatch | undefined;
  /** When cleaning up after a failure takes long: the pool does not answer, or holds the VDI. */
  readonly onSlowUndo?: (() => void) | undefined;
  /** Of this program. */
  readonly version: string;
}

export interface UploadedImage {
  readonly build: BuildResult;
  readonly vdi: PoolVdi;
  readonly labels: VdiLabels;
}

/** One upload on its way: what it has made in the pool. */
class PoolUpload {
  readonly #options: UploadImageOptions;
  readonly #id = randomUUID();
  /** Whether there may be a VDI, known or not. */
  #creating = false;
  #ref: string | undefined;
  #vdi: PoolVdi | undefined;
  #task: string | undefined;
  #sink: ImportSink | undefined;

  constructor(options: UploadImageOptions) {
    this.#options = options;
  }

  async run(): Promise<UploadedImage> {
    const { connection, place, build } = this.#options;
    try {
      const input = { ...build, format: place.format, digest: true, signal: connection.signal };
      const result = await buildInto(input, ({ imageBytes }, stop) => this.#open(imageBytes, stop));
      const uploaded = await this.#label(result);
      connection.signal?.throwIfAborted();
      return uploaded;
    } catch (error) {
      const cause = isPatchVdiError(error) && isXenApiError(error.cause) ? error.cause : error;
      throw withLeftBehind(cause, await this.#undoPatiently());
    } finally {
      if (this.#task !== undefined) await destroyTask(connection, this.#task);
    }
  }

  async #open(imageBytes: number, stop: AbortController): Promise<ImportSink> {
    const { connection, place, nameLabel, watch } = this.#options;
    requireSpace(place, imageBytes, connection.name);
    stop.signal.throwIfAborted();
    this.#ref = await this.#create(imageBytes);
    const vdi = await lookAtVdi(connection, this.#ref);
    this.#vdi = vdi;
    const task = await createTask(connection, 'patch-vdi upload', nameLabel);
    this.#task = task;
    this.#sink = new ImportSink({
      connection,
      task,
      stop,
      watch,
      vdi: vdi.ref,
      format: place.format,
      imageBytes: imageBytesFor(vdi, imageBytes, connection.name),
      name: `VDI ${vdi.uuid} at ${connection.name}`,
    });
    return this.#sink;
  }

  async #create(imageBytes: number): Promise<string> {
    const { connection, place, nameLabel } = this.#options;
    const nameDescription = 'A patch, stored by patch-vdi';
    const request = {
      sr: place.ref,
      nameLabel,
      nameDescription,
      virtualSize: imageBytes,
      uploadId: this.#id,
    };
    connection.signal?.throwIfAborted();
    this.#creating = true;
    try {
      return await createVdi(connection, request);
    } catch (error) {
      // Refused, or never asked for: then there is none.
      const refused = isXenApiError(error) && error.operation === 'VDI.create';
      if (refused || lostConnection(error) === 'unreachable') this.#creating = false;
      throw error;
    }
  }

  /** Says what is in it. The image is complete, but until this is done nobody is told so. */
  async #label({ ...build }: BuildResult): Promise<UploadedImage> {
    const { connection, version } = this.#options;
    const vdi = this.#vdi;
    invariant(vdi !== undefined, 'an upload has a VDI');
    const labels = labelsOf(build, version);
    const { other_config: config } = await connection.callAs(VDI, 'VDI.get_record', vdi.ref);
    await connection.call('VDI.set_other_config', vdi.ref, labelled(config, labels));
    return { build, vdi, labels };
  }

  async #undoPatiently(): Promise<string> {
    const slow = setTimeout(() => this.#options.onSlowUndo?.(), SLOW_UNDO_MILLISECONDS);
    try {
      return await this.#undo();
    } finally {
      clearTimeout(slow);
    }
  }

  /** The connection of the import is closed by now. @returns what is left behind */
  async #undo(): Promise<string> {
    const { connection } = this.#options;
    if (!this.#creating) return 'nothing was changed on the server';
    // It is not waited for: a task that no host has taken up may stay for ever; and a VDI says itself when it is free.
    if (this.#task !== undefined) await cancelTask(connection, this.#task);
    return await removeUpload(connection, {
      ref: this.#ref,
      uuid: this.#vdi?.uuid,
      uploadId: this.#id,
      contents: this.#sink?.contents ?? 'no image',
    });
  }
}

/** The same error, with what is left. */
function withLeftBehind(error: unknown, leftBehind: string): unknown {
  if (isXenApiError(error)) return new XenApiError(error.operation, error.code, error.parameters, leftBehind);
  if (!isPatchVdiError(error)) return error;
  const local = Object.values(DEFAULT_LEFT_BEHIND).includes(error.leftBehind) ? '' : error.leftBehind;
  // What could not be cleaned up on this machine.
  const both = local.includes('could be removed') ? `${leftBehind}; ${local}` : leftBehind;
  return restate(error, { leftBehind: both });
}

/**
 * An upload becomes a VDI of a pool: `VDI.create`, a task, `PUT /import_raw_vdi`, and labels in `other_config`. A VHD
 * goes in while the upload comes, with its seal withheld until the signature holds; a raw image is verified
 * first, and then read once more, or spooled when it cannot be.
 *
 * Whatever fails or is stopped: the connection is closed, the task cancelled and destroyed, the VDI destroyed; the
 * error says when that could not be done.
 *
 * @throws XenApiError; PatchVdiError of every kind but `image`
 */
export async function uploadImage(options: UploadImageOptions): Promise<UploadedImage> {
  return await new PoolUpload(options).run();
}
