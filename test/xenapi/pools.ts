import { onTestFinished } from 'vitest';
import type { XenConnection } from '../../src/xenapi/connection.js';
import { connectPool, type ConnectOptions } from '../../src/xenapi/connect.js';
import { PASSWORD, USER, type Replay } from '../oracles/xapi-replay.js';

/** Short, so that a test of silence is not long; long enough for a busy machine. */
export const TIMEOUTS = { connect: 10_000, call: 20_000, stall: 20_000, farewell: 5000, poll: 5 };

export const LOGIN = { user: USER, password: PASSWORD };

/** A session that ends with the test. */
export async function connected(
  { url }: Pick<Replay, 'url'>,
  options: Partial<ConnectOptions> = {},
): Promise<XenConnection> {
  const connection = await connectPool({ url, credentials: LOGIN, timeouts: TIMEOUTS, ...options });
  onTestFinished(() => connection.close());
  return connection;
}

/** What was thrown. Fails when nothing was. */
export async function thrownBy(work: Promise<unknown>): Promise<unknown> {
  try {
    await work;
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}

/** All the words of an error: message, context, hint, cause. */
export function wordsOf(error: unknown): string {
  const seen: string[] = [];
  for (let at = error, depth = 0; at instanceof Error && depth < 8; at = at.cause, depth += 1) {
    seen.push(
      at.message,
      at.stack ?? '',
      JSON.stringify(Object.entries(at).filter(([name]) => name !== 'cause')),
    );
  }
  return seen.join('\n');
}
