import { setTimeout as sleep } from 'node:timers/promises';
import { trace } from '../trace.js';
import { lostConnection, type Loss } from './server-failure.js';

const MAX_TRIES = 4;
/** Each pause is so many times the one before it. */
const BACKOFF = 4;

export interface AgainOptions {
  /** After which losses of a connection it is safe. */
  readonly after: readonly Loss[];
  /** Before the second try; milliseconds. */
  readonly pause: number;
  readonly signal: AbortSignal | undefined;
}

/**
 * Does something again when the connection was lost, after pauses that grow. Only for what may be done twice.
 *
 * @throws the last error; the reason of the signal
 */
export async function again<Result>(
  work: () => Promise<Result>,
  { after, pause, signal }: AgainOptions,
): Promise<Result> {
  for (let tries = 1, wait = pause; ; tries += 1, wait *= BACKOFF) {
    try {
      return await work();
    } catch (error) {
      const loss = lostConnection(error);
      if (loss === undefined || !after.includes(loss) || tries === MAX_TRIES) throw error;
      trace('xenapi', () => `connection ${loss}: again in ${wait} ms`);
      await sleep(wait, undefined, signal === undefined ? {} : { signal }).catch(() =>
        signal?.throwIfAborted(),
      );
    }
  }
}
