import type { Ref } from '../../pool/fields.js';
import type { Pool } from '../../pool/open-pool.js';
import { PoolError } from '../../pool/pool-error.js';
import { trace } from '../../trace.js';
import { KIB } from '../../units.js';
import type { RpcValue } from '../rpc-value.js';
import { encodeXmlValue } from './xml-encode.js';

/** Calls that go on at once; who makes more does not look at his tasks. */
const MAX_UNDER_WAY = 256;

/** More than a long list of references has. */
const MAX_RESULT_CHARACTERS = 256 * KIB;

/** What a call does, told of its task and of the end of the server. */
export type AsyncWork = (task: Ref, signal: AbortSignal) => Promise<RpcValue> | RpcValue;

export interface AsyncCall {
  readonly task: Ref;
  /** Resolves when the task has ended, with the error that it ended with. Never rejects. */
  readonly ended: Promise<PoolError | undefined>;
}

/** `Async` calls: the task is answered at once, and tells how the call went. */
export class AsyncCalls {
  readonly #pool: Pool;
  readonly #translate: (error: unknown) => PoolError;
  readonly #closing = new AbortController();
  readonly #underWay = new Set<Promise<unknown>>();

  constructor(pool: Pool, translate: (error: unknown) => PoolError) {
    this.#pool = pool;
    this.#translate = translate;
  }

  /** @throws PoolError TOO_BUSY */
  async start(name: string, work: AsyncWork): Promise<AsyncCall> {
    if (this.#underWay.size >= MAX_UNDER_WAY) throw new PoolError('TOO_BUSY');
    const { promise, resolve } = pending();
    // Its place is taken before anything is waited for.
    this.#underWay.add(promise);
    try {
      const task = await this.#pool.tasks.create(name);
      const ended = this.#run(task, work).finally(() => {
        this.#underWay.delete(promise);
        resolve();
      });
      return { task, ended };
    } catch (error) {
      this.#underWay.delete(promise);
      resolve();
      throw error;
    }
  }

  async #run(task: Ref, work: AsyncWork): Promise<PoolError | undefined> {
    try {
      const result = storable(encodeXmlValue(await work(task, this.#closing.signal)));
      await this.#pool.database.change((draft) => {
        // Calls that follow the task themselves have ended it with what they did.
        const status = draft.find('task', task)?.status;
        if (isUnderWay(status)) this.#pool.tasks.succeedIn(draft, task, result);
      });
      return undefined;
    } catch (cause) {
      const error = this.#translate(cause);
      await this.#fail(task, error);
      return error;
    }
  }

  async #fail(task: Ref, error: PoolError): Promise<void> {
    if (!isUnderWay(this.#pool.database.find('task', task)?.status)) return;
    try {
      await this.#pool.tasks.fail(task, error);
    } catch (failure) {
      // The disk may be full: the task ends with the next start.
      trace('server', () => `the end of a task could not be recorded: ${String(failure)}`);
    }
  }

  /** Cancels what can be, and resolves when everything has ended. */
  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.all(this.#underWay);
  }
}

/** The result of a task is in memory, in the journal and in events. @throws PoolError VALUE_NOT_SUPPORTED */
function storable(result: string): string {
  if (result.length <= MAX_RESULT_CHARACTERS) return result;
  const reason = `the result of a task has ${MAX_RESULT_CHARACTERS} characters at most: call it without Async`;
  throw new PoolError('VALUE_NOT_SUPPORTED', ['result', String(result.length), reason]);
}

function isUnderWay(status: string | undefined): boolean {
  return status === 'pending' || status === 'cancelling';
}

function pending(): { promise: Promise<void>; resolve: () => void } {
  let resolve = (): void => undefined;
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
