import type { Database } from './database.js';
import type { Draft } from './draft.js';
import { NULL_REF, datetimeText, type Ref } from './fields.js';
import { PoolError, isPoolError, toPoolError, type ErrorScene } from './pool-error.js';

export interface TasksOptions {
  readonly database: Database;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  readonly newUuid: () => string;
  readonly host: Ref;
  /** Absolute. */
  readonly stateFolder: string;
}

/**
 * A reference as XAPI writes the result of a call into `task.result`: an XML-RPC value. XAPI's `pool_patch_upload` once
 * left it bare; clients take it with the element (npm xen-api takes nothing else).
 */
export function refResult(ref: Ref): string {
  return `<value>${ref}</value>`;
}

/** Finished tasks that are kept; the oldest go first. */
const MAX_FINISHED = 200;

/** In one change of the state, which has a size. */
const ENDED_AT_ONCE = 50;

/** Progress is told this often at most: every change is an event for everybody who follows the pool. */
const PROGRESS_STEP = 0.01;

/** Tasks: what clients look at to see how a long call goes, and by which they cancel it. */
export class Tasks {
  readonly #database: Database;
  readonly #now: () => number;
  readonly #newUuid: () => string;
  readonly #host: Ref;
  readonly #stateFolder: string;
  readonly #cancellers = new Map<Ref, AbortController>();

  constructor({ database, now, newUuid, host, stateFolder }: TasksOptions) {
    this.#stateFolder = stateFolder;
    this.#database = database;
    this.#now = now;
    this.#newUuid = newUuid;
    this.#host = host;
  }

  create(label: string, description = ''): Promise<Ref> {
    const created = datetimeText(this.#now());
    const uuid = this.#newUuid();
    return this.#database.change((draft) => {
      const finished = draft
        .all('task')
        .filter(([, { status }]) => status !== 'pending' && status !== 'cancelling');
      for (const [old] of finished.slice(0, Math.max(0, finished.length - MAX_FINISHED)))
        draft.remove('task', old);
      return draft.create('task', {
        uuid,
        name_label: label,
        name_description: description,
        created,
        status: 'pending',
        resident_on: this.#host,
      });
    });
  }

  /** Aborted when the task is cancelled. */
  signal(task: Ref): AbortSignal {
    let canceller = this.#cancellers.get(task);
    if (canceller === undefined) {
      canceller = new AbortController();
      this.#cancellers.set(task, canceller);
      // It may have been cancelled before anything began.
      if (this.#database.find('task', task)?.status === 'cancelling') canceller.abort(cancelled(task));
    }
    return canceller.signal;
  }

  /** @param fraction from 0 to 1; it never goes back */
  progress(task: Ref, fraction: number): void {
    const record = this.#database.find('task', task);
    if (record === undefined || fraction < record.progress + PROGRESS_STEP) return;
    this.#database.touch('task', task, { progress: Math.min(1, fraction) });
  }

  /** @throws PoolError HANDLE_INVALID */
  async cancel(task: Ref): Promise<void> {
    await this.#database.change((draft) => {
      if (draft.get('task', task).status === 'pending') draft.update('task', task, { status: 'cancelling' });
    });
    this.#cancellers.get(task)?.abort(cancelled(task));
  }

  /** `task.destroy`: who asked for it has seen how it ended. What it was for goes on. @throws PoolError HANDLE_INVALID */
  async destroy(task: Ref): Promise<void> {
    await this.#database.change((draft) => {
      draft.get('task', task);
      draft.remove('task', task);
    });
  }

  /** As part of a change: what it does is done when the task says so, and not otherwise. */
  succeedIn(draft: Draft, task: Ref | undefined, result: string): void {
    if (task === undefined || draft.find('task', task) === undefined) return;
    const finished = datetimeText(this.#now());
    draft.update('task', task, { status: 'success', progress: 1, result, finished });
  }

  fail(task: Ref, error: PoolError): Promise<void> {
    const status = error.code === 'TASK_CANCELLED' ? 'cancelled' : 'failure';
    const finished = datetimeText(this.#now());
    return this.#database.change((draft) => {
      if (draft.find('task', task) === undefined) return;
      draft.update('task', task, { status, error_info: error.description, finished });
    }, true);
  }

  /**
   * Does something as a task: its failure becomes the task's, translated.
   *
   * @param task of the caller; undefined: it is not followed
   * @param work must end with a change that calls {@link succeedIn}
   * @throws PoolError
   */
  async run<Result>(
    task: Ref | undefined,
    scene: Pick<ErrorScene, 'upload'> & { readonly location: () => string },
    signal: AbortSignal | undefined,
    work: (signal: AbortSignal) => Promise<Result>,
  ): Promise<Result> {
    const signals = [signal, task === undefined ? undefined : this.signal(task)];
    const any = AbortSignal.any(signals.filter((one) => one !== undefined));
    try {
      any.throwIfAborted();
      return await work(any);
    } catch (cause) {
      const stopped = any.aborted && !isPoolError(cause);
      const error = stopped
        ? new PoolError('TASK_CANCELLED', [task ?? NULL_REF], cause)
        : toPoolError(cause, this.#scene(scene, task));
      // The state folder may be full: then the task ends with the next start, and the error is the first one.
      if (task !== undefined) await this.fail(task, error).catch(() => undefined);
      throw error;
    } finally {
      if (task !== undefined) this.#cancellers.delete(task);
    }
  }

  #scene(
    { upload, location }: Pick<ErrorScene, 'upload'> & { readonly location: () => string },
    task: Ref | undefined,
  ): ErrorScene {
    return { upload, location: location(), task: task ?? NULL_REF, stateFolder: this.#stateFolder };
  }

  /** At the start nothing is under way. @returns the tasks that were */
  async endAll(): Promise<readonly string[]> {
    const error = new PoolError('INTERNAL_ERROR', ['the pool was restarted while this was under way']);
    const finished = datetimeText(this.#now());
    const open = this.#database
      .all('task')
      .filter(([, { status }]) => status === 'pending' || status === 'cancelling');
    const end = { status: 'failure', error_info: error.description, finished } as const;
    for (let at = 0; at < open.length; at += ENDED_AT_ONCE) {
      await this.#database.change((draft) => {
        for (const [ref] of open.slice(at, at + ENDED_AT_ONCE)) draft.update('task', ref, end);
      });
    }
    return open.map(([, { uuid }]) => uuid);
  }
}

function cancelled(task: Ref): PoolError {
  return new PoolError('TASK_CANCELLED', [task]);
}
