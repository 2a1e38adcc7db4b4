import type { IncomingMessage } from 'node:http';
import basicAuth from 'basic-auth';
import { PoolError } from '../pool/pool-error.js';
import type { Account, Authenticate } from './account.js';
import type { Parameters } from './parameters.js';
import type { Sessions } from './sessions.js';

export interface Gate {
  readonly sessions: Sessions;
  readonly authenticate: Authenticate;
}

/**
 * Who makes a request: by `session_id`, or by a name and a password (Basic, RFC 7617).
 *
 * @throws PoolError SESSION_INVALID, SESSION_AUTHENTICATION_FAILED
 */
export async function identify(
  { sessions, authenticate }: Gate,
  request: IncomingMessage,
  parameters: Parameters,
  address: string,
): Promise<Account> {
  const session = parameters.get('session_id');
  if (session !== undefined) return sessions.get(session).account;
  const credentials = basicAuth(request);
  if (credentials === undefined) throw new PoolError('SESSION_AUTHENTICATION_FAILED');
  return await authenticate(credentials.name, credentials.pass, address);
}
