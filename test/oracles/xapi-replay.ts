/*
 * A pool that speaks the XenAPI as it was read and tried in XAPI (xapi-facts.md), written by hand and apart from our
 * own server: what is told here on two sides must not come from one pen. It keeps bytes in memory, knows no disks, and
 * refuses whatever a client does wrong. One file, because it is to be read beside the facts.
 */
import { createHash, randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { onTestFinished } from 'vitest';
import type { Certificate } from './certificates.js';

/** Ends a call or request with an error of the XenAPI. */
export class ReplayError extends Error {
  readonly description: readonly string[];

  constructor(...description: readonly string[]) {
    super(description.join(' '));
    this.description = description;
  }
}

type Fields = Record<string, unknown>;
type Table = Map<string, Fields>;

export interface SeenCall {
  readonly method: string;
  readonly params: readonly unknown[];
}

export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage['headers'];
  /** Bytes of the body that came. */
  received: number;
  /** Whether the body came to its end. */
  complete: boolean;
}

export interface Replay {
  /** `https://127.0.0.1:PORT`. */
  readonly url: string;
  readonly port: number;
  readonly tables: Readonly<Record<'pool' | 'host' | 'SR' | 'VDI' | 'pool_patch' | 'task', Table>>;
  /** Sessions that are open. */
  readonly sessions: Set<string>;
  /** The bytes of patches, by uuid. */
  readonly contents: Map<string, Buffer>;
  readonly calls: SeenCall[];
  readonly requests: SeenRequest[];
  /** A call as it comes over the wire; a test may let one happen whose answer gets lost. */
  readonly call: (method: string, params: readonly unknown[]) => unknown;
  /** What comes of a call instead: a value, or a {@link ReplayError} to throw. By method. */
  readonly answers: Map<string, (params: readonly unknown[]) => unknown>;
  /** Does something else with a request; true: and nothing more. */
  intercept: ((request: IncomingMessage, response: ServerResponse) => boolean) | undefined;
  /** What becomes of an upload when its bytes are there. Default: it is stored. */
  judge: (content: Buffer) => void;
  /** Whether an upload is wanted: asked before its body. Throws a {@link ReplayError}. */
  admit: (announcedBytes: number | undefined) => void;
  /** Goes on with the tasks of copies: one that is not held ends at the second look. */
  holdTasks: boolean;
  /** Connections that are open. */
  readonly sockets: Set<Socket>;
  /** The calls of a method. */
  callsOf(method: string): SeenCall[];
}

export const USER = 'root';
export const PASSWORD = 'correct-horse-Ω"\\battery';
export const NULL_REF = 'OpaqueRef:NULL';

const newRef = (): string => `OpaqueRef:${randomUUID()}`;

/** Fields in the order and with the types of the XenAPI's reference. */
function sr(name: string, type: string, size: number, used: number): Fields {
  return {
    uuid: randomUUID(),
    name_label: name,
    name_description: '',
    type,
    content_type: '',
    shared: false,
    physical_size: size,
    physical_utilisation: used,
    virtual_allocation: 0,
    VDIs: [],
    PBDs: [],
    other_config: {},
  };
}

export function vdiFields(name: string, inSr: string, size: number): Fields {
  return {
    uuid: randomUUID(),
    name_label: name,
    name_description: '',
    SR: inSr,
    VBDs: [],
    virtual_size: size,
    physical_utilisation: Math.floor(size / 4),
    type: 'user',
    sharable: false,
    read_only: false,
    managed: true,
    location: '',
    other_config: {},
    sm_config: {},
  };
}

export function patchFields(name: string, version: string, size: number, vdi: string): Fields {
  return {
    uuid: randomUUID(),
    name_label: name,
    name_description: `${name} for tests`,
    version,
    size,
    pool_applied: false,
    host_patches: [],
    after_apply_guidance: ['restartHost'],
    VDI: vdi,
    other_config: {},
  };
}

function taskFields(label: string, description: string): Fields {
  return {
    uuid: randomUUID(),
    name_label: label,
    name_description: description,
    created: '20261121T18:16:00Z',
    finished: '19700101T00:00:00Z',
    status: 'pending',
    resident_on: NULL_REF,
    progress: 0,
    type: '<none/>',
    result: '',
    error_info: [],
    other_config: {},
    subtask_of: NULL_REF,
    subtasks: [],
    backtrace: '',
  };
}

export interface ReplayOptions {
  readonly certificate?: Certificate;
  /** Answers every login like a slave; the text is the master's address. */
  readonly slaveOf?: () => string;
  /** What a client may call instead of the mission's and our own extensions. */
  readonly withoutAsync?: boolean;
}

const PARAMETERS = 'MESSAGE_PARAMETER_COUNT_MISMATCH';

class Pool {
  readonly tables = {
    pool: new Map<string, Fields>(),
    host: new Map<string, Fields>(),
    SR: new Map<string, Fields>(),
    VDI: new Map<string, Fields>(),
    pool_patch: new Map<string, Fields>(),
    task: new Map<string, Fields>(),
  };
  readonly sessions = new Set<string>();
  readonly contents = new Map<string, Buffer>();
  readonly calls: SeenCall[] = [];
  readonly requests: SeenRequest[] = [];
  readonly answers = new Map<string, (params: readonly unknown[]) => unknown>();
  readonly sockets = new Set<Socket>();
  holdTasks = false;
  intercept: Replay['intercept'];
  judge: Replay['judge'] = () => undefined;
  admit: Replay['admit'] = () => undefined;
  readonly options: ReplayOptions;

  constructor(options: ReplayOptions) {
    this.options = options;
    const host = newRef();
    const local = newRef();
    this.tables.host.set(host, { uuid: randomUUID(), name_label: 'xcp1', address: '127.0.0.1' });
    this.tables.SR.set(local, sr('Local storage', 'file', 107_374_182_400, 4_294_967_296));
    this.tables.SR.set(newRef(), sr('Shared storage', 'nfs', 1_099_511_627_776, 0));
    this.tables.pool.set(newRef(), { uuid: randomUUID(), name_label: 'p', master: host, default_SR: local });
  }

  callsOf(method: string): SeenCall[] {
    return this.calls.filter((call) => call.method === method);
  }

  // --- JSON-RPC

  #requireSession(session: unknown): void {
    if (typeof session !== 'string' || !this.sessions.has(session)) {
      throw new ReplayError('SESSION_INVALID', String(session));
    }
  }

  call(method: string, params: readonly unknown[]): unknown {
    this.calls.push({ method, params });
    const special = this.answers.get(method);
    if (special !== undefined) return special(params);
    if (method === 'session.login_with_password') return this.#login(method, params);
    const [session, ...rest] = params;
    this.#requireSession(session);
    if (method === 'session.logout') {
      requireCount(method, rest, 0);
      this.sessions.delete(session as string);
      return '';
    }
    return this.#records(method, rest);
  }

  #login(method: string, params: readonly unknown[]): string {
    requireCount(method, params, 4);
    const [user, password, , originator] = params;
    if (originator !== 'patch-vdi') throw new ReplayError('INTERNAL_ERROR', 'unknown originator');
    if (this.options.slaveOf !== undefined) throw new ReplayError('HOST_IS_SLAVE', this.options.slaveOf());
    if (user !== USER || password !== PASSWORD) {
      throw new ReplayError('SESSION_AUTHENTICATION_FAILED', String(user), 'Authentication failure');
    }
    const session = newRef();
    this.sessions.add(session);
    return session;
  }

  #records(method: string, params: readonly unknown[]): unknown {
    const [, className = '', call = ''] = /^(?:Async\.)?(\w+)\.(\w+)$/.exec(method) ?? [];
    const table = Object.hasOwn(this.tables, className)
      ? this.tables[className as keyof Pool['tables']]
      : undefined;
    if (table === undefined) throw new ReplayError('MESSAGE_METHOD_UNKNOWN', method);
    if (call === 'get_all_records') {
      requireCount(method, params, 0);
      return Object.fromEntries(table);
    }
    if (method === 'task.create') return this.#createTask(method, params);
    if (method.startsWith('Async.')) {
      if (method === 'Async.VDI.copy' && this.options.withoutAsync !== true)
        return this.#copy(method, params);
      throw new ReplayError('MESSAGE_METHOD_UNKNOWN', method);
    }
    if (method === 'VDI.copy') return this.#finishCopy(params[0] as string, params[1] as string);
    requireCount(method, params, 1);
    const [ref] = params;
    const record = table.get(String(ref));
    if (record === undefined) throw new ReplayError('HANDLE_INVALID', className, String(ref));
    return this.#onRecord(method, table, String(ref), record);
  }

  #onRecord(method: string, table: Table, ref: string, record: Fields): unknown {
    switch (method) {
      case 'task.get_record':
        this.#advance(record);
        return record;
      case 'pool_patch.get_record':
      case 'VDI.get_record':
      case 'SR.get_record':
        return record;
      case 'task.cancel':
        if (record['status'] === 'pending') record['status'] = 'cancelling';
        return '';
      case 'task.destroy':
      case 'VDI.destroy':
      case 'pool_patch.destroy':
        table.delete(ref);
        return '';
      case 'pool_patch.clean':
        return '';
      case 'pool_patch.pool_clean':
        this.tables.VDI.delete(String(record['VDI']));
        return '';
      default:
        throw new ReplayError('MESSAGE_METHOD_UNKNOWN', method);
    }
  }

  #createTask(method: string, params: readonly unknown[]): string {
    requireCount(method, params, 2);
    const ref = newRef();
    this.tables.task.set(ref, taskFields(String(params[0]), String(params[1])));
    return ref;
  }

  #copy(method: string, params: readonly unknown[]): string {
    requireCount(method, params, 2);
    const [vdi, toSr] = params.map(String) as [string, string];
    if (!this.tables.VDI.has(vdi)) throw new ReplayError('HANDLE_INVALID', 'VDI', vdi);
    const ref = newRef();
    this.tables.task.set(ref, { ...taskFields(method, ''), finish: () => this.#finishCopy(vdi, toSr) });
    return ref;
  }

  #finishCopy(vdi: string, toSr: string): string {
    const from = this.tables.VDI.get(vdi);
    if (from === undefined) throw new ReplayError('HANDLE_INVALID', 'VDI', vdi);
    if (!this.tables.SR.has(toSr)) throw new ReplayError('HANDLE_INVALID', 'SR', toSr);
    const ref = newRef();
    this.tables.VDI.set(ref, { ...from, uuid: randomUUID(), SR: toSr });
    return ref;
  }

  /** A task of a copy is half done at the first look, and done at the second. */
  #advance(task: Fields): void {
    if (task['status'] === 'cancelling') {
      task['status'] = 'cancelled';
      task['error_info'] = ['TASK_CANCELLED', 'OpaqueRef:task'];
      return;
    }
    const finish = task['finish'];
    if (typeof finish !== 'function' || task['status'] !== 'pending' || this.holdTasks) return;
    if (task['progress'] === 0) {
      task['progress'] = 0.5;
      return;
    }
    // XAPI packs the result of an asynchronous call like that.
    task['result'] = `<value>${String((finish as () => string)())}</value>`;
    task['status'] = 'success';
    task['progress'] = 1;
  }

  // --- HTTP handlers

  handle: RequestListener = (request, response) => {
    const url = new URL(request.url ?? '/', 'http://replay');
    const seen: SeenRequest = {
      method: request.method ?? '',
      path: url.pathname,
      query: url.searchParams,
      headers: request.headers,
      received: 0,
      complete: false,
    };
    this.requests.push(seen);
    request.on('error', () => undefined);
    response.on('error', () => undefined);
    if (this.intercept?.(request, response) === true) return;
    if (seen.path === '/jsonrpc') return void this.#jsonRpc(request, response, seen);
    if (seen.path === '/pool_patch_upload') return void this.#upload(request, response, seen);
    if (seen.path === '/pool_patch_download') return this.#download(response, seen);
    response.writeHead(404, { 'content-type': 'text/html' }).end('<html><h1>404 Not Found</h1></html>');
  };

  async #jsonRpc(request: IncomingMessage, response: ServerResponse, seen: SeenRequest): Promise<void> {
    const body = await readAll(request, seen);
    const type = request.headers['content-type'] ?? '';
    if (request.method !== 'POST' || !type.startsWith('application/json')) {
      response.writeHead(400).end('POST application/json is wanted');
      return;
    }
    const { jsonrpc, id, method, params } = JSON.parse(body.toString('utf8')) as {
      jsonrpc?: unknown;
      id?: unknown;
      method: string;
      params: unknown[];
    };
    const send = (fields: Fields): void => {
      const text = JSON.stringify({ jsonrpc: '2.0', ...fields, id });
      response.writeHead(200, { 'content-type': 'application/json' }).end(text);
    };
    if (jsonrpc !== '2.0' || !Array.isArray(params) || id === undefined) {
      response.writeHead(400).end('no JSON-RPC 2.0 with positional parameters');
      return;
    }
    try {
      send({ result: this.call(method, params) });
    } catch (error) {
      if (!(error instanceof ReplayError)) throw error;
      const [message, ...data] = error.description;
      send({ error: { code: 1, message, data } });
    }
  }

  /** The task fails with the same words as the answer. */
  #refuse(response: ServerResponse, seen: SeenRequest, error: unknown): void {
    if (!(error instanceof ReplayError)) throw error;
    const task = this.tables.task.get(seen.query.get('task_id') ?? '');
    if (task !== undefined && error.description[0] !== 'SESSION_INVALID') {
      Object.assign(task, { status: 'failure', error_info: error.description });
    }
    const [code, ...parameters] = error.description;
    const status = code === 'SESSION_INVALID' ? 401 : code === 'OUT_OF_SPACE' ? 507 : 400;
    response
      .writeHead(status, { 'content-type': 'application/json', connection: 'close' })
      .end(JSON.stringify({ error: { code, parameters } }));
  }

  async #upload(request: IncomingMessage, response: ServerResponse, seen: SeenRequest): Promise<void> {
    try {
      if (request.method !== 'PUT') throw new ReplayError('MESSAGE_METHOD_UNKNOWN', request.method ?? '');
      this.#requireSession(seen.query.get('session_id'));
      const length = request.headers['content-length'];
      const sr = seen.query.get('sr_uuid');
      if (sr !== null && ![...this.tables.SR.values()].some(({ uuid }) => uuid === sr)) {
        throw new ReplayError('UUID_INVALID', 'SR', sr);
      }
      this.admit(length === undefined ? undefined : Number(length));
      if (request.headers.expect === '100-continue') response.writeContinue();
      const content = await readAll(request, seen);
      if (!seen.complete) return;
      this.judge(content);
      const ref = this.#store(content, sr);
      const task = this.tables.task.get(seen.query.get('task_id') ?? '');
      if (task !== undefined) Object.assign(task, { status: 'success', progress: 1, result: ref });
      response.writeHead(200, { 'content-type': 'text/plain' }).end(ref);
    } catch (error) {
      this.#refuse(response, seen, error);
    }
  }

  #store(content: Buffer, srUuid: string | null): string {
    const [[local] = ['']] = this.tables.SR;
    const chosen = [...this.tables.SR].find(([, { uuid }]) => uuid === srUuid)?.[0] ?? local;
    const vdi = newRef();
    const ref = newRef();
    const name = createHash('sha256').update(content).digest('hex').slice(0, 12);
    const patch = patchFields(name, '1.0', content.length, vdi);
    this.tables.VDI.set(
      vdi,
      vdiFields(`Patch ${String(patch['uuid'])} (${name})`, chosen, content.length * 4),
    );
    this.tables.pool_patch.set(ref, patch);
    this.contents.set(String(patch['uuid']), content);
    return ref;
  }

  #download(response: ServerResponse, seen: SeenRequest): void {
    try {
      if (seen.method !== 'GET') throw new ReplayError('MESSAGE_METHOD_UNKNOWN', seen.method);
      this.#requireSession(seen.query.get('session_id'));
      const uuid = seen.query.get('uuid') ?? '';
      const content = this.contents.get(uuid);
      if (content === undefined) throw new ReplayError('CANNOT_FIND_PATCH');
      response.writeHead(200, {
        'content-type': 'application/octet-stream',
        'content-length': String(content.length),
      });
      response.end(content);
    } catch (error) {
      this.#refuse(response, seen, error);
    }
  }
}

function requireCount(method: string, params: readonly unknown[], expected: number): void {
  if (params.length !== expected) {
    throw new ReplayError(PARAMETERS, method, String(expected), String(params.length));
  }
}

/** The body as far as it came. */
function readAll(request: IncomingMessage, seen: SeenRequest): Promise<Buffer> {
  const parts: Buffer[] = [];
  return new Promise((resolve) => {
    request.on('data', (part: Buffer) => {
      parts.push(part);
      seen.received += part.length;
    });
    request.on('close', () => {
      seen.complete = request.complete;
      resolve(Buffer.concat(parts));
    });
    request.on('end', () => {
      seen.complete = true;
      resolve(Buffer.concat(parts));
    });
  });
}

/** A pool for the running test, on a loopback address. */
export async function startReplay(options: ReplayOptions = {}): Promise<Replay> {
  const pool = new Pool(options);
  const { certificate } = options;
  const server =
    certificate === undefined
      ? createServer({ keepAlive: false }, pool.handle)
      : createSecureServer({ key: certificate.key, cert: certificate.certificate }, pool.handle);
  // Whoever asks first is answered first: the handler says whether the body is wanted.
  server.on('checkContinue', pool.handle);
  server
    .on('tlsClientError', () => undefined)
    .on('clientError', (_error, socket) => {
      socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n');
    });
  server.on('connection', (socket: Socket) => {
    pool.sockets.add(socket);
    socket.on('error', () => undefined).on('close', () => pool.sockets.delete(socket));
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  onTestFinished(async () => {
    for (const socket of pool.sockets) socket.destroy();
    await new Promise((done) => server.close(done));
  });
  const { port } = server.address() as AddressInfo;
  const scheme = certificate === undefined ? 'http' : 'https';
  return Object.assign(pool, { port, url: `${scheme}://127.0.0.1:${port}` });
}
