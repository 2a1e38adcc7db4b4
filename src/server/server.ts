import { once } from 'node:events';
import { createServer as createPlainServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { createServer as createNetServer, type AddressInfo, type Socket } from 'node:net';
import findMyWay from 'find-my-way';
import { PatchVdiError } from '../errors.js';
import { requireRole } from './account.js';
import { Clients } from './clients.js';
import { Exchange } from './exchange.js';
import { HttpRefusal } from './http-refusal.js';
import { identify, type Gate } from './identify.js';
import type { Limits } from './limits.js';
import { parametersOf, splitTarget } from './parameters.js';
import type { Route } from './routes.js';

/** One line of the server's log for each request. Never a query, a header or a body: there are secrets in them. */
export interface RequestFacts {
  readonly method: string;
  readonly path: string;
  readonly address: string;
  readonly user: string | undefined;
  readonly status: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly milliseconds: number;
  /** Why it was refused. */
  readonly error?: unknown;
}

export interface ServerOptions extends Gate {
  readonly routes: readonly Route[];
  readonly listen: { readonly address: string; readonly port: number };
  /** PEM; undefined: plain HTTP, which is for loopback addresses only. */
  readonly tls: { readonly certificatePem: string; readonly keyPem: string } | undefined;
  readonly limits: Limits;
  readonly onRequest: (facts: RequestFacts) => void;
}

export interface RunningServer {
  readonly port: number;
  /** Takes no more requests, stops those that are under way, and waits until they have cleaned up. */
  close(): Promise<void>;
}

interface Underway {
  readonly exchange: Exchange;
  readonly done: Promise<void>;
}

/** The end of what a client may see of a path in the log. */
const MAX_PATH_CHARACTERS = 200;

function cannotListen({ address, port }: ServerOptions['listen'], cause: unknown): PatchVdiError {
  return new PatchVdiError('usage', 'the server cannot listen', {
    context: { path: `${address}:${port}`, found: cause instanceof Error ? cause.message : String(cause) },
    hint: 'choose another address or port, or stop who has it',
    leftBehind: 'the state folder, which the next start uses',
    cause,
  });
}

/**
 * Looks whether a server could listen there, and leaves the place free again: for whoever has to do something before
 * that cannot be undone.
 *
 * @throws PatchVdiError `usage` when not
 */
export async function requireFreePlace(listen: ServerOptions['listen']): Promise<void> {
  const server = createNetServer();
  server.listen(listen.port, listen.address);
  try {
    await once(server, 'listening');
  } catch (cause) {
    throw cannotListen(listen, cause);
  }
  const closed = once(server, 'close');
  server.close();
  await closed;
}

async function answer(
  route: Route,
  exchange: Exchange,
  query: URLSearchParams,
  { gate, clients }: { readonly gate: Gate; readonly clients: Clients },
  onUser: (name: string) => void,
): Promise<void> {
  if (route.needs === 'nothing') return await route.handle(exchange);
  const parameters = parametersOf(query, exchange.request.headers);
  const account = await identify(gate, exchange.request, parameters, exchange.address);
  onUser(account.name);
  requireRole(account, route.needs, `http${route.path}`);
  const leave = route.isUpload === true ? clients.enterUpload() : undefined;
  try {
    await route.handle({ exchange, parameters, account });
  } finally {
    leave?.();
  }
}

/** The HTTP side: connections, limits, who asks, which route; what the routes do is theirs. */
class HttpServer {
  readonly #options: ServerOptions;
  readonly #clients: Clients;
  readonly #router = findMyWay({ maxParamLength: 1, ignoreTrailingSlash: false });
  readonly #paths: ReadonlySet<string>;
  readonly #underway = new Set<Underway>();
  readonly #sockets = new Set<Socket>();
  #closing = false;

  constructor(options: ServerOptions) {
    this.#options = options;
    this.#clients = new Clients(options.limits);
    this.#paths = new Set(options.routes.map(({ path }) => path));
    for (const route of options.routes) {
      this.#router.on([...route.methods], route.path, () => undefined, route);
    }
  }

  async start(): Promise<RunningServer> {
    const { tls, limits, listen } = this.#options;
    const settings = {
      headersTimeout: limits.headerSeconds * 1000,
      // Bodies have clocks of their own.
      requestTimeout: 0,
      keepAliveTimeout: limits.keepAliveSeconds * 1000,
      connectionsCheckingInterval: Math.min(1000, limits.headerSeconds * 1000),
      maxHeaderSize: limits.headerBytes,
    };
    const server =
      tls === undefined
        ? createPlainServer(settings)
        : createTlsServer({
            ...settings,
            cert: tls.certificatePem,
            key: tls.keyPem,
            minVersion: 'TLSv1.2',
            handshakeTimeout: limits.headerSeconds * 1000,
          });
    server.maxConnections = limits.connectionsAtOnce;
    server.on('connection', (socket: Socket) => {
      const leave = this.#clients.connect(socket.remoteAddress ?? 'unknown');
      if (leave === undefined) return void socket.destroy();
      this.#sockets.add(socket);
      socket.once('close', () => {
        this.#sockets.delete(socket);
        leave();
      });
    });
    server.on('request', (request, response) => this.#receive(request, response, false));
    server.on('checkContinue', (request, response) => this.#receive(request, response, true));
    server.listen(listen.port, listen.address);
    try {
      await once(server, 'listening');
    } catch (cause) {
      throw cannotListen(listen, cause);
    }
    const { port } = server.address() as AddressInfo;
    return {
      port,
      close: async () => {
        this.#closing = true;
        const closed = once(server, 'close');
        server.close();
        const stopping = new HttpRefusal('SERVER_STOPS', 'the server stops');
        for (const { exchange } of this.#underway) exchange.stop(stopping);
        await Promise.all([...this.#underway].map(({ done }) => done));
        for (const socket of this.#sockets) socket.destroy();
        await closed;
      },
    };
  }

  #receive(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void {
    const exchange = new Exchange(request, response, expectsContinue, this.#options.limits);
    const underway: Underway = {
      exchange,
      done: this.#serve(exchange).finally(() => this.#underway.delete(underway)),
    };
    this.#underway.add(underway);
  }

  /** Never rejects: whatever goes wrong is the answer, and stands in the log. */
  async #serve(exchange: Exchange): Promise<void> {
    const startedAt = performance.now();
    const { request, address } = exchange;
    const { method = '', url = '' } = request;
    let path = url.slice(0, MAX_PATH_CHARACTERS);
    let user: string | undefined;
    let status: number | undefined;
    let problem: { readonly error?: unknown } = {};
    let leave: (() => void) | undefined;
    try {
      if (this.#closing) throw new HttpRefusal('SERVER_STOPS', 'the server stops');
      leave = this.#clients.enter(address);
      const target = splitTarget(url);
      path = target.path.slice(0, MAX_PATH_CHARACTERS);
      const context = { gate: this.#options, clients: this.#clients };
      const onUser = (name: string): void => void (user = name);
      await answer(this.#route(method, target.path), exchange, target.query, context, onUser);
    } catch (thrown) {
      // Why the client is not served any more is the better answer.
      const error: unknown = exchange.signal.aborted ? exchange.signal.reason : thrown;
      problem = { error: thrown };
      status = exchange.sendError(error);
    } finally {
      leave?.();
    }
    const { in: bytesIn, out: bytesOut } = exchange.moved;
    const milliseconds = performance.now() - startedAt;
    status ??= exchange.response.statusCode;
    this.#options.onRequest({
      method,
      path,
      address,
      user,
      status,
      bytesIn,
      bytesOut,
      milliseconds,
      ...problem,
    });
  }

  #route(method: string, path: string): Route {
    const found = this.#router.find(method as 'GET', path);
    if (found !== null) return found.store as Route;
    if (!this.#paths.has(path)) throw new HttpRefusal('NOT_FOUND', 'there is nothing at this path');
    const methods = this.#options.routes
      .filter((route) => route.path === path)
      .flatMap((route) => route.methods);
    const allowed = { Allow: methods.join(', ') };
    throw new HttpRefusal('METHOD_NOT_ALLOWED', `this path takes ${methods.join(', ')}`, allowed);
  }
}

/** Starts to listen. @throws PatchVdiError `usage` when that address cannot be listened at, or a certificate is none */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  return await new HttpServer(options).start();
}
