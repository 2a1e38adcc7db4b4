import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { onTestFinished } from 'vitest';
import { PoolError } from '../../src/pool/pool-error.js';
import type { Pool } from '../../src/pool/open-pool.js';
import type { Role } from '../../src/server/account.js';
import { limitsWith, type Limits } from '../../src/server/limits.js';
import { poolRoutes } from '../../src/server/pool-routes.js';
import { Sessions } from '../../src/server/sessions.js';
import { TaskOwners } from '../../src/server/task-owners.js';
import { startServer, type RequestFacts } from '../../src/server/server.js';
import { testPool, type PoolPlace, type TestPoolOptions } from '../pool/test-pool.js';

export const PASSWORD = 'correct horse';

/** Names of the test accounts are their roles; all have one password. */
const ROLES_BY_NAME: Readonly<Record<string, Role>> = {
  root: 'pool-admin',
  operator: 'pool-operator',
  admin: 'vm-admin',
  reader: 'read-only',
};

export interface TestServer {
  readonly url: string;
  readonly port: number;
  readonly pool: Pool;
  readonly place: PoolPlace;
  readonly sessions: Sessions;
  readonly owners: TaskOwners;
  readonly log: readonly RequestFacts[];
  close(): Promise<void>;
}

export interface TestServerOptions extends TestPoolOptions {
  readonly limits?: Partial<Limits>;
}

/** A pool behind plain HTTP on a free port of this machine, until the test ends. */
export async function testServer({ limits, ...options }: TestServerOptions = {}): Promise<TestServer> {
  const { pool, place } = await testPool(options);
  const log: RequestFacts[] = [];
  const sessions = new Sessions({ now: Date.now });
  const owners = new TaskOwners(pool.database);
  const running = await startServer({
    routes: poolRoutes(pool, owners),
    listen: { address: '127.0.0.1', port: 0 },
    tls: undefined,
    limits: { ...limitsWith({}), ...limits },
    sessions,
    authenticate: async (name, password) => {
      const role = ROLES_BY_NAME[name];
      if (role === undefined || password !== PASSWORD) throw new PoolError('SESSION_AUTHENTICATION_FAILED');
      return { name, role };
    },
    onRequest: (facts) => log.push(facts),
  });
  let closed: Promise<void> | undefined;
  const close = (): Promise<void> => (closed ??= running.close());
  onTestFinished(close);
  const { port } = running;
  return { url: `http://127.0.0.1:${port}`, port, pool, place, sessions, owners, log, close };
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  /** Whether the server asked for the body (100 Continue). */
  readonly continued: boolean;
}

export interface AskOptions {
  readonly method?: string;
  readonly user?: string | undefined;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  /** Waits for 100 Continue before it sends the body. */
  readonly expect?: boolean;
}

/** One request by Node's own client. */
export function ask(
  server: Pick<TestServer, 'port'>,
  target: string,
  options: AskOptions = {},
): Promise<Answer> {
  const { method = 'GET', user = 'root', body, expect = false } = options;
  const basic = `Basic ${Buffer.from(`${user}:${PASSWORD}`).toString('base64')}`;
  const headers: Record<string, string> = {
    ...(user === '' ? {} : { Authorization: basic }),
    ...(body === undefined ? {} : { 'Content-Length': String(body.length) }),
    ...(expect ? { Expect: '100-continue' } : {}),
    ...options.headers,
  };
  return new Promise((resolve, reject) => {
    const request = httpRequest({
      host: '127.0.0.1',
      port: server.port,
      method,
      path: target,
      headers,
      agent: false,
    });
    let continued = false;
    request.on('continue', () => {
      continued = true;
      request.end(body);
    });
    request.on('response', (response) => {
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => parts.push(part));
      response.on('error', reject);
      response.on('end', () => {
        const { statusCode: status = 0 } = response;
        resolve({ status, headers: response.headers, body: Buffer.concat(parts), continued });
        request.destroy();
      });
    });
    request.on('error', reject);
    if (expect) request.flushHeaders();
    else request.end(body);
  });
}

/** The error in an answer: code and parameters. */
export function errorIn({ body }: Answer): readonly string[] {
  const { error } = JSON.parse(body.toString()) as { error: { code: string; parameters: string[] } };
  return [error.code, ...error.parameters];
}
