/*
 * What a real pool does with disks, for the replay of xapi-replay.ts: storage repositories behind PBDs, VDI.create, and
 * the handlers PUT /import_raw_vdi and GET /export_raw_vdi. Written by hand from xapi-facts.md, apart from our own
 * server, and with raw sockets, because XAPI's answers are raw: the 200 comes first, without a length, and whatever
 * goes wrong later is written behind it or breaks the connection. To be read beside the facts.
 */
import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { ReplayError, vdiFields, type Replay } from './xapi-replay.js';

type Fields = Record<string, unknown>;

const SECTOR_BYTES = 512;
const PIECE_BYTES = 64 * 1024;
/** "cookie" of a VHD's footer, and so of its copy behind the last block. */
const FOOTER_COOKIE = 'conectix';
/** What XAPI says when its importer fails, whatever the reason. */
const IMPORT_FAILED = ['VDI_IO_ERROR', 'Device I/O errors'];

/** One import on its way. */
export interface RunningImport {
  readonly socket: Socket;
  /** The record of its task. */
  readonly task: Fields;
  readonly vdi: string;
  /** Bytes of the body so far. */
  received: number;
  readonly contentLength: number;
  /** The importer is gone: nothing more of the body is read, nothing is said, and the disk is free. */
  readonly stopReading: () => void;
}

export interface Disks {
  readonly pbds: Map<string, Fields>;
  readonly sms: Map<string, Fields>;
  /** What came into a VDI, also of a body that was cut; by reference. */
  readonly contents: Map<string, Buffer>;
  /** Bodies are counted and not kept: for ones that are large. Their footers are not looked at then. */
  discard: boolean;
  /** VDI.create rounds up to this. */
  roundBytes: number;
  /** How long a disk stays in use after its import was broken off. */
  busyMilliseconds: number;
  /** What is answered instead of the 200: the whole answer, as it goes over the wire. */
  instead: ((request: IncomingMessage) => string | undefined) | undefined;
  insteadOfExport: ((request: IncomingMessage) => string | undefined) | undefined;
  /** Bytes that the last export has handed to its connection. */
  exportedBytes: number;
  /** At every part of a body. True: nothing more is done for it. */
  during: ((running: RunningImport) => boolean) | undefined;
  /** When all of a body is there and right: what becomes of the task. Default: success. */
  finish: ((running: RunningImport) => void) | undefined;
}

const answer = (status: string, ...headers: readonly string[]): string =>
  [`HTTP/1.1 ${status}`, 'Connection: close', 'Cache-Control: no-cache, no-store', ...headers, '', ''].join(
    '\r\n',
  );

/** An error page, as XAPI has them. */
export const errorPage = (status: string): string =>
  `${answer(status, 'Content-Type: text/html')}<html><body><h1>HTTP ${status}</h1></body></html>`;

export const redirect = (location: string): string =>
  answer('302 Moved Temporarily', `Location: ${location}`);

/** A storage repository of the replay: its record, changed. */
export function changeSr(pool: Replay, name: string, changes: Fields): string {
  const found = [...pool.tables.SR].find(([, { name_label }]) => name_label === name);
  if (found === undefined) throw new Error(`there is no ${name}`);
  Object.assign(found[1], changes);
  return found[0];
}

class DisksOfPool implements Disks {
  readonly pbds = new Map<string, Fields>();
  readonly sms = new Map<string, Fields>();
  readonly contents = new Map<string, Buffer>();
  roundBytes = SECTOR_BYTES;
  busyMilliseconds = 0;
  discard = false;
  instead: Disks['instead'];
  insteadOfExport: Disks['insteadOfExport'];
  exportedBytes = 0;
  during: Disks['during'];
  finish: Disks['finish'];
  readonly #pool: Replay;
  /** VDIs that are attached for an import. */
  readonly #busy = new Set<string>();

  constructor(pool: Replay) {
    this.#pool = pool;
    const [master] = pool.tables.host.keys();
    for (const SR of pool.tables.SR.keys()) {
      const uuid = randomUUID();
      this.pbds.set(`OpaqueRef:${uuid}`, { uuid, host: master, SR, currently_attached: true });
    }
    for (const type of new Set([...pool.tables.SR.values()].map((record) => String(record['type'])))) {
      this.sms.set(`OpaqueRef:sm-${type}`, { type, capabilities: ['VDI_CREATE', 'VDI_DELETE', 'VDI_CLONE'] });
    }
    const answers: Record<string, (params: readonly unknown[]) => unknown> = {
      'PBD.get_all_records': () => Object.fromEntries(this.pbds),
      'SM.get_all_records': () => Object.fromEntries(this.sms),
      'host.get_PBDs': ([host]) =>
        [...this.pbds].filter(([, pbd]) => pbd['host'] === host).map(([ref]) => ref),
      'VDI.create': ([record]) => this.#create(record as Fields),
      'VDI.destroy': ([vdi]) => this.#destroy(String(vdi)),
      'VDI.set_other_config': ([vdi, config]) => {
        this.#vdi(vdi)['other_config'] = config;
        return '';
      },
      'VDI.add_to_other_config': ([vdi, key, value]) => this.#addConfig(this.#vdi(vdi), String(key), value),
      'VDI.remove_from_other_config': ([vdi, key]) => {
        const record = this.#vdi(vdi);
        const entries = Object.entries(record['other_config'] as Fields).filter(([known]) => known !== key);
        record['other_config'] = Object.fromEntries(entries);
        return '';
      },
      'VDI.set_name_label': ([vdi, name]) => this.#set(vdi, 'name_label', name),
      'VDI.set_name_description': ([vdi, text]) => this.#set(vdi, 'name_description', text),
      'VDI.get_by_uuid': ([uuid]) => byUuid('VDI', pool.tables.VDI, uuid),
      'SR.get_by_uuid': ([uuid]) => byUuid('SR', pool.tables.SR, uuid),
    };
    for (const [method, run] of Object.entries(answers)) {
      pool.answers.set(method, ([session, ...params]) => {
        this.#requireSession(session);
        return run(params);
      });
    }
  }

  #requireSession(session: unknown): void {
    if (this.#pool.sessions.has(String(session))) return;
    throw new ReplayError('SESSION_INVALID', String(session));
  }

  #vdi(ref: unknown): Fields {
    const record = this.#pool.tables.VDI.get(String(ref));
    if (record === undefined) throw new ReplayError('HANDLE_INVALID', 'VDI', String(ref));
    return record;
  }

  #set(vdi: unknown, field: string, value: unknown): string {
    this.#vdi(vdi)[field] = value;
    return '';
  }

  #addConfig(record: Fields, key: string, value: unknown): string {
    const config = record['other_config'] as Fields;
    if (Object.hasOwn(config, key)) {
      throw new ReplayError('MAP_DUPLICATE_KEY', 'VDI', 'other_config', String(record['uuid']), key);
    }
    record['other_config'] = { ...config, [key]: value };
    return '';
  }

  #create(record: Fields): string {
    const wanted = ['name_label', 'name_description', 'SR', 'virtual_size', 'type', 'sharable', 'read_only'];
    for (const field of [...wanted, 'other_config']) {
      if (!Object.hasOwn(record, field)) throw new ReplayError('FIELD_TYPE_ERROR', field);
    }
    const sr = String(record['SR']);
    if (!this.#pool.tables.SR.has(sr)) throw new ReplayError('HANDLE_INVALID', 'SR', sr);
    const size = Math.ceil(Number(record['virtual_size']) / this.roundBytes) * this.roundBytes;
    const ref = `OpaqueRef:${randomUUID()}`;
    this.#pool.tables.VDI.set(ref, {
      ...vdiFields(String(record['name_label']), sr, size),
      other_config: record['other_config'],
    });
    return ref;
  }

  #destroy(ref: string): string {
    this.#vdi(ref);
    if (this.#busy.has(ref)) throw new ReplayError('VDI_IN_USE', ref, 'destroy');
    this.#pool.tables.VDI.delete(ref);
    return '';
  }

  /** The handlers of disks. @returns whether it was one of theirs */
  handle(request: IncomingMessage): boolean {
    const url = new URL(request.url ?? '/', 'http://replay');
    if (url.pathname === '/import_raw_vdi') this.#import(request, url.searchParams);
    else if (url.pathname === '/export_raw_vdi') this.#export(request, url.searchParams);
    else return false;
    return true;
  }

  /** The VDI that a request is about, or the status with which it is refused. */
  #refused(request: IncomingMessage, query: URLSearchParams): string | undefined {
    if (!this.#pool.sessions.has(query.get('session_id') ?? '')) return '401 Unauthorised';
    if (!this.#pool.tables.VDI.has(query.get('vdi') ?? '')) return '400 Bad Request';
    const isVhd = query.get('format') === 'vhd';
    if (request.headers['transfer-encoding'] !== undefined) return '404 Not Found';
    return query.has('chunked') && isVhd ? '404 Not Found' : undefined;
  }

  #import(request: IncomingMessage, query: URLSearchParams): void {
    const { socket } = request;
    const seen = this.#pool.requests.at(-1);
    const refused = this.#refused(request, query);
    const instead = refused === undefined ? this.instead?.(request) : errorPage(refused);
    if (instead !== undefined) {
      request.on('data', (part: Buffer) => seen !== undefined && (seen.received += part.length));
      socket.end(instead);
      return;
    }
    const vdi = query.get('vdi') ?? '';
    const task = this.#pool.tables.task.get(query.get('task_id') ?? '') ?? {};
    const contentLength = Number(request.headers['content-length'] ?? Number.NaN);
    // Before anything of the body is looked at, and with no length of its own: it ends with the connection.
    socket.write(
      answer('200 OK', `task-id: ${query.get('task_id')}`, 'Content-Type: application/octet-stream'),
    );
    const parts: Buffer[] = [];
    let over = false;
    this.#busy.add(vdi);
    const release = (): void => {
      over = true;
      this.contents.set(vdi, Buffer.concat(parts));
      setTimeout(() => this.#busy.delete(vdi), this.busyMilliseconds).unref();
    };
    const stopReading = (): void => {
      request.pause();
      release();
    };
    const running: RunningImport = { socket, task, vdi, received: 0, contentLength, stopReading };
    request.on('data', (part: Buffer) => {
      if (over) return;
      if (!this.discard) parts.push(part);
      running.received += part.length;
      if (seen !== undefined) seen.received = running.received;
      if (this.during?.(running) === true) release();
    });
    request.on('end', () => {
      if (over) return;
      release();
      this.#judge(running, query.get('format') ?? 'raw');
    });
    request.on('close', () => {
      if (over) return;
      release();
      Object.assign(task, { status: 'failure', error_info: IMPORT_FAILED });
    });
  }

  /** "The trailing footer is looked for at `(length - 1) & ~511`". */
  #judge(running: RunningImport, format: string): void {
    const content = this.contents.get(running.vdi) ?? Buffer.alloc(0);
    const { contentLength, task, socket, vdi } = running;
    const sr = this.#pool.tables.SR.get(String(this.#pool.tables.VDI.get(vdi)?.['SR'])) ?? {};
    const footer = contentLength - 1 - ((contentLength - 1) % SECTOR_BYTES);
    const isWhole =
      this.discard ||
      format !== 'vhd' ||
      (takesVhd(sr) && content.toString('latin1', footer, footer + FOOTER_COOKIE.length) === FOOTER_COOKIE);
    if (!isWhole) {
      Object.assign(task, { status: 'failure', error_info: IMPORT_FAILED });
      socket.destroy();
    } else if (this.finish !== undefined) this.finish(running);
    else succeed(running);
  }

  #export(request: IncomingMessage, query: URLSearchParams): void {
    const refused = this.#refused(request, query);
    const content = this.contents.get(query.get('vdi') ?? '');
    if (refused !== undefined || content === undefined) {
      request.socket.end(errorPage(refused ?? '500 Internal Server Error'));
      return;
    }
    const instead = this.insteadOfExport?.(request);
    if (instead !== undefined) {
      request.socket.end(instead);
      return;
    }
    request.socket.write(answer('200 OK', 'Content-Type: application/octet-stream'));
    void this.#send(request.socket, content);
  }

  /** No further than somebody reads. */
  async #send(socket: Socket, content: Buffer): Promise<void> {
    this.exportedBytes = 0;
    let wake: (() => void) | undefined;
    socket.on('drain', () => wake?.()).on('close', () => wake?.());
    for (let at = 0; at < content.length && !socket.destroyed; at += PIECE_BYTES) {
      const piece = content.subarray(at, at + PIECE_BYTES);
      this.exportedBytes += piece.length;
      if (socket.write(piece)) continue;
      await new Promise<void>((resolve) => (wake = resolve));
    }
    socket.end();
  }
}

function byUuid(className: string, table: ReadonlyMap<string, Fields>, uuid: unknown): string {
  const found = [...table].find(([, record]) => record['uuid'] === uuid);
  if (found === undefined) throw new ReplayError('UUID_INVALID', className, String(uuid));
  return found[0];
}

/** SRs that do not hand out zeroed disks cannot take VHD at all. */
function takesVhd({ type, sm_config: config = {} }: Fields): boolean {
  const { use_vhd: useVhd, allocation } = config as Record<string, string>;
  if (type === 'cslg') return false;
  if (type === 'lvm' || type === 'lvmoiscsi' || type === 'lvmohba') return useVhd === 'true';
  return !(type === 'equal' && allocation === 'thick');
}

/** The task's word, and the end of the connection. */
export function succeed({ task, socket, vdi }: RunningImport): void {
  Object.assign(task, { status: 'success', progress: 1, result: vdi });
  socket.end();
}

export function fail({ task, socket }: RunningImport, ...errorInfo: readonly string[]): void {
  Object.assign(task, { status: 'failure', error_info: errorInfo });
  socket.end();
}

/** Adds disks to a pool of the replay. */
export function withDisks(pool: Replay): Disks {
  const disks = new DisksOfPool(pool);
  const before = pool.intercept;
  pool.intercept = (request, response) => before?.(request, response) === true || disks.handle(request);
  return disks;
}
