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
