import { PoolError } from '../../pool/pool-error.js';
import { trace } from '../../trace.js';
import type { XenConnection } from '../../xenapi/connection.js';
import { REFERENCE, TASK, VDI, VDIS, type VdiRecord } from '../../xenapi/records.js';
import { cancelAndWait, isOver, resultText } from '../../xenapi/tasks.js';
import {
  SERVE_COPY_PREFIX,
  SERVE_KEY,
  SERVE_SELF_KEY,
  SERVE_TASK_PREFIX,
  SERVE_VDI_KEY,
  UPLOAD_KEY,
} from '../../xenapi/vdi-labels.js';
import { isXenApiError } from '../../xenapi/xen-api-error.js';

/** A VDI of the real pool that we have made. */
export interface FoundVdi {
  readonly ref: string;
  readonly record: VdiRecord;
}

type Config = VdiRecord['other_config'];

const isNoteOfCopy = (key: string): boolean =>
  key.startsWith(SERVE_COPY_PREFIX) || key.startsWith(SERVE_TASK_PREFIX);

/** The call's answer, or undefined when there is no such object. */
async function orGone<Answer>(call: Promise<Answer>): Promise<Answer | undefined> {
  try {
    return await call;
  } catch (error) {
    if (isXenApiError(error) && (error.code === 'UUID_INVALID' || error.code === 'HANDLE_INVALID')) {
      return undefined;
    }
    throw error;
  }
}

/**
 * The VDIs of one SR that we have made, and no others: what does not bear our mark is never written, copied or
 * destroyed. A disk has two UUIDs: that of the pool; and the one that our record had while the disk was being made.
 */
export class OwnVdis {
  readonly #owner: string;
  readonly #srUuid: string;
  /** What this process has made, by the UUID that was asked for: references. */
  readonly #made = new Map<string, string>();
  #sr: string | undefined;

  /** @param owner UUID of our own pool */
  constructor(owner: string, srUuid: string) {
    this.#owner = owner;
    this.#srUuid = srUuid;
  }

  /** What a new VDI carries from its first moment on. */
  firstLabels(uuid: string): Config {
    return { [SERVE_KEY]: this.#owner, [SERVE_VDI_KEY]: uuid };
  }

  /** The whole mark of a VDI that says now which one it is, and is not unfinished. */
  ownConfig(uuid: string, { uuid: self, other_config: config }: VdiRecord): Config {
    const others = Object.entries(config).filter(([key]) => key !== UPLOAD_KEY && !isNoteOfCopy(key));
    return { ...Object.fromEntries(others), ...this.firstLabels(uuid), [SERVE_SELF_KEY]: self };
  }

  /** A copy inherits what its original says of itself: then it is somebody else's. */
  #isOurs({ uuid, other_config: config }: VdiRecord): boolean {
    if (config[SERVE_KEY] !== this.#owner) return false;
    const self = config[SERVE_SELF_KEY];
    return self === undefined ? config[UPLOAD_KEY] === config[SERVE_VDI_KEY] : self === uuid;
  }

  /**
   * A copy of one of ours that was made while we had a copy made: perhaps that one, of a process that was killed before
   * it could know its task. Shown to people, and never destroyed: somebody else may have made it at that moment.
   */
  #mayBeOurs({ uuid, other_config: config }: VdiRecord): boolean {
    if (config[SERVE_KEY] !== this.#owner || config[SERVE_SELF_KEY] === uuid) return false;
    return Object.keys(config).some((key) => key.startsWith(SERVE_COPY_PREFIX));
  }

  remember(uuid: string, ref: string): void {
    this.#made.set(uuid, ref);
  }

  forget(uuid: string): void {
    this.#made.delete(uuid);
  }

  /** Reference of the SR; asked for once. */
  async sr(connection: XenConnection): Promise<string> {
    return (this.#sr ??= await connection.callAs(REFERENCE, 'SR.get_by_uuid', this.#srUuid));
  }

  /** References mean nothing any more: the pool's database may be another one. */
  forgetReferences(): void {
    this.#sr = undefined;
    this.#made.clear();
  }

  /** All in the SR for which that holds. */
  async #all(connection: XenConnection, holds: (record: VdiRecord) => boolean): Promise<FoundVdi[]> {
    const sr = await this.sr(connection);
    const records = await connection.callAs(VDIS, 'VDI.get_all_records');
    return Object.entries(records).flatMap(([ref, record]) =>
      record.SR === sr && holds(record) ? [{ ref, record }] : [],
    );
  }

  /** UUIDs of all that we have made in the SR, or may have made; of one that is being built that of its record. */
  async list(connection: XenConnection): Promise<string[]> {
    const all = await this.#all(connection, (record) => this.#isOurs(record) || this.#mayBeOurs(record));
    return all.map(({ record }) => record.other_config[UPLOAD_KEY] ?? record.uuid);
  }

  /**
   * @param uuid either of the two
   * @throws PoolError VDI_MISSING; OPERATION_NOT_ALLOWED for a VDI of somebody else; what the calls throw
   */
  async find(connection: XenConnection, uuid: string): Promise<FoundVdi> {
    const known = (await this.#byReference(connection, uuid)) ?? (await this.#byUuid(connection, uuid));
    if (known !== undefined) return known;
    const [first, ...others] = await this.#all(
      connection,
      (record) => this.#isOurs(record) && record.other_config[SERVE_VDI_KEY] === uuid,
    );
    if (first !== undefined && others.length === 0) return first;
    if (first !== undefined) throw this.#foreign(uuid, 'two VDIs of the pool bear its mark');
    throw new PoolError('VDI_MISSING', [this.#srUuid, uuid]);
  }

  async #byReference(connection: XenConnection, uuid: string): Promise<FoundVdi | undefined> {
    const ref = this.#made.get(uuid);
    return ref === undefined ? undefined : await this.#at(connection, uuid, ref);
  }

  async #byUuid(connection: XenConnection, uuid: string): Promise<FoundVdi | undefined> {
    const ref = await orGone(connection.callAs(REFERENCE, 'VDI.get_by_uuid', uuid));
    return ref === undefined ? undefined : await this.#at(connection, uuid, ref);
  }

  async #at(connection: XenConnection, uuid: string, ref: string): Promise<FoundVdi | undefined> {
    const record = await orGone(connection.callAs(VDI, 'VDI.get_record', ref));
    if (record === undefined) return undefined;
    if (!this.#isOurs(record)) throw this.#foreign(uuid, 'it does not bear our mark in its other_config');
    // Moved by somebody: then it is not in this SR any more.
    return record.SR === (await this.sr(connection)) ? { ref, record } : undefined;
  }

  #foreign(uuid: string, why: string): PoolError {
    return new PoolError('OPERATION_NOT_ALLOWED', [
      `VDI ${uuid} of the real pool is left alone: ${why} (${SERVE_KEY}=${this.#owner})`,
    ]);
  }

  /** Whether it has inherited the marks of an original of ours while the copy for that record was noted there. */
  #isCopyOf(original: VdiRecord, uuid: string, { uuid: self, other_config: config }: VdiRecord): boolean {
    return (
      self !== original.uuid &&
      config[SERVE_KEY] === this.#owner &&
      config[SERVE_SELF_KEY] === original.uuid &&
      config[`${SERVE_COPY_PREFIX}${uuid}`] !== undefined
    );
  }

  /**
   * The copy that a task of ours has made when the process ended before it could be marked: the task says which one it
   * is. Which task it was stands in an `other_config`, where others of the pool may write, too: so what is found must be
   * in this SR, and have inherited our marks. A task that still runs is cancelled.
   */
  async findUnmarkedCopy(connection: XenConnection, uuid: string): Promise<FoundVdi | undefined> {
    const key = `${SERVE_TASK_PREFIX}${uuid}`;
    const records = Object.values(await connection.callAs(VDIS, 'VDI.get_all_records'));
    const original = records.find(
      ({ other_config: config, ...record }) =>
        config[key] !== undefined &&
        config[SERVE_SELF_KEY] === record.uuid &&
        config[SERVE_KEY] === this.#owner,
    );
    const task = original?.other_config[key];
    if (original === undefined || task === undefined) return undefined;
    const copy = await copyOfTask(connection, task);
    if (copy === undefined || copy.record.SR !== (await this.sr(connection))) return undefined;
    if (this.#isCopyOf(original, uuid, copy.record)) return copy;
    throw this.#foreign(uuid, 'what its task has made is no copy of ours');
  }
}

/** What an asynchronous copy has made, when it is over; one that is not is cancelled first. */
export async function copyOfTask(connection: XenConnection, task: string): Promise<FoundVdi | undefined> {
  const seen = await orGone(connection.callAs(TASK, 'task.get_record', task));
  if (seen === undefined) return undefined;
  const record = isOver(seen) ? seen : await cancelAndWait(connection, task);
  if (record === undefined || !isOver(record)) {
    trace('pool', () => 'a copy in the pool could not be cancelled in time');
    throw new PoolError('SR_BACKEND_FAILURE', ['pool', 'a copy that was given up has not ended yet', '']);
  }
  if (record.status !== 'success') return undefined;
  const ref = connection.check(REFERENCE, 'the result of a copy', resultText(record.result));
  const vdi = await orGone(connection.callAs(VDI, 'VDI.get_record', ref));
  return vdi === undefined ? undefined : { ref, record: vdi };
}
