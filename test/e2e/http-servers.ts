import { spawnSync } from 'node:child_process';
import { createWriteStream, readFileSync } from 'node:fs';
import { createServer, type IncomingHttpHeaders, type RequestListener, type Server } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { createServer as createRawServer, type Server as RawServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { Workspace } from './workspace.js';

async function listen(server: Server | RawServer, scheme: string): Promise<string> {
  const sockets = new Set<Socket>();
  server.on(scheme === 'https' ? 'secureConnection' : 'connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  onTestFinished(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return `${scheme}://127.0.0.1:${address.port}`;
}

/** A server for the running test; returns its origin. */
export function serve(handler: RequestListener): Promise<string> {
  return listen(createServer({ keepAlive: false }, handler), 'http');
}

/** One whose certificate nobody has signed: `certificate` is the file that makes it trusted. */
export async function serveSecurely(
  work: Workspace,
  handler: RequestListener,
): Promise<{ origin: string; certificate: string }> {
  const [key, certificate] = [join(work.folder, 'key.pem'), join(work.folder, 'certificate.pem')];
  const kind = ['-nodes', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-days', '2'];
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1'];
  const files = ['-keyout', key, '-out', certificate];
  const made = spawnSync('openssl', ['req', '-x509', ...kind, ...subject, ...files]);
  if (made.status !== 0) throw new Error(made.stderr.toString());
  const server = createSecureServer({ key: readFileSync(key), cert: readFileSync(certificate) }, handler);
  return { origin: await listen(server, 'https'), certificate };
}

/** A server that is no HTTP server: `answer` does what it likes with the connection, after the request's head. */
export function serveRaw(answer: (socket: Socket, head: string) => void): Promise<string> {
  const server = createRawServer((socket) => {
    let head = '';
    const onData = (bytes: Buffer): void => {
      head += bytes.toString('latin1');
      if (!head.includes('\r\n\r\n')) return;
      socket.off('data', onData);
      socket.pause();
      answer(socket, head);
    };
    socket.on('data', onData);
  });
  return listen(server, 'http');
}

/** What came with a PUT, and whether it was all that was announced. */
export interface Put {
  readonly headers: IncomingHttpHeaders;
  readonly announced: number;
  received: number;
  complete: boolean;
}

/** A server that stores bodies of PUTs in a file, as they come, and answers 201 when they are complete. */
export async function serveStore(
  path: string,
  options: { readonly status?: number; readonly earlyHead?: boolean } = {},
): Promise<{ origin: string; puts: Put[] }> {
  const puts: Put[] = [];
  const origin = await serve((request, response) => {
    const put: Put = {
      headers: request.headers,
      announced: Number(request.headers['content-length']),
      received: 0,
      complete: false,
    };
    puts.push(put);
    const file = createWriteStream(path);
    if (options.earlyHead === true) response.writeHead(200, { connection: 'close' }).flushHeaders();
    request.on('data', (bytes: Buffer) => (put.received += bytes.length));
    request.on('error', () => undefined);
    request.pipe(file);
    request.on('close', () => file.end());
    request.on('end', () => {
      put.complete = request.complete;
      file.end(() => {
        if (options.earlyHead !== true) response.writeHead(options.status ?? 201);
        response.end('stored');
      });
    });
  });
  return { origin, puts };
}

/** One request for a part of an image, and how much of the answer went out. */
export interface RangeSeen {
  /** The Range header. */
  readonly range: string | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly url: string;
  /** Bytes of the body that were handed to the socket. */
  sent: number;
  ended: boolean;
}

/** What a well-behaved server would answer; a test may answer something else. */
export interface RangeReply {
  status: number;
  headers: Record<string, string>;
  body: Uint8Array;
  /** Breaks the connection after so many bytes of the body. */
  cutAfter?: number;
}

/** Keeps to RFC 9110 for one range, `a-b` or `a-`, with If-Range. Written from it, not from our client. */
function replyTo(content: Uint8Array, headers: IncomingHttpHeaders, etag: string): RangeReply {
  const match = /^bytes=(\d+)-(\d*)$/.exec(headers.range ?? '');
  const condition = headers['if-range'];
  if (match === null || (condition !== undefined && condition !== etag)) {
    return { status: 200, headers: { etag }, body: content };
  }
  const first = Number(match[1]);
  const last = Math.min(match[2] === '' ? Infinity : Number(match[2]), content.length - 1);
  if (first > last) {
    return { status: 416, headers: { 'content-range': `bytes */${content.length}` }, body: new Uint8Array() };
  }
  const range = `bytes ${first}-${last}/${content.length}`;
  return {
    status: 206,
    headers: { etag, 'content-range': range },
    body: content.subarray(first, last + 1),
  };
}

/** A server that gives ranges. `change` may change an answer, by the number of the request, from 0. */
export async function serveRanges(
  content: Uint8Array,
  change: (reply: RangeReply, number: number) => void = () => undefined,
): Promise<{ origin: string; seen: RangeSeen[]; handler: RequestListener; totalSent: () => number }> {
  const seen: RangeSeen[] = [];
  const handler: RequestListener = (request, response) => {
    const { headers, url = '' } = request;
    const entry: RangeSeen = { range: headers.range, headers, url, sent: 0, ended: false };
    const reply = replyTo(content, headers, '"version-1"');
    change(reply, seen.length);
    seen.push(entry);
    response.on('error', () => undefined).on('close', () => (entry.ended = true));
    const length = String(reply.body.length);
    response.writeHead(reply.status, { 'content-length': length, ...reply.headers });
    const write = (): void => {
      for (;;) {
        if (response.destroyed) return;
        if (entry.sent >= (reply.cutAfter ?? Infinity)) {
          // What was written goes out first.
          setTimeout(() => response.destroy(), 20);
          return;
        }
        if (entry.sent >= reply.body.length) {
          response.end();
          return;
        }
        const end = Math.min(entry.sent + 16_384, reply.cutAfter ?? Infinity);
        const piece = reply.body.subarray(entry.sent, end);
        entry.sent += piece.length;
        if (!response.write(piece)) {
          response.once('drain', write);
          return;
        }
      }
    };
    write();
  };
  const origin = await serve(handler);
  return { origin, seen, handler, totalSent: () => seen.reduce((sum, { sent }) => sum + sent, 0) };
}
