import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text as readAll } from 'node:stream/consumers';
import { onTestFinished } from 'vitest';
import type { Pool } from '../../src/pool/open-pool.js';
import { PoolError } from '../../src/pool/pool-error.js';
import type { Account, Authenticate, Role } from '../../src/server/account.js';
import { answerJsonRpc } from '../../src/server/json-rpc.js';
import type { RpcValue } from '../../src/server/rpc-value.js';
import { Sessions } from '../../src/server/sessions.js';
import { XenApi, type CallRecord, type RpcClient } from '../../src/server/xen-api.js';
import { answerXmlRpc } from '../../src/server/xml-rpc.js';
import { testPool, type PoolPlace, type TestPoolOptions } from '../pool/test-pool.js';

/** Whose names are their roles; all of them have this password. */
export const PASSWORD = 'pass<&>wörd';

export const NOW = Date.UTC(2026, 10, 21, 18, 16);

const ROLES_BY_NAME: ReadonlyMap<string, Role> = new Map([
  ['root', 'pool-admin'],
  ['operator', 'pool-operator'],
  ['admin', 'vm-admin'],
  ['admin2', 'vm-admin'],
  ['reader', 'read-only'],
]);

const authenticate: Authenticate = async (name, password) => {
  const role = ROLES_BY_NAME.get(name);
  const account: Account | undefined = role === undefined ? undefined : { name, role };
  if (account === undefined || password !== PASSWORD) throw new PoolError('SESSION_AUTHENTICATION_FAILED');
  return await Promise.resolve(account);
};

export interface TestApi {
  readonly api: XenApi;
  readonly pool: Pool;
  readonly place: PoolPlace;
  readonly sessions: Sessions;
  readonly calls: CallRecord[];
  /** A clock of the sessions that tests move. */
  readonly clock: { now: number };
  /** A session of somebody. */
  readonly login: (name?: string) => Promise<string>;
  readonly call: (method: string, ...parameters: RpcValue[]) => Promise<RpcValue>;
}

export function rpcClient(signal = new AbortController().signal): RpcClient {
  return { address: '192.0.2.1', signal };
}

export async function testApi(options: TestPoolOptions = {}): Promise<TestApi> {
  const { pool, place } = await testPool({ now: () => NOW, ...options });
  const clock = { now: NOW };
  const sessions = new Sessions({ now: () => clock.now });
  const calls: CallRecord[] = [];
  const now = (): number => clock.now;
  const api = new XenApi({
    pool,
    sessions,
    authenticate,
    now,
    productVersion: '9.8.7',
    onCall: (call) => calls.push(call),
  });
  onTestFinished(() => api.close());
  const call = (method: string, ...parameters: RpcValue[]): Promise<RpcValue> =>
    api.call(method, parameters, rpcClient());
  const login = async (name = 'root'): Promise<string> => {
    const session = await call('session.login_with_password', name, PASSWORD);
    if (typeof session !== 'string') throw new Error('a session is a text');
    return session;
  };
  return { api, pool, place, sessions, calls, clock, login, call };
}

/** A throw-away server: the real one has routing, limits and TLS. @returns its URL, without a slash at the end */
export async function serve(api: XenApi): Promise<string> {
  const server = createServer((request, response) => {
    const gone = new AbortController();
    response.on('close', () => gone.abort());
    void (async () => {
      const isJson = request.url === '/jsonrpc';
      const body = Buffer.from(await readAll(request));
      const client = { address: request.socket.remoteAddress ?? '', signal: gone.signal };
      const answer = isJson ? await answerJsonRpc(api, body, client) : await answerXmlRpc(api, body, client);
      response.setHeader('content-type', isJson ? 'application/json' : 'text/xml');
      response.end(answer);
    })().catch((error: unknown) => response.destroy(error instanceof Error ? error : undefined));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  const { port } = server.address() as AddressInfo;
  return `http://127.0.0.1:${port}`;
}
