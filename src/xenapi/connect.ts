import { XenConnection } from './connection.js';
import { DEFAULT_TIMEOUTS, type Server, type ServerTimeouts } from './exchange.js';
import { masterOf, parseServerUrl, type AddressRules } from './server-address.js';
import { serverFailure } from './server-failure.js';
import { Session, logIn, type Login } from './session.js';
import { readTrust, type ServerTrust } from './trust.js';
import { printable } from '../signature/printable.js';
import { isXenApiError } from './xen-api-error.js';

export interface ConnectOptions extends AddressRules {
  /** `https://host` or `https://host:port`. */
  readonly url: string;
  /** A name and a password, or a session that is open already. */
  readonly credentials: Login | { readonly sessionRef: string };
  /** Default `system`. */
  readonly trust?: ServerTrust | undefined;
  /** Stops every call. */
  readonly signal?: AbortSignal | undefined;
  readonly timeouts?: Partial<ServerTimeouts> | undefined;
}

async function logInTo(
  server: Server,
  login: Login,
  signal: AbortSignal | undefined,
): Promise<XenConnection> {
  const session = new Session(server, await logIn(server, login, signal), login);
  return new XenConnection(server, session, signal);
}

/** The master that a slave names; once, by the same means, and with the same checks. */
async function followToMaster(
  slave: Server,
  named: string,
  login: Login,
  { signal, allowPlainHttp }: ConnectOptions,
): Promise<XenConnection> {
  const address = masterOf(slave.address, named, { allowPlainHttp });
  const found = printable(named, 100);
  if (address === undefined) {
    throw serverFailure(slave.address, 'the server is a slave, and names no usable master', {
      found,
      expected: 'an address',
      hint: 'give the URL of the master yourself',
    });
  }
  const server = { ...slave, address };
  try {
    return await logInTo(server, login, signal);
  } catch (error) {
    if (!isXenApiError(error) || error.code !== 'HOST_IS_SLAVE') throw error;
    throw serverFailure(address, 'one slave names another one as its master', {
      found: `${slave.address.name} names ${address.name}, which names ${printable(error.parameters[0] ?? 'nobody', 100)}`,
      expected: 'a master',
      hint: 'the pool is being changed, or out of order: give the URL of the master yourself',
    });
  }
}

/**
 * Logs in to a pool. Of a slave the master is asked instead.
 *
 * The server's certificate is checked before anything is sent to it.
 *
 * @returns the caller's, to be closed
 * @throws XenApiError `SESSION_AUTHENTICATION_FAILED` and others; PatchVdiError `usage` for the URL and what is to be
 *   trusted, `sink` for a server that cannot be reached or believed; the reason of the signal
 */
export async function connectPool(options: ConnectOptions): Promise<XenConnection> {
  const { url, credentials, trust = 'system', signal, timeouts, allowPlainHttp } = options;
  const server: Server = {
    address: parseServerUrl(url, { allowPlainHttp }),
    trust: await readTrust(trust),
    timeouts: { ...DEFAULT_TIMEOUTS, ...timeouts },
  };
  if ('sessionRef' in credentials) {
    return new XenConnection(server, new Session(server, credentials.sessionRef, undefined), signal);
  }
  try {
    return await logInTo(server, credentials, signal);
  } catch (error) {
    const [named] = isXenApiError(error) && error.code === 'HOST_IS_SLAVE' ? error.parameters : [];
    if (named === undefined) throw error;
    return await followToMaster(server, named, credentials, options);
  }
}
